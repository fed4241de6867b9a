"""Connectors of a node that dies or stands still go on elsewhere, and every message counts once.

How long that takes is printed (pytest -s).
"""

import json
import signal
import threading
import time

import pytest
import requests
from cluster import Member, until_together
from conftest import wait_for
from parts import kafka, mosquitto  # noqa: F401  fixtures

BASE_MS = 1_700_000_000_000


@pytest.fixture
def nodes(tmp_path):
    first = Member(tmp_path / "1")
    made = [first, *(Member(tmp_path / str(number), [first.address]) for number in (2, 3))]
    try:
        for node in made:
            node.start()
        until_together(made)
        yield made
    finally:
        for node in made:
            node.close()


class Stream:
    """Sends numbered messages, a few at a time, until it is ended."""

    def __init__(self, send):
        self.send, self.count, self.ends = send, 0, threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.ends.is_set():
            numbers = range(self.count, self.count + 5)
            self.send([json.dumps({"device": f"d{at % 5}", "time": BASE_MS + at, "v": at}) for at in numbers])
            self.count += 5
            self.ends.wait(0.02)

    def end(self):
        self.ends.set()
        self.thread.join()
        return self.count


def mqtt_spec(broker):
    route = {"topics": ["plant/+"], "decoder": "json", "table": "rows", "tags": {"device": "$.device"}, "time": "$.time", "time_unit": "ms"}
    return {"name": "stream", "kind": "mqtt", "url": f"mqtt://127.0.0.1:{broker.port}", "routes": [route]}


def kafka_spec(broker, topic, name="stream", **options):
    route = {"topics": [topic], "decoder": "json", "table": "rows", "tags": {"device": "$.device"}, "time": "$.time", "time_unit": "ms"}
    options = {"session.timeout.ms": "6000", "heartbeat.interval.ms": "500", **options}
    return {"name": name, "kind": "kafka", "url": f"kafka://{broker.address}", "options": options, "routes": [route]}


def put(node, spec):
    made = requests.post(f"{node.url}/api/v1/connectors", json=spec, timeout=30)
    assert made.status_code < 300, made.text


def state(node, name="stream"):
    return requests.get(f"{node.url}/api/v1/connectors/{name}", timeout=10).json().get("state")


def runner(nodes, name="stream"):
    """The node that runs a connector, where exactly one does."""
    running = [node for node in nodes if state(node, name) == "running"]
    return running[0] if len(running) == 1 else None


def figures(node):
    """Rows, the sum of what they hold, and the greatest."""
    row = node.sql("SELECT count(*) AS n, sum(v) AS s, max(v) AS m FROM rows")[0]
    return row["n"], row["s"], row["m"]


def must_hold(nodes, count):
    """Each message once: its time is its number."""
    for node in nodes:
        wait_for(lambda node=node: figures(node)[2] == count - 1, f"the last of {count} messages", 90)
        wait_for(lambda node=node: figures(node) == (count, count * (count - 1) // 2, count - 1), f"all {count}, {figures(node)}", 30)


def fail_over(nodes, stream, victim, how):
    """Fails the node that runs the connector; how long until another runs it, and until rows come again, s."""
    left = [node for node in nodes if node is not victim]
    began = time.monotonic()
    victim.process.send_signal(how)
    sent = stream.count
    wait_for(lambda: runner(left), "another node to run the connector", 60)
    runs_s = time.monotonic() - began
    wait_for(lambda: figures(left[0])[2] > sent, "newer rows", 60)
    return runs_s, time.monotonic() - began


def takes_over(nodes, send, what):
    stream = Stream(send)
    try:
        for how in (signal.SIGKILL, signal.SIGSTOP):
            victim = wait_for(lambda: runner(nodes), "one node to run the connector")
            wait_for(lambda: victim.count("rows") > 0, "rows")
            runs_s, rows_s = fail_over(nodes, stream, victim, how)
            print(f"\n{what}, {how.name}: runs elsewhere after {runs_s:.2f} s, rows come again after {rows_s:.2f} s (goal 2 s and an election)")
            if how == signal.SIGKILL:
                victim.process.wait()
                victim.start()
            else:
                # What it had under way is of an earlier epoch.
                victim.process.send_signal(signal.SIGCONT)
                wait_for(lambda victim=victim: state(victim) == "elsewhere", "the one that stood still to leave it")
            until_together(nodes)
    finally:
        count = stream.end()
    must_hold(nodes, count)


def test_an_mqtt_source_goes_on_elsewhere(nodes, mosquitto):
    broker = mosquitto().start()
    put(nodes[0], mqtt_spec(broker))
    wait_for(lambda: runner(nodes), "one node to run the connector")
    takes_over(nodes, lambda values: broker.send([("plant/a", value) for value in values]), "MQTT")


# Without a name of its own a member that is dead keeps its partitions until the broker gives it up.
@pytest.mark.parametrize("options", [{}, {"group.instance.id": "plant"}], ids=["", "static"])
def test_a_kafka_source_goes_on_elsewhere(nodes, kafka, options):
    topic = kafka.topic(partitions=2)
    put(nodes[0], kafka_spec(kafka, topic, **{"group.id": f"g-{topic}"}, **options))
    wait_for(lambda: runner(nodes), "one node to run the connector")
    takes_over(nodes, lambda values: kafka.send(topic, values), f"Kafka {options}")


def test_a_kafka_group_over_all_nodes_loses_one_and_nothing_else(nodes, kafka):
    topic = kafka.topic(partitions=6)
    names = [f"part-{at}" for at in range(3)]
    for node, name in zip(nodes, names):
        put(node, kafka_spec(kafka, topic, name, **{"group.id": f"g-{topic}"}))

    def runners(of):
        found = [runner(of, name) for name in names]
        return found if None not in found else None

    # Whoever has fewer takes the next.
    at_first = wait_for(lambda: runners(nodes), "all three to run")
    assert {node.url for node in at_first} == {node.url for node in nodes}

    def assigned():
        members = kafka.group(f"g-{topic}").members
        return sorted(len(member.assignment.topic_partitions) for member in members)

    wait_for(lambda: assigned() == [2, 2, 2], "partitions for all three", 60)
    stream = Stream(lambda values: kafka.send(topic, values))
    try:
        wait_for(lambda: nodes[0].count("rows") > 500, "rows")
        victim = at_first[0]
        left = [node for node in nodes if node is not victim]
        victim.kill()
        sent = stream.count
        wait_for(lambda: runners(left), "the two to run all three", 60)
        wait_for(lambda: figures(left[0])[2] > sent, "newer rows", 60)
        wait_for(lambda: assigned() == [2, 2, 2], "partitions for all three again", 60)
        victim.start()
        until_together(nodes)
    finally:
        count = stream.end()
    must_hold(nodes, count)
