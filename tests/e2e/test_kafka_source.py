"""Kafka topics into tables: exactly once in effect, whatever is killed."""

import base64
import datetime
import http.server
import io
import json
import pathlib
import threading
import time

import fastavro
import pytest
import requests
from confluent_kafka import ConsumerGroupType, Producer

from conftest import wait_for
from parts import kafka, own_kafka, secure_kafka  # noqa: F401  fixtures


CLASSIC = {"session.timeout.ms": "6000", "heartbeat.interval.ms": "500"}

# Records that are stamped years ago would be deleted at once.
FOR_EVER = {"retention.ms": "-1"}


def source(broker, topics, routes="", name="stream", more="", options=CLASSIC):
    options = ", ".join(f'"{name}" = "{value}"' for name, value in options.items())
    listed = ", ".join(json.dumps(topic) for topic in topics)
    return f"""
[[connectors]]
name = "{name}"
kind = "kafka"
url = "kafka://{broker.address}"
options = {{ {options} }}
{more}
[[connectors.routes]]
topics = [{listed}]
{routes}
"""


ROWS = """
decoder = "json"
table = "rows"
tags = { device = "$.device" }
time = "$.time"
time_unit = "ms"
"""


def values(count, start=0):
    return [json.dumps({"device": f"d{at % 7}", "time": 1_700_000_000_000 + at, "v": at}) for at in range(start, start + count)]


def status(node, name="stream"):
    return requests.get(f"{node.url}/api/v1/connectors/{name}", timeout=10).json()


def total(node, table="rows"):
    rows = node.sql(f'SELECT count(*) AS n, sum(v) AS s FROM "{table}"')
    return rows[0]["n"], rows[0]["s"]


def wait_for_rows(node, count, table="rows", timeout_s=60):
    wait_for(lambda: node.count(table) >= count, f"{count} rows of {table}, status {status(node)}", timeout_s)


def test_records_of_four_partitions_become_rows(kafka, make_oribi):
    topic = kafka.topic(partitions=4)
    kafka.send(topic, values(20_000))
    node = make_oribi(source(kafka, [topic], ROWS)).start()
    wait_for_rows(node, 20_000)
    assert total(node) == (20_000, sum(range(20_000)))
    rows = node.sql("SELECT device, v FROM rows WHERE v = 12345")
    assert rows == [{"device": f"d{12345 % 7}", "v": 12345}]
    found = wait_for(lambda: (s := status(node))["lag"] == 0 and s, "no lag")
    assert found["state"] == "running" and found["messages"] == 20_000 and found["dead_letters"] == 0


def test_defaults_keys_tombstones_times_and_poison(kafka, make_oribi):
    topic = kafka.topic(**FOR_EVER)
    kafka.send(topic, [b'{"v":1}', b'{"v":2}'], key="k1", timestamp=1_700_000_000_000)
    kafka.send(topic, [None], key="k1")
    kafka.send(topic, [b"{broken", b'{"v":3}'], timestamp=1_700_000_000_000)
    node = make_oribi(source(kafka, [topic])).start()
    wait_for_rows(node, 3, topic)
    rows = node.sql(f'SELECT key, v, time FROM "{topic}" ORDER BY v')
    assert [(row["key"], row["v"]) for row in rows] == [("k1", 1), ("k1", 2), (None, 3)]
    # The record's time, and its offset as nanoseconds.
    assert rows[1]["time"] == "2023-11-14T22:13:20.000000001Z"
    (letter,) = wait_for(lambda: node.sql("SELECT * FROM _dead_letters"), "a dead letter")
    assert (letter["source"], letter["reason"], letter["partition"], letter["offset"]) == ("stream", "syntax", "0", 3)
    assert (letter["topic"], letter["payload"]) == (topic, "{broken")
    assert status(node)["skipped"] == 1 and status(node)["dead_letters"] == 1


def container(rows):
    schema = {"type": "record", "name": "R", "fields": [{"name": "v", "type": "long"}]}
    written = io.BytesIO()
    fastavro.writer(written, schema, [{"v": row} for row in rows])
    return written.getvalue()


WITHOUT_TIME = {
    "json": lambda rows: json.dumps([{"v": row} for row in rows]),
    "ndjson": lambda rows: "\n".join(json.dumps({"v": row}) for row in rows),
    "line_protocol": lambda rows: "\n".join(f"{{table}} v={row}i" for row in rows),
    "csv": lambda rows: "v\n" + "\n".join(map(str, rows)),
    "avro": container,
    "auto": lambda rows: json.dumps([{"v": row} for row in rows]),
}


def test_rows_without_a_time_never_meet(kafka, make_oribi, tmp_path):
    """Records of one millisecond with several rows each, by four partitions with and without a key."""
    config, topics = "", {}
    schema = '{"type":"record","name":"R","fields":[{"name":"v","type":"long"}]}'
    for name, write in WITHOUT_TIME.items():
        topics[name] = kafka.topic(partitions=4, **FOR_EVER)
        decoder = {"ndjson": "json"}.get(name, name)
        routes = f'decoder = "{decoder}"\n' + ("" if name == "line_protocol" else f'table = "{name}"\n')
        if name == "avro":
            path = tmp_path / "r.avsc"
            path.write_text(schema)
            routes += f'schema_file = "{path}"\n'
        config += source(kafka, [topics[name]], routes, name)
        for partition in range(4):
            start = partition * 1_000
            records = [write(range(start + at * 10, start + at * 10 + 10)) for at in range(100)]
            records = [record.replace("{table}", name) if isinstance(record, str) else record for record in records]
            key = "same" if partition < 2 else None
            kafka.send(topics[name], records, key=key, partition=partition, timestamp=1_700_000_000_000)
    node = make_oribi(config).start()
    for name in WITHOUT_TIME:
        wait_for(lambda: status(node, name)["rows"] == 4_000, f"rows of {name}, {status(node, name)}")
        assert total(node, name) == (4_000, sum(range(4_000))), name
        within = node.sql(f'SELECT min(time) AS a, max(time) AS b FROM "{name}"')[0]
        assert all(time.startswith("2023-11-14T22:13:20") for time in within.values()), within
    assert node.count("_dead_letters") == 0


def test_times_made_of_the_record_are_the_same_after_kills(kafka, make_oribi):
    topic = kafka.topic(partitions=2, **FOR_EVER)
    routes = 'decoder = "json"\ntable = "rows"\n'
    node = make_oribi(source(kafka, [topic], routes)).start()
    sent = 0
    for _ in range(3):
        for partition in range(2):
            records = [json.dumps([{"v": sent + at * 3 + row} for row in range(3)]) for at in range(1_000)]
            kafka.send(topic, records, partition=partition, timestamp=1_700_000_000_000)
            sent += 3_000
        wait_for(lambda: node.count("rows") > sent - 6_000, "rows")
        node.kill()
        node.start()
    wait_for_rows(node, sent)
    assert total(node) == (sent, sum(range(sent)))


def test_a_record_of_a_time_to_come_is_a_dead_letter(kafka, make_oribi):
    topic = kafka.topic(**{"message.timestamp.after.max.ms": str(2**62)})
    kafka.send(topic, ['{"v":1}', '{"v":2,"time":1700000000}'], timestamp=4_102_444_800_000)
    node = make_oribi(source(kafka, [topic], 'decoder = "json"\ntable = "rows"\n')).start()
    wait_for_rows(node, 1)
    (letter,) = wait_for(lambda: node.sql("SELECT reason, time FROM _dead_letters"), "a dead letter")
    assert letter["reason"] == "time" and letter["time"] < "2100", letter
    assert total(node) == (1, 2)


def test_a_letter_that_is_replayed_gives_the_row_of_the_record(kafka, make_oribi):
    topic = kafka.topic(partitions=3, **FOR_EVER)
    routes = 'decoder = "json"\ntable = "rows"\ntags = { id = "$key", site = "$header.site" }\n'
    node = make_oribi(source(kafka, [topic], routes)).start()
    sent = {"key": "k1", "headers": [("site", b"north")], "partition": 2, "timestamp": 1_700_000_000_000}
    kafka.send(topic, ['{"v":1}'], **sent)
    wait_for_rows(node, 1)
    kafka.send(topic, ['{"v":"x"}', '[{"v":3},{"v":"y"},{"v":4}]'], **sent)
    wait_for(lambda: node.count("_dead_letters") == 2, "the letters")
    replayed = lambda: requests.post(f"{node.url}/api/v1/dead-letters/replay", timeout=30).json()
    for _ in range(2):
        assert (found := replayed())["refused"] == 2 and found["stored"] == 0, found
        assert total(node) == (3, 8)
    assert node.stop() == 0
    # Mended: v is read as text in another table.
    node.config.write_text(node.config.read_text().replace('table = "rows"', 'table = "mended"'))
    node.start()
    found = replayed()
    assert (found["stored"], found["refused"]) == (1, 1), found
    rows = node.sql("SELECT id, site, kafka_partition, time, v FROM mended")
    assert rows == [{"id": "k1", "site": "north", "kafka_partition": "2", "time": "2023-11-14T22:13:20.000000001Z", "v": "x"}]


def test_a_connector_made_anew_under_its_name_reads_and_stores_anew(kafka, make_oribi):
    topic = kafka.topic()
    kafka.send(topic, [json.dumps({"v": at}) for at in range(500)])
    node = make_oribi("").start()
    spec = {"name": "stream", "kind": "kafka", "url": f"kafka://{kafka.address}"}
    for table in ("wrong", "rows"):
        routes = [{"topics": [topic], "decoder": "json", "table": table}]
        answer = requests.post(f"{node.url}/api/v1/connectors", json={**spec, "routes": routes}, timeout=10)
        assert answer.status_code == 201, answer.text
        wait_for(lambda: node.count(table) == 500, f"rows of {table}, {status(node)}")
        # A kill in between changes nothing: the place is that of this connector.
        node.kill()
        node.start()
        assert requests.delete(f"{node.url}/api/v1/connectors/stream", timeout=30).ok
    assert total(node) == (500, sum(range(500)))


def test_kill_9_loses_and_repeats_nothing(kafka, make_oribi):
    topic = kafka.topic(partitions=2)
    node = make_oribi(source(kafka, [topic], ROWS)).start()
    count, stop = 0, threading.Event()
    producer = Producer({**kafka.settings, "linger.ms": 2})
    sent = []

    def produce():
        at = 0
        while not stop.is_set():
            # One in a hundred is poison, and every fifth has no time of its own.
            row = {"device": f"d{at % 7}", "v": at, "time": 1_700_000_000_000 + at}
            value = "{poison" if at % 100 == 99 else json.dumps(row)
            producer.produce(topic, value, partition=at % 2, on_delivery=lambda e, _, at=at: e or sent.append(at))
            at += 1
            # Some ten thousand a second: enough that every kill comes in the middle.
            if at % 200 == 0:
                producer.poll(0)
                stop.wait(0.02)

    thread = threading.Thread(target=produce)
    thread.start()
    for _ in range(8):
        before = count
        wait_for(lambda: node.count("rows") > before, "rows between two kills")
        count = node.count("rows")
        node.kill()
        node.start()
    stop.set()
    thread.join()
    assert producer.flush(60) == 0
    good = [at for at in sent if at % 100 != 99]
    poison = len(sent) - len(good)
    wait_for_rows(node, len(good), timeout_s=120)
    wait_for(lambda: node.count("_dead_letters") >= poison, "dead letters")
    assert total(node) == (len(good), sum(good))
    assert node.count("_dead_letters") == poison
    # Nothing that was read again was written again: an upsert would show here.
    assert node.sql("SELECT count(DISTINCT \"offset\" * 2 + CAST(partition AS INT)) AS n FROM _dead_letters")[0]["n"] == poison


def test_rows_without_time_are_not_repeated_after_a_kill(kafka, make_oribi):
    topic = kafka.topic()
    routes = 'decoder = "json"\ntable = "rows"\n'
    node = make_oribi(source(kafka, [topic], routes)).start()
    for round_ in range(3):
        kafka.send(topic, [json.dumps({"v": at}) for at in range(2_000)])
        wait_for(lambda: node.count("rows") > round_ * 2_000, "rows")
        node.kill()
        node.start()
    wait_for_rows(node, 6_000)
    assert total(node) == (6_000, 3 * sum(range(2_000)))


# The protocol in which clients divide the partitions, and the one in which the broker does (KIP-848).
@pytest.mark.parametrize("options", [CLASSIC, {"group.protocol": "consumer"}], ids=["classic", "consumer"])
def test_two_nodes_share_a_group_and_nothing_is_lost(kafka, make_oribi, options):
    topic = kafka.topic(partitions=4)
    group = f"g-{topic}"
    config = source(kafka, [topic], ROWS, options={**options, "group.id": group})
    one, two = make_oribi(config, "one").start(), make_oribi(config, "two")
    kafka.send(topic, values(5_000))
    wait_for_rows(one, 5_000)
    two.start()
    wait_for(lambda: status(two)["state"] == "running", "the second member")
    kafka.send(topic, values(5_000, 5_000))
    wait_for(lambda: two.count("rows") > 0, "rows at the second member")
    assert two.stop() == 0
    kafka.send(topic, values(5_000, 10_000))
    two.start()
    seen = lambda: {row["v"] for node in (one, two) for row in node.sql("SELECT v FROM rows")}
    wait_for(lambda: len(seen()) == 15_000, f"all rows at one or the other: {status(one)}, {status(two)}", 60)
    kind = kafka.group(group).type
    assert kind == (ConsumerGroupType.CONSUMER if "group.protocol" in options else ConsumerGroupType.CLASSIC)


def test_a_static_member_has_its_partitions_back_after_a_kill(kafka, make_oribi):
    topic = kafka.topic(partitions=4)
    group = f"g-{topic}"
    # A member that is not static would leave its partitions without a reader for so long.
    held = {"session.timeout.ms": "45000", "group.id": group}
    nodes = {}
    for name in ("one", "two"):
        options = {**held, "group.instance.id": name}
        nodes[name] = make_oribi(source(kafka, [topic], ROWS, options=options), name).start()

    def shares():
        members = kafka.group(group).members
        return {m.group_instance_id: sorted(p.partition for p in m.assignment.topic_partitions) for m in members}

    before = wait_for(lambda: sorted(map(len, (found := shares()).values())) == [2, 2] and found, "two shares of two")
    nodes["one"].kill()
    kafka.send(topic, values(4_000))
    nodes["one"].start()
    seen = lambda: sum(node.count("rows") for node in nodes.values())
    wait_for(lambda: seen() == 4_000, "all rows, well before the member would be given up", 20)
    assert shares() == before


def test_topics_that_come_later_are_read(kafka, make_oribi):
    family = kafka.topic()
    node = make_oribi(source(kafka, [f"^{family}-.*"], ROWS)).start()
    wait_for(lambda: status(node)["last_error"], "the connector to have found none")
    kafka.send(kafka.topic(name=f"{family}-a"), values(10))
    wait_for_rows(node, 10)


@pytest.mark.parametrize("start", ["latest", "moment", "offsets", "earliest"])
def test_a_new_connector_begins_where_it_is_told(kafka, make_oribi, start):
    topic = kafka.topic(partitions=2)
    now = int(time.time() * 1_000)
    for partition in range(2):
        stamped = lambda values, at: kafka.send(topic, values, partition=partition, timestamp=at)
        stamped([json.dumps({"v": at}) for at in range(10)], now - 60_000)
        stamped([json.dumps({"v": 100 + at}) for at in range(10)], now - 20_000)
    moment = datetime.datetime.fromtimestamp((now - 40_000) / 1_000, datetime.timezone.utc).isoformat()
    written = {"latest": '"latest"', "moment": f'"{moment}"', "offsets": '{ "0" = 15 }', "earliest": '"earliest"'}
    config = source(kafka, [topic], 'decoder = "json"\ntable = "rows"\n', more=f"start = {written[start]}")
    node = make_oribi(config).start()
    wait_for(lambda: status(node)["state"] == "running", f"the connector to run, {status(node)}")
    wait_for(lambda: len(status(node).get("partitions", [])) == 2, f"its partitions, {status(node)}")
    before = {"latest": 0, "moment": 20, "offsets": 25, "earliest": 40}[start]
    wait_for(lambda: node.count("rows") == before, f"{before} rows, {node.count('rows')}")
    # The place is kept though nothing was read, and partitions that come later are read whole.
    node.kill()
    kafka.send(topic, ['{"v":1000}'], partition=0)
    kafka.send(topic, ['{"v":1001}'], partition=1)
    kafka.more_partitions(topic, 3)
    kafka.send(topic, ['{"v":1002}'], partition=2)
    node.start()
    wait_for(lambda: node.count("rows") == before + 3, f"what came meanwhile, {node.count('rows')}", 60)
    # Both figures are of some moment within a second, and of the watermarks that the client heard last.
    expected = {0: (21, 0), 1: (21, 0), 2: (1, 0)}
    places = lambda: {one["partition"]: (one["offset"], one["lag"]) for one in status(node).get("partitions", [])}
    wait_for(lambda: places() == expected, f"no lag: {places()}")


def test_a_partition_that_is_full_does_not_stop_the_others(kafka, make_oribi):
    stuck, good = kafka.topic(**FOR_EVER), kafka.topic(**FOR_EVER)
    config = source(kafka, [stuck, good], 'decoder = "json"\n')
    node = make_oribi(config + "[ingest]\ntablets_per_minute_max = 2\n").start()
    kafka.send(good, [json.dumps({"time": 1_700_000_000, "v": 0})])
    wait_for(lambda: node.count(good) == 1, f"a first row, {status(node)}")
    # Rows of many days, of which a minute lets in a few.
    day = 86_400
    many = [json.dumps([{"time": 1_600_000_000 + (at % 300) * day * 8, "v": at}] * 10) for at in range(20_000)]
    kafka.send(stuck, many)
    wait_for(lambda: status(node)["messages"] > 1_000, f"the full partition, {status(node)}")
    for at in range(1, 6):
        kafka.send(good, [json.dumps({"time": 1_700_000_000 + at, "v": at})])
        wait_for(lambda: node.count(good) == 1 + at, f"row {at} of the other, {status(node)}", 10)
    lag = lambda topic: next(one["lag"] for one in status(node)["partitions"] if one["topic"] == topic)  # noqa: E731
    wait_for(lambda: lag(stuck) > 0, f"what is left of the full partition, {status(node)}")


def test_hundreds_of_topics_are_read_without_pauses(kafka, make_oribi):
    family = f"many-{kafka.topic()}"
    topics = [f"{family}-{at}" for at in range(100)]
    kafka.make(topics)
    node = make_oribi(source(kafka, [f"^{family}-.*"], 'decoder = "json"\ntable = "rows"\n')).start()
    kafka.send(topics[0], ['{"v":0}'])
    wait_for(lambda: node.count("rows") == 1, f"the first row, {status(node)}", 90)
    # Longer than the time between two looks at the topics; each row within a small part of it.
    slowest, sent, until = 0, 1, time.monotonic() + 25
    while time.monotonic() < until:
        kafka.send(topics[sent % 100], ['{"v":1}'])
        began, sent = time.monotonic(), sent + 1
        wait_for(lambda: status(node)["rows"] == sent, f"row {sent}, {status(node)['rows']}", 60)
        slowest = max(slowest, time.monotonic() - began)
    print(f"slowest of {sent}: {slowest:.2f} s")
    assert wait_for(lambda: (s := status(node))["lag"] == 0 and s, "no lag")["restarts"] == 0


def test_deleted_records_are_a_gap_that_is_told(kafka, make_oribi):
    topic = kafka.topic()
    node = make_oribi(source(kafka, [topic], ROWS)).start()
    kafka.send(topic, values(100))
    wait_for_rows(node, 100)
    assert node.stop() == 0
    kafka.send(topic, values(100, 100))
    kafka.delete_before(topic, 150)
    node.start()
    wait_for_rows(node, 150)
    found = status(node)
    assert found["gaps"] == 50 and "50 records were deleted" in found["last_error"], found
    assert total(node)[0] == 150


@pytest.mark.parametrize(("meanwhile", "more"), [("running", 160), ("killed", 60), ("killed", 160)])
def test_offsets_that_a_broker_gives_away_again_are_new_records(own_kafka, make_oribi, meanwhile, more):
    topic = own_kafka.topic()
    node = make_oribi(source(own_kafka, [topic], ROWS)).start()
    own_kafka.send(topic, values(100))
    wait_for_rows(node, 100)
    wait_for(lambda: list(own_kafka.committed("oribi-stream", topic)) == [100], "the place to be kept")
    if meanwhile == "killed":
        node.kill()
    own_kafka.kill()
    own_kafka.lose(topic)
    own_kafka.restart()
    own_kafka.send(topic, values(more, 1_000))
    if meanwhile == "killed":
        node.start()
    wait_for_rows(node, 100 + more)
    found = status(node)
    assert "records before what was read already" in found["last_error"] or "truncation" in found["last_error"], found
    node.kill()
    node.start()
    own_kafka.send(topic, values(50, 2_000))
    wait_for_rows(node, 150 + more)
    sums = [sum(range(100)), sum(range(1_000, 1_000 + more)), sum(range(2_000, 2_050))]
    assert total(node) == (150 + more, sum(sums))


def test_a_topic_made_anew_begins_again(kafka, make_oribi):
    topic = kafka.topic()
    node = make_oribi(source(kafka, [topic], ROWS)).start()
    kafka.send(topic, values(50))
    wait_for_rows(node, 50)
    assert node.stop() == 0
    kafka.drop(topic)
    wait_for(lambda: topic not in kafka.admin().list_topics(timeout=10).topics, "the topic to be gone")
    kafka.topic(name=topic)
    kafka.send(topic, values(60, 1_000))
    node.start()
    wait_for_rows(node, 110)
    assert total(node) == (110, sum(range(50)) + sum(range(1_000, 1_060)))


def test_aborted_records_are_not_seen(kafka, make_oribi):
    topic = kafka.topic()
    producer = Producer({**kafka.settings, "transactional.id": f"tx-{topic}"})
    producer.init_transactions(20)
    for round_, is_kept in enumerate([True, False, True]):
        producer.begin_transaction()
        for value in values(10, round_ * 10):
            producer.produce(topic, value)
        # Aborting drops what still waits in the client: the records must lie in the log to be skipped there.
        assert producer.flush(20) == 0
        producer.commit_transaction(20) if is_kept else producer.abort_transaction(20)
    node = make_oribi(source(kafka, [topic], ROWS)).start()
    wait_for_rows(node, 20)
    assert total(node) == (20, sum(range(10)) + sum(range(20, 30)))
    node.kill()
    node.start()
    kafka.send(topic, values(5, 100))
    wait_for_rows(node, 25)
    assert total(node)[0] == 25


def test_a_broker_that_comes_late_or_is_killed_is_a_state(own_kafka, make_oribi):
    topic = own_kafka.topic()
    own_kafka.kill()
    node = make_oribi(source(own_kafka, [topic], ROWS)).start()
    found = wait_for(lambda: (s := status(node))["last_error"] and s, "an error in the status")
    assert found["state"] == "starting", found
    own_kafka.restart()
    own_kafka.send(topic, values(1_000))
    wait_for_rows(node, 1_000)
    own_kafka.kill()
    own_kafka.restart()
    own_kafka.send(topic, values(1_000, 1_000))
    wait_for_rows(node, 2_000, timeout_s=90)
    assert total(node) == (2_000, sum(range(2_000)))


def test_tls_with_scram_and_plain_and_a_wrong_password(secure_kafka, make_oribi):
    topic = secure_kafka.topic()
    secure_kafka.send(topic, values(30))
    config = ""
    for name, mechanism, user, password in [
        ("scram", "SCRAM-SHA-256", "alice", "alices"),
        ("plain", "PLAIN", "carol", "carols"),
        ("wrong", "SCRAM-SHA-256", "alice", "x"),
    ]:
        config += f"""
[[connectors]]
name = "{name}"
kind = "kafka"
url = "kafka://{secure_kafka.secure}"
username = "{user}"
password = "{password}"
ca_file = "{secure_kafka.folder}/tls/ca.pem"
options = {{ "security.protocol" = "SASL_SSL", "sasl.mechanism" = "{mechanism}" }}
[[connectors.routes]]
topics = ["{topic}"]
decoder = "json"
table = "{name}"
"""
    node = make_oribi(config).start()
    for name in ("scram", "plain"):
        wait_for(lambda: node.count(name) == 30, f"rows by {name}, {status(node, name)}")
    found = wait_for(lambda: (s := status(node, "wrong"))["last_error"] and s, "a refusal")
    assert "uthentication" in found["last_error"] and found["state"] != "running", found
    assert "alices" not in requests.get(f"{node.url}/api/v1/connectors", timeout=10).text
    assert "alices" not in node.log.read_text()


class TokenProvider:
    """Gives tokens that live for three seconds to whoever knows the secret."""

    def __init__(self):
        self.given = []
        provider = self

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                form = self.rfile.read(int(self.headers["Content-Length"])).decode()
                credentials = base64.b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode()
                assert self.path == "/realm/token" and form == "grant_type=client_credentials&scope=stream+read", form
                if credentials == "oribi:its%2Bsecret":
                    status, body = 200, {"access_token": unsigned_token(3), "token_type": "Bearer", "expires_in": 3}
                    provider.given.append(credentials)
                else:
                    status, body = 401, {"error": "invalid_client"}
                body = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/realm/token"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def unsigned_token(length_s):
    now = int(time.time())
    parts = [{"alg": "none"}, {"sub": "oribi", "iat": now, "exp": now + length_s}]
    return "".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") + "." for part in parts)


def test_tokens_of_a_provider_open_a_source_and_a_sink(secure_kafka, make_oribi):
    provider = TokenProvider()
    topic, copies = secure_kafka.topic(), secure_kafka.topic()
    secure_kafka.send(topic, values(30))
    config = ""
    for name, kind, secret, more in [
        ("in", "kafka", "its+secret", f'[[connectors.routes]]\ntopics = ["{topic}"]\ndecoder = "json"\ntable = "read"\n'),
        ("out", "kafka_sink", "its+secret", f'[[connectors.feeds]]\ntable = "read"\ntopic = "{copies}"\n'),
        ("wrong", "kafka", "another", f'[[connectors.routes]]\ntopics = ["{topic}"]\ndecoder = "json"\ntable = "no"\n'),
    ]:
        config += f"""
[[connectors]]
name = "{name}"
kind = "{kind}"
url = "kafka://{secure_kafka.secure}"
ca_file = "{secure_kafka.folder}/tls/ca.pem"
[connectors.options]
"security.protocol" = "SASL_SSL"
"sasl.mechanism" = "OAUTHBEARER"
"sasl.oauthbearer.method" = "oidc"
"sasl.oauthbearer.client.id" = "oribi"
"sasl.oauthbearer.client.secret" = "{secret}"
"sasl.oauthbearer.scope" = "stream read"
"sasl.oauthbearer.token.endpoint.url" = "{provider.url}"
{more}"""
    node = make_oribi(config).start()
    wait_for(lambda: node.count("read") == 30, f"rows, {status(node, 'in')}")
    assert len(secure_kafka.read(copies, 30)) >= 30
    asked = len(provider.given)
    wait_for(lambda: len(provider.given) >= asked + 2, "new tokens before the old ones end")
    found = wait_for(lambda: "401" in ((s := status(node, "wrong"))["last_error"] or "") and s, status(node, "wrong"))
    assert provider.url in found["last_error"] and found["state"] != "running", found
    told = requests.get(f"{node.url}/api/v1/connectors", timeout=10).text + node.log.read_text()
    assert "its+secret" not in told and "another" not in told


def test_a_paused_connector_leaves_the_group_and_comes_back(kafka, make_oribi):
    topic = kafka.topic(partitions=2)
    node = make_oribi(source(kafka, [topic], ROWS)).start()
    kafka.send(topic, values(100))
    wait_for_rows(node, 100)
    for round_ in range(1, 4):
        assert requests.post(f"{node.url}/api/v1/connectors/stream/pause", timeout=30).json()["state"] == "paused"
        kafka.send(topic, values(100, round_ * 100))
        assert requests.post(f"{node.url}/api/v1/connectors/stream/resume", timeout=30).status_code == 200
        # A member that had not left would hold its partitions for longer than this.
        wait_for_rows(node, 100 + round_ * 100, timeout_s=8)
    threads = sum("oribi-kafka" in path.read_text() for path in pathlib.Path(f"/proc/{node.process.pid}/task").glob("*/comm"))
    assert threads == 1
    assert total(node)[0] == 400


def test_nothing_is_left_out_that_waited_when_a_source_was_paused(kafka, make_oribi):
    """The first batch waits for room for new time ranges; the one behind it could be stored at once, and must not be."""
    topic, ranges, ms_between = kafka.topic(), 30, 40 * 86_400_000
    record = lambda at, time: json.dumps({"device": "d", "time": 1_700_000_000_000 + time, "v": at})
    node = make_oribi("[ingest]\ntablets_per_minute_max = 12\n" + source(kafka, [topic], ROWS)).start()
    kafka.send(topic, [record(0, 0)])
    wait_for_rows(node, 1)
    kafka.send(topic, [record(at, -at * ms_between) for at in range(1, ranges)])
    wait_for(lambda: status(node)["messages"] == ranges, "the batch to be taken")
    kafka.send(topic, [record(ranges + at, at + 1) for at in range(50)])
    wait_for(lambda: status(node)["messages"] == ranges + 50, "the batch behind it to be taken")
    assert node.count("rows") < ranges
    paused = requests.post(f"{node.url}/api/v1/connectors/stream/pause", timeout=30)
    assert paused.json()["state"] == "paused", paused.text
    assert node.count("rows") < ranges
    node.stop()
    node.config.write_text(source(kafka, [topic], ROWS))
    node.start()
    assert requests.post(f"{node.url}/api/v1/connectors/stream/resume", timeout=30).status_code < 300
    wait_for_rows(node, ranges + 50)
    assert total(node) == (ranges + 50, sum(range(ranges + 50)))
