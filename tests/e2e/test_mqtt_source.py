"""An external MQTT broker into tables: acks only after the rows are safe."""

import json
import socket
import subprocess
import threading

import requests

from conftest import wait_for
from parts import certificates, mosquitto  # noqa: F401  fixtures


def source(port, topics=("site/+/dev/+",), name="plant", scheme="mqtt", routes="", more=""):
    listed = ", ".join(json.dumps(topic) for topic in topics)
    routes = routes or 'pattern = "site/{site}/dev/{device}"\ndecoder = "json"\ntable = "sensors"\ntime = "$.ts"\n'
    return f"""
[[connectors]]
name = "{name}"
kind = "mqtt"
url = "{scheme}://127.0.0.1:{port}"
{more}
[[connectors.routes]]
topics = [{listed}]
{routes}
"""


def status(node, name="plant"):
    return requests.get(f"{node.url}/api/v1/connectors/{name}", timeout=10).json()


def running(node, name="plant"):
    wait_for(lambda: status(node, name)["state"] == "running", f"{name} to run, {status(node, name)}")


def message(at):
    return f"site/s{at % 3}/dev/d{at % 5}", json.dumps({"ts": 1_700_000_000_000 + at, "v": at})


def total(node, table="sensors"):
    rows = node.sql(f"SELECT count(*) AS n, sum(v) AS s FROM {table}")
    return rows[0]["n"], rows[0]["s"]


def test_messages_become_rows_in_both_versions_and_all_qualities(mosquitto, make_oribi):
    broker = mosquitto().start()
    for version in ("5", "3.1.1"):
        for qos in (0, 1, 2):
            node = make_oribi(source(broker.port, more=f'protocol = "{version}"\nqos = {qos}'), f"n{version}{qos}").start()
            running(node)
            broker.send([message(at) for at in range(200)], qos=qos)
            wait_for(lambda: node.count("sensors") == 200, f"rows at {version}, {qos}: {status(node)}")
            assert total(node) == (200, sum(range(200)))
            row = node.sql("SELECT site, device FROM sensors WHERE v = 7")[0]
            assert row == {"site": "s1", "device": "d2"}
            wait_for(lambda: status(node)["in_flight"] == 0, "acks")
            assert node.stop() == 0


def test_nothing_is_lost_while_away_or_killed(mosquitto, make_oribi, tmp_path):
    broker = mosquitto("persistence true", f"persistence_location {tmp_path}/").start()
    node = make_oribi(source(broker.port)).start()
    running(node)
    assert node.stop() == 0
    broker.send([message(at) for at in range(500)])
    node.start()
    wait_for(lambda: node.count("sensors") == 500, f"what came meanwhile, {status(node)}")
    stop, sent = threading.Event(), []

    def publish():
        client = broker.publisher()
        at = 500
        while not stop.is_set():
            topic, payload = message(at)
            one = client.publish(topic, payload, qos=1)
            sent.append((at, one))
            at += 1
            if at % 200 == 0:
                one.wait_for_publish(30)
        for _, one in sent:
            one.wait_for_publish(60)
        client.disconnect()
        client.loop_stop()

    thread = threading.Thread(target=publish)
    thread.start()
    for _ in range(5):
        before = node.count("sensors")
        wait_for(lambda: node.count("sensors") > before, f"rows between two kills, {status(node)}")
        node.kill()
        node.start()
    stop.set()
    thread.join()
    expected = 500 + len(sent)
    wait_for(lambda: node.count("sensors") >= expected, f"{expected} rows, {node.count('sensors')}, {status(node)}")
    assert total(node) == (expected, sum(range(expected)))


def test_a_session_with_tens_of_thousands_of_messages_is_drained(mosquitto, make_oribi):
    """MQTT 3.1.1 has no Receive Maximum: all that the session has queued comes at once."""
    broker = mosquitto().start()
    node = make_oribi(source(broker.port, more='protocol = "3.1.1"')).start()
    running(node)
    assert node.stop() == 0
    count = 50_000
    broker.send([message(at) for at in range(count)])
    node.start()
    wait_for(lambda: node.count("sensors") == count, f"all rows, {status(node)}", 60)
    wait_for(lambda: status(node)["in_flight"] == 0, "acks")
    assert total(node) == (count, sum(range(count)))
    broker.send([message(count)])
    wait_for(lambda: node.count("sensors") == count + 1, f"a row behind all others, {status(node)}")
    assert status(node)["restarts"] == 0


def test_a_broker_that_comes_late_and_goes_is_a_state(mosquitto, make_oribi):
    broker = mosquitto()
    node = make_oribi(source(broker.port)).start()
    found = wait_for(lambda: (s := status(node))["state"] == "retrying" and s, "a failed try")
    assert "connect" in found["last_error"] and found["last_error_ms"] > 0
    broker.start()
    running(node)
    broker.send([message(1)])
    wait_for(lambda: node.count("sensors") == 1, "a row")
    for round_ in range(3):
        broker.stop()
        wait_for(lambda: status(node)["state"] != "running", "the connection to be lost")
        broker.start()
        running(node)
        broker.send([message(2 + round_)])
        wait_for(lambda: node.count("sensors") == 2 + round_, f"a row after restart {round_}, {status(node)}")
    assert status(node)["restarts"] >= 3


def test_poison_and_packets_that_are_too_large_are_dead_letters(mosquitto, make_oribi):
    broker = mosquitto().start()
    node = make_oribi(source(broker.port, more="message_bytes_max = 20000")).start()
    running(node)
    topic = "site/a/dev/b"
    large = json.dumps({"ts": 1_700_000_000_000, "v": 1, "pad": "x" * 12_000_000})
    broker.send([message(0), (topic, "{broken"), (topic, large), message(1)], qos=1)
    wait_for(lambda: node.count("sensors") == 2, f"the good rows, {status(node)}")
    letters = wait_for(lambda: len(found := node.sql("SELECT * FROM _dead_letters ORDER BY payload_bytes")) == 2 and found, "letters")
    assert [letter["reason"] for letter in letters] == ["syntax", "limit"]
    assert letters[1]["payload_bytes"] == len(large) and letters[0]["payload"] == "{broken"
    assert all(letter["source"] == "plant" and letter["topic"] == topic for letter in letters)
    found = status(node)
    assert found["restarts"] == 0 and found["dead_letters"] == 2


def test_retained_messages_are_skipped_or_taken(mosquitto, make_oribi):
    broker = mosquitto().start()
    broker.send([message(1)], retain=True)
    skip = make_oribi(source(broker.port), "skip").start()
    take = make_oribi(source(broker.port, more='retained = "take"\nclient_id = "other"'), "take").start()
    wait_for(lambda: take.count("sensors") == 1, f"the retained message, {status(take)}")
    broker.send([message(2)])
    wait_for(lambda: skip.count("sensors") == 1, "the live message alone")
    assert total(skip) == (1, 2)


def test_live_messages_with_the_retain_flag_are_stored(mosquitto, make_oribi):
    for version in ("5", "3.1.1"):
        broker = mosquitto(name=version).start()
        broker.send([message(1)], retain=True)
        node = make_oribi(source(broker.port, more=f'protocol = "{version}"'), f"n{version}").start()
        running(node)
        broker.send([message(2), message(3)], retain=True)
        broker.send([message(4)])
        wait_for(lambda: node.count("sensors") == 3, f"what came live, {status(node)}")
        assert node.stop() == 0
        broker.send([message(5)], retain=True)
        node.start()
        wait_for(lambda: node.count("sensors") == 4, f"what came meanwhile, {status(node)}")
        assert total(node) == (4, 2 + 3 + 4 + 5), version
        assert node.stop() == 0


def test_statestream_which_publishes_all_with_the_retain_flag_is_stored(mosquitto, make_oribi):
    broker = mosquitto().start()
    routes = 'preset = "home_assistant"\ntable = "home"\n'
    node = make_oribi(source(broker.port, ["homeassistant/#"], routes=routes)).start()
    running(node)
    broker.send([("homeassistant/sensor/attic/state", "21.5")], retain=True)
    wait_for(lambda: node.count("home") == 1, f"a state, {status(node)}")


def packet(kind, body):
    length, left = b"", len(body)
    while True:
        left, byte = divmod(left, 128)
        length += bytes([byte | (128 if left else 0)])
        if not left:
            return bytes([kind]) + length + body


class LooseBroker:
    """Speaks just enough of MQTT 3.1.1 to pass on messages whose topics no broker should take."""

    def __init__(self, messages):
        self.messages, self.acked = messages, set()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client.makefile("rwb", buffering=0),), daemon=True).start()

    def serve(self, client):
        answers = {0x10: lambda _: b"\x20\x02\0\0", 0x82: lambda body: packet(0x90, body[:2] + b"\x01"), 0xC0: lambda _: b"\xd0\0"}
        try:
            while head := client.read(1):
                length = shift = 0
                while True:
                    byte = client.read(1)[0]
                    length, shift = length | (byte & 127) << shift, shift + 7
                    if byte < 128:
                        break
                body = client.read(length) if length else b""
                if answer := answers.get(head[0]):
                    client.write(answer(body))
                if head[0] == 0x40:
                    self.acked.add(int.from_bytes(body[:2], "big"))
                if head[0] == 0x82:
                    for at, (topic, payload) in enumerate(self.messages, 1):
                        if at not in self.acked:
                            name = len(topic).to_bytes(2, "big") + topic
                            client.write(packet(0x32, name + at.to_bytes(2, "big") + payload))
        except (OSError, IndexError):
            pass


def test_a_message_that_cannot_be_read_does_not_stop_its_source(make_oribi):
    row = lambda at: json.dumps({"ts": 1_700_000_000_000 + at, "v": at}).encode()
    topics = [b"site/a/dev/1", b"site/a/dev/\xff\xfe", b"site/a/dev/3"]
    broker = LooseBroker([(topic, row(at)) for at, topic in enumerate(topics, 1)])
    node = make_oribi(source(broker.port, more='protocol = "3.1.1"')).start()
    wait_for(lambda: node.count("sensors") == 2, f"the good ones, {status(node)}")
    wait_for(lambda: broker.acked == {1, 2, 3}, f"all acks, {broker.acked}")
    (letter,) = node.sql("SELECT reason, topic, payload FROM _dead_letters")
    assert letter["reason"] == "syntax" and letter["payload"] == row(2).decode(), letter
    assert total(node) == (2, 4) and status(node)["state"] == "running"
    broker.socket.close()


def test_shared_subscriptions_divide_messages(mosquitto, make_oribi):
    broker = mosquitto().start()
    topics = ["$share/oribi/site/+/dev/+"]
    nodes = [make_oribi(source(broker.port, topics, more=f'client_id = "c{at}"'), f"n{at}").start() for at in range(2)]
    for node in nodes:
        running(node)
    broker.send([message(at) for at in range(2_000)])
    wait_for(lambda: sum(node.count("sensors") for node in nodes) == 2_000, "all rows")
    assert all(node.count("sensors") > 50 for node in nodes)


def test_tls_passwords_and_client_certificates(mosquitto, make_oribi, tmp_path):
    keys = certificates(tmp_path / "keys")
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "u", "right"], check=True)
    acl = tmp_path / "acl"
    acl.write_text("user u\ntopic read site/#\n")
    passwords.chmod(0o600)
    acl.chmod(0o600)
    tls = [f"cafile {keys}/ca.pem", f"certfile {keys}/server.pem", f"keyfile {keys}/server.key"]
    secure = mosquitto(*tls, "allow_anonymous false", f"password_file {passwords}", f"acl_file {acl}", name="secure").start()
    mutual = mosquitto(*tls, "require_certificate true", name="mutual").start()
    (tmp_path / "secret").write_text("right\n")
    common = f'ca_file = "{keys}/ca.pem"\n'
    login = common + 'username = "u"\n'
    config = source(secure.port, name="good", scheme="mqtts", more=login + f'password_file = "{tmp_path}/secret"')
    config += source(secure.port, name="wrong", scheme="mqtts", more=login + 'password = "hidden"')
    config += source(secure.port, name="stranger", scheme="mqtts", more='username = "u"\npassword = "right"')
    certs = f'cert_file = "{keys}/client.pem"\nkey_file = "{keys}/client.key"\n'
    config += source(mutual.port, name="mutual", scheme="mqtts", more=common + certs)
    config += source(mutual.port, name="naked", scheme="mqtts", more=common)
    node = make_oribi(config).start()
    running(node, "good")
    running(node, "mutual")
    for name in ("wrong", "stranger", "naked"):
        found = wait_for(lambda: (s := status(node, name))["last_error"] and s, f"{name} to be refused")
        assert found["state"] != "running", found
    assert "ot authorized" in status(node, "wrong")["last_error"] or "NotAuthorized" in status(node, "wrong")["last_error"]
    listed = requests.get(f"{node.url}/api/v1/connectors", timeout=10).text
    assert "hidden" not in listed and "hidden" not in node.log.read_text()


def test_connectors_are_made_paused_and_dropped_over_http(mosquitto, make_oribi):
    broker = mosquitto().start()
    node = make_oribi(source(broker.port, name="file", more='client_id = "f"')).start()
    url = f"{node.url}/api/v1/connectors"
    spec = {
        "name": "made",
        "kind": "mqtt",
        "url": f"mqtt://127.0.0.1:{broker.port}",
        "username": "u",
        "password": "hidden",
        "routes": [{"topics": ["made/#"], "pattern": "made/{id}", "table": "made"}],
    }
    answer = requests.post(url, json=spec, timeout=10)
    assert answer.status_code == 201 and answer.json()["password"] == "***", answer.text
    running(node, "made")
    broker.send([("made/a", "1")])
    wait_for(lambda: node.count("made") == 1, "a row")
    assert requests.post(f"{url}/made/pause", timeout=10).json()["state"] == "paused"
    broker.send([("made/a", "2")])
    node.kill()
    node.start()
    assert requests.get(f"{url}/made", timeout=10).json()["state"] == "paused"
    assert requests.post(f"{url}/made/resume", timeout=10).json()["state"] != "paused"
    wait_for(lambda: node.count("made") == 2, "the connector, which the catalog remembers, goes on")
    sink = {"name": "out", "kind": "mqtt_sink", "url": spec["url"]}
    feed = {"table": "made", "topic": "t", "window": "1m", "select": "max(value)"}
    for body, part in [
        ({**spec, "name": "file"}, "stands in the configuration file"),
        ({**spec, "kind": "smoke"}, "smoke"),
        ({**spec, "url": "http://x"}, "mqtt://"),
        ({**spec, "colour": 1}, "colour"),
        ({**spec, "options": {"linger.ms": "1"}}, "mqtt has none; it belongs to kafka"),
        ({**spec, "kind": "kafka", "url": "kafka://h", "options": {"fetch.mn.bytes": "1"}}, "options.fetch.mn.bytes"),
        ({**spec, "routes": [{"topics": ["a"], "tags": {"t": "x"}}]}, "routes[0].tags"),
        ({**sink, "feeds": [{**feed, "window": "1x"}]}, "feeds[0].window"),
        ({**sink, "feeds": [{**feed, "select": "max(a), most(b)"}]}, "feeds[0].select"),
    ]:
        answer = requests.post(url, json=body, timeout=10)
        assert answer.status_code == 400 and part in answer.text, answer.text
    assert requests.delete(f"{url}/file", timeout=10).status_code == 400
    assert requests.delete(f"{url}/made", timeout=10).status_code == 204
    assert requests.get(f"{url}/made", timeout=10).status_code == 404
    assert requests.post(f"{url}/made/resume", timeout=10).status_code == 404
    trial = {"name": "file", "topic": "site/x/dev/y", "payload": '{"ts":1700000000000,"v":1}'}
    answer = requests.post(f"{url}/test", json=trial, timeout=10).json()
    assert answer["rows"][0]["tags"] == {"site": "x", "device": "y"} and answer["rows"][0]["fields"] == {"v": 1}
    answer = requests.post(f"{url}/test", json={**trial, "payload": "{"}, timeout=10).json()
    assert answer["rows"] == [] and answer["reason"] == "syntax"
