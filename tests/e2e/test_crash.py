"""What was acked survives kill -9 at any moment."""

import random
import threading

import paho.mqtt.client as paho
import requests

from conftest import wait_for

SMALL = """
[storage]
memtable_bytes_max = 4194304
log_file_bytes = 262144
log_bytes_max = 2097152
"""


class HttpWriter(threading.Thread):
    """Writes numbered rows and remembers which were acked."""

    def __init__(self, node, name):
        super().__init__()
        self.node, self.name, self.acked, self.next, self.ending = node, name, 0, 0, threading.Event()

    def run(self):
        while not self.ending.is_set():
            rows = [f"ledger,writer={self.name} n={i}i {1700000000 + i}" for i in range(self.next, self.next + 200)]
            try:
                answer = self.node.write("\n".join(rows), precision="s")
            except requests.RequestException:
                continue
            if answer.status_code == 204:
                self.next += 200
                self.acked = self.next


class MqttWriter(HttpWriter):
    def run(self):
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=self.name, clean_session=False)
        seen = set()
        client.on_publish = lambda c, u, mid, *rest: seen.add(mid)
        client.connect("127.0.0.1", self.node.mqtt_port)
        client.loop_start()
        while not self.ending.is_set():
            payload = f'{{"n":{self.next},"time":{1700000000 + self.next}}}'
            mid = client.publish(f"ledger/{self.name}", payload, qos=1).mid
            while mid not in seen and not self.ending.wait(0.0005):
                pass
            if mid in seen:
                self.next += 1
                self.acked = self.next
        client.loop_stop()


def test_kill_nine_under_load(make_oribi):
    node = make_oribi(SMALL)
    chance = random.Random(5)
    writers = []
    for round in range(4):
        node.start()
        writers = [HttpWriter(node, "http0"), HttpWriter(node, "http1"), MqttWriter(node, "mqtt0")] if not writers else [
            type(w)(node, w.name) for w in writers]
        for fresh in writers:
            fresh.next = fresh.acked = ledger.get(fresh.name, 0) if round else 0
        for writer in writers:
            writer.start()
        target = sum(w.acked for w in writers) + 3_000 + chance.randrange(8_000)
        wait_for(lambda: sum(w.acked for w in writers) >= target, "rows to be acked", 120)
        node.kill()
        for writer in writers:
            writer.ending.set()
        for writer in writers:
            writer.join()
        ledger = {writer.name: writer.acked for writer in writers}
        node.start()
        rows = node.sql("SELECT writer, topic, count(*) AS n, max(n) AS top FROM ledger GROUP BY writer, topic")
        for row in rows:
            name = row["writer"] or row["topic"].split("/")[1]
            acked = ledger[name]
            assert row["n"] >= acked, f"{name}: {acked} acked, {row['n']} found after kill {round}"
            assert row["n"] == row["top"] + 1, f"{name} has a hole after kill {round}"
            ledger[name] = row["n"]
        assert len(rows) == 3
        node.kill()


def test_a_clean_stop_is_clean(make_oribi):
    node = make_oribi().start()
    assert node.write("m v=1\nm,host=b v=2").status_code == 204
    assert node.stop() == 0
    node.start()
    assert node.count("m") == 2
    assert requests.post(f"{node.url}/api/v1/compact", timeout=60).status_code in (200, 204)
    assert node.count("m") == 2
