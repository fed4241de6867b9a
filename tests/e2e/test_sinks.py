"""Committed rows out of tables: to Kafka and to an MQTT broker."""

import json
import threading
import time

import paho.mqtt.client as paho
import requests

from cluster import Member, put_table, replicas_of, until_together
from conftest import free_port, wait_for
from parts import kafka, mosquitto  # noqa: F401  fixtures


def sink(kind, url, feeds):
    text = f'\n[[connectors]]\nname = "out"\nkind = "{kind}"\nurl = "{url}"\n'
    for table, topic, form in feeds:
        text += f'[[connectors.feeds]]\ntable = "{table}"\ntopic = "{topic}"\nformat = "{form}"\n'
    return text


def lines(count, start=0):
    return "\n".join(f"m,device=d{at % 3} v={at}i,name=\"n {at}\" {1_700_000_000_000 + at}" for at in range(start, start + count))


def status(node):
    return requests.get(f"{node.url}/api/v1/connectors/out", timeout=10).json()


def test_rows_go_to_kafka_in_both_formats_and_dead_letters_too(kafka, make_oribi):
    rows, text, dead = kafka.topic(), kafka.topic(), kafka.topic()
    feeds = [("m", rows, "json"), ("m", text, "line_protocol"), ("_dead_letters", dead, "json")]
    node = make_oribi(sink("kafka_sink", f"kafka://{kafka.address}", feeds)).start()
    assert node.write(lines(100), precision="ms").status_code == 204
    found = kafka.read(rows, 100)
    records = [json.loads(record.value()) for record in found]
    assert sorted(record["fields"]["v"] for record in records) == list(range(100))
    one = next(record for record in records if record["fields"]["v"] == 7)
    assert one["db"] == "default" and one["table"] == "m" and one["tags"] == {"device": "d1"}
    assert one["fields"]["name"] == "n 7" and one["time"] == "2023-11-14T22:13:20.007Z"
    assert found[0].key().decode() == f"device={records[0]['tags']['device']}"
    assert len({record["id"] for record in records}) == 100
    assert status(node)["state"] == "running"
    assert any(record.value() == b'm,device=d1 v=7i,name="n 7" 1700000000007000000' for record in kafka.read(text, 100))
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", node.mqtt_port)
    client.loop_start()
    client.publish("sensors/a/b", "{broken", qos=1).wait_for_publish(10)
    client.loop_stop()
    letter = json.loads(kafka.read(dead, 1)[0].value())
    assert letter["table"] == "_dead_letters" and letter["fields"]["payload"] == "{broken"


def test_a_topic_that_does_not_exist_is_told_and_holds_up_no_other(kafka, make_oribi):
    there, missing = kafka.topic(), f"missing-{kafka.topic()}"
    feeds = [("m", missing, "json"), ("m", there, "json")]
    node = make_oribi(sink("kafka_sink", f"kafka://{kafka.address}", feeds)).start()
    assert node.write(lines(100), precision="ms").status_code == 204
    assert len(kafka.read(there, 100)) == 100
    found = wait_for(lambda: (s := status(node))["rows"] == 100 and s, f"the count, {status(node)}")
    assert found["messages"] == 100 and missing in found["last_error"], found
    assert found["state"] == "running" and found["restarts"] == 0
    kafka.topic(name=missing)
    assert len(kafka.read(missing, 100)) == 100
    wait_for(lambda: status(node)["rows"] == 200, f"the count, {status(node)}")


def test_what_no_broker_confirmed_is_not_counted(kafka, make_oribi):
    missing = f"missing-{kafka.topic()}"
    node = make_oribi(sink("kafka_sink", f"kafka://{kafka.address}", [("m", missing, "json")])).start()
    assert node.write(lines(100), precision="ms").status_code == 204
    found = wait_for(lambda: (s := status(node))["last_error"] and s, "what is wrong")
    assert found["state"] == "retrying" and missing in found["last_error"], found
    assert (found["rows"], found["messages"], found["bytes"]) == (0, 0, 0)


def test_a_sink_goes_on_where_it_was_after_kill_9(kafka, make_oribi):
    topic = kafka.topic(partitions=2)
    node = make_oribi(sink("kafka_sink", f"kafka://{kafka.address}", [("m", topic, "json")])).start()
    stop, written = threading.Event(), []

    def write():
        at = 0
        while not stop.is_set():
            try:
                if node.write(lines(50, at), precision="ms").status_code == 204:
                    written.append(at)
                    at += 50
            except requests.ConnectionError:
                stop.wait(0.05)

    thread = threading.Thread(target=write)
    thread.start()
    for _ in range(5):
        before = len(written)
        wait_for(lambda: len(written) > before + 20, "writes between two kills")
        node.kill()
        node.start()
    # What the log has let go comes out of segments.
    assert requests.post(f"{node.url}/api/v1/compact", timeout=60).status_code in (200, 204)
    stop.set()
    thread.join()
    expected = len(written) * 50
    values = lambda found: {json.loads(record.value())["fields"]["v"] for record in found}
    # Some may come twice, all come.
    found = kafka.read(topic, lambda found: len(found) >= expected and len(values(found)) >= expected, 60)
    assert values(found) >= set(range(expected))


def test_a_sink_catches_up_from_segments(kafka, make_oribi):
    topic = kafka.topic()
    node = make_oribi().start()
    assert node.write(lines(3_000), precision="ms").status_code == 204
    assert requests.post(f"{node.url}/api/v1/compact", timeout=60).status_code in (200, 204)
    assert node.write(lines(1_000, 3_000), precision="ms").status_code == 204
    spec = {
        "name": "out",
        "kind": "kafka_sink",
        "url": f"kafka://{kafka.address}",
        "feeds": [{"table": "m", "topic": topic}],
    }
    assert requests.post(f"{node.url}/api/v1/connectors", json=spec, timeout=10).status_code == 201
    values = {json.loads(record.value())["fields"]["v"] for record in kafka.read(topic, 4_000)}
    assert values == set(range(4_000))
    assert node.write(lines(10, 4_000), precision="ms").status_code == 204
    assert len(kafka.read(topic, 4_010)) == 4_010, "what was confirmed does not come again"


def test_rows_go_to_an_mqtt_broker(mosquitto, make_oribi):
    broker = mosquitto().start()
    found = []
    client = broker.publisher()
    client.on_message = lambda _c, _u, message: found.append(json.loads(message.payload))
    client.subscribe("out/m", 1)
    node = make_oribi(sink("mqtt_sink", f"mqtt://127.0.0.1:{broker.port}", [("m", "out/m", "json")])).start()
    assert node.write(lines(500), precision="ms").status_code == 204
    wait_for(lambda: len({row["fields"]["v"] for row in found}) == 500, f"all rows, {len(found)}, {status(node)}")
    wait_for(lambda: status(node)["rows"] == 500, "the count")
    client.loop_stop()


def test_a_sink_runs_once_its_broker_answers(mosquitto, make_oribi):
    port = free_port()
    feeds = [("m", "out/m", "json")]
    away = make_oribi(sink("kafka_sink", f"kafka://127.0.0.1:{port}", feeds), "away").start()
    assert wait_for(lambda: (s := status(away))["last_error"] and s, "an error in the status")["state"] == "starting"
    away.close()
    node = make_oribi(sink("mqtt_sink", f"mqtt://127.0.0.1:{port}", feeds)).start()
    assert wait_for(lambda: (s := status(node))["last_error"] and s, "an error in the status")["state"] == "retrying"
    assert node.write(lines(10), precision="ms").status_code == 204
    mosquitto(port=port).start()
    wait_for(lambda: status(node)["state"] == "running" and status(node)["rows"] == 10, "the rows")


def windows(broker, topic, more="", window="1s"):
    return f"""
[[connectors]]
name = "out"
kind = "kafka_sink"
url = "kafka://{broker.address}"
[[connectors.feeds]]
table = "m"
topic = "{topic}"
window = "{window}"
select = "mean(v) as v, count(*) as n"
group_by = "device"
lateness_ms = 200
{more}
"""


def newest(records):
    """The record with the greatest revision of each window and group, by (time, device)."""
    found = {}
    for record in map(json.loads, (record.value() for record in records)):
        place = record["time"], record["tags"].get("device")
        if place not in found or found[place]["revision"] <= record["revision"]:
            found[place] = record
    return found


def answers(node, window="1s"):
    """What a question for windows answers, in the form of records."""
    question = {"table": "m", "select": "mean(v) as v, count(*) as n", "window": window, "group_by": "device"}
    answer = requests.get(f"{node.url}/api/v1/query", params=question, timeout=10).json()
    return {(row[0], row[1]): {"v": row[2], "n": row[3]} for row in answer["rows"]}


def agree(records, node):
    return {place: record["fields"] for place, record in newest(records).items()} == answers(node)


def test_closed_windows_and_late_rows(kafka, make_oribi):
    topic = kafka.topic()
    node = make_oribi(windows(kafka, topic)).start()
    # The window that the very first row falls into is open yet.
    assert node.write(f"m,device=d8 v=1i {int(time.time() * 1000)}", precision="ms").status_code == 204
    kafka.read(topic, lambda records: len(records) > 0 and agree(records, node))
    hour_ago = int(time.time()) - 3600
    rows = "\n".join(f"m,device=d{at % 3} v={at}i {hour_ago * 1000 + at}" for at in range(5_000))
    assert node.write(rows, precision="ms").status_code == 204
    found = kafka.read(topic, lambda records: agree(records, node))
    assert len(newest(found)) == 16
    first = next(record for (_, device), record in sorted(newest(found).items()) if device == "d0")
    assert first["window"] == "1s" and first["db"] == "default" and first["fields"]["n"] == 334
    assert {record.key().decode() for record in found} == {f"device={device}" for device in ("d0", "d1", "d2", "d8")}
    # A window of now comes once it has closed.
    assert node.write(f"m,device=d9 v=1i {int(time.time() * 1000)}", precision="ms").status_code == 204
    found = kafka.read(topic, lambda records: len(newest(records)) == 17 and agree(records, node))
    # A late row: its window comes again, newer, and no other does.
    before = {record["id"]: record["revision"] for record in newest(found).values()}
    late = f"m,device=d0 v=1000000i {hour_ago * 10**9 + 500_001}"
    assert node.write(late, precision="ns").status_code == 204
    again = newest(kafka.read(topic, lambda records: agree(records, node)))
    changed = [record for record in again.values() if record["revision"] != before[record["id"]]]
    assert {record["time"] for record in changed} == {first["time"]}
    assert again[first["time"], "d0"]["fields"]["n"] == 335


def test_windows_go_on_after_kill_9(kafka, make_oribi):
    topic = kafka.topic()
    node = make_oribi(windows(kafka, topic)).start()
    for turn in range(4):
        now_ms = int(time.time() * 1000)
        rows = "\n".join(f'm,device=d{at % 3} v={at}i,name="x" {now_ms - 40 * at}' for at in range(100 * turn, 100 * turn + 100))
        assert node.write(rows, precision="ms").status_code == 204
        kafka.read(topic, turn + 1)
        node.kill()
        node.start()
    kafka.read(topic, lambda records: agree(records, node), 60)


def test_rows_of_tablets_that_are_on_other_nodes_only_are_passed_on_too(kafka, tmp_path):
    nodes = [Member(tmp_path / "1").start()]
    try:
        nodes += [Member(tmp_path / name, [nodes[0].address]).start() for name in ("2", "3")]
        until_together(nodes)
        put_table(nodes[0], "m", tags=["device"], range="1d", replication=1)
        days = 12
        text = "\n".join(f"m,device=d{day} v={day}i {1_700_000_000 + day * 86_400}" for day in range(days))
        assert nodes[0].write(text, precision="s").status_code == 204
        assert len({one["node"] for of in replicas_of(nodes[0], "m").values() for one in of}) == 3
        topic = kafka.topic()
        spec = {
            "name": "out",
            "kind": "kafka_sink",
            "url": f"kafka://{kafka.address}",
            "feeds": [{"table": "m", "topic": topic}],
        }
        made = requests.post(f"{nodes[1].url}/api/v1/connectors", json=spec, timeout=10)
        assert made.status_code == 201, made.text
        read = lambda count: sorted(json.loads(one.value())["fields"]["v"] for one in kafka.read(topic, count))
        assert read(days) == list(range(days))
        # Out of segments as out of logs, and what comes later.
        for node in nodes:
            assert requests.post(f"{node.url}/api/v1/compact", timeout=60).status_code in (200, 204)
        later = "\n".join(
            f"m,device=d{day} v={100 + day}i {1_700_000_600 + day * 86_400}" for day in range(days)
        )
        assert nodes[2].write(later, precision="s").status_code == 204
        assert read(2 * days) == [*range(days), *range(100, 100 + days)]
    finally:
        for node in nodes:
            node.kill()
