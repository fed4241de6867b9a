"""Connectors under kills, broker restarts, rebalances and redeliveries, longer than a test may take.

Run by name: target/venv/bin/python -m pytest -s tests/e2e/soak_connectors.py
SOAK_KILLS (50) and SOAK_RESTARTS (20) bound it: some eight seconds a kill, five a restart.
"""

import json
import os
import threading

import pytest
from confluent_kafka import Consumer, Producer

from conftest import wait_for
from parts import mosquitto, own_kafka  # noqa: F401  fixtures
from test_kafka_source import ROWS, source, status, total
from test_mqtt_source import message, running
from test_mqtt_source import source as mqtt_source
from test_mqtt_source import status as mqtt_status
from test_mqtt_source import total as mqtt_total

KILLS = int(os.environ.get("SOAK_KILLS", "50"))
RESTARTS = int(os.environ.get("SOAK_RESTARTS", "20"))
POISON_EVERY = 100


# Rows that take their time from their record.
UNTIMED = """
decoder = "json"
table = "rows"
"""


class Load(threading.Thread):
    """Sends records to a topic, each hundredth of them broken, until stopped. The others have a row with a number and
    a time or, where there are `several`, so many rows with numbers and no times, without keys."""

    def __init__(self, broker, topic, several=None):
        super().__init__()
        self.broker, self.topic, self.several = broker, topic, several
        self.stopped, self.sent, self.poison, self.wrong, self.total = threading.Event(), 0, 0, [], 0

    def rows(self, at):
        if self.several is None:
            return {"device": f"d{at % 7}", "time": 1_700_000_000_000 + at, "v": at}, [at]
        numbers = [at * self.several + more for more in range(self.several)]
        return [{"v": number} for number in numbers], numbers

    def run(self):
        # Idempotent, so that a restart of the broker makes no copies.
        settings = {"enable.idempotence": True, "message.timeout.ms": 300_000, "linger.ms": 5}
        producer = Producer({**self.broker.settings, **settings})
        report = lambda error, _: error and self.wrong.append(error)
        at = 0
        while not self.stopped.wait(0.01):
            for _ in range(50):
                if at % POISON_EVERY == 0:
                    value, self.poison = "{broken", self.poison + 1
                else:
                    rows, numbers = self.rows(at)
                    value, self.sent, self.total = json.dumps(rows), self.sent + len(numbers), self.total + sum(numbers)
                try:
                    producer.produce(self.topic, value, partition=at % 4, on_delivery=report)
                except BufferError:
                    producer.flush(60)
                    producer.produce(self.topic, value, partition=at % 4, on_delivery=report)
                at += 1
            producer.poll(0)
        assert producer.flush(120) == 0


class Rebalances(threading.Thread):
    """Another member of the group that comes and goes every 3 s and stores nothing."""

    def __init__(self, broker, topic, group):
        super().__init__()
        self.broker, self.topic, self.group = broker, topic, group
        self.stopped, self.joined = threading.Event(), 0

    def run(self):
        while not self.stopped.is_set():
            settings = {"group.id": self.group, "enable.auto.commit": False, "session.timeout.ms": 6000}
            consumer = Consumer({**self.broker.settings, **settings})
            consumer.subscribe([self.topic], on_assign=self.assigned)
            for _ in range(6):
                consumer.poll(0.5)
            consumer.close()
            self.stopped.wait(3)

    def assigned(self, *_):
        self.joined += 1


def finish(node, load, *others):
    for thread in (load, *others):
        thread.stopped.set()
        thread.join()
    assert not load.wrong, load.wrong[:1]
    wait_for(lambda: node.count("rows") >= load.sent, f"{load.sent} rows of {node.count('rows')}: {status(node)}", 180)
    wait_for(lambda: node.count("_dead_letters") >= load.poison, "dead letters", 60)
    assert total(node) == (load.sent, load.total)
    assert node.sql("SELECT count(DISTINCT v) AS n FROM rows") == [{"n": load.sent}]
    assert node.count("_dead_letters") == load.poison
    print(f"\n{load.sent} rows, {load.poison} dead letters, nothing lost or repeated")


@pytest.mark.parametrize("several", [None, 5], ids=["timed", "untimed"])
def test_kills_and_rebalances(own_kafka, make_oribi, several):
    topic = own_kafka.topic(partitions=4)
    node = make_oribi(source(own_kafka, [topic], UNTIMED if several else ROWS)).start()
    load, others = Load(own_kafka, topic, several), Rebalances(own_kafka, topic, "oribi-stream")
    load.start()
    others.start()
    for _ in range(KILLS):
        before = node.count("rows")
        wait_for(lambda: node.count("rows") > before, f"rows between kills: {status(node)}", 60)
        node.kill()
        node.start()
    finish(node, load, others)
    print(f"{KILLS} kills, another member was given partitions {others.joined} times")


@pytest.mark.parametrize("several", [None, 5], ids=["timed", "untimed"])
def test_broker_restarts(own_kafka, make_oribi, several):
    topic = own_kafka.topic(partitions=4)
    node = make_oribi(source(own_kafka, [topic], UNTIMED if several else ROWS)).start()
    load = Load(own_kafka, topic, several)
    load.start()
    for _ in range(RESTARTS):
        before = node.count("rows")
        wait_for(lambda: node.count("rows") > before, f"rows between restarts: {status(node)}", 90)
        own_kafka.kill()
        own_kafka.restart()
    finish(node, load)


def test_ten_thousand_messages_come_twice(mosquitto, make_oribi):
    """As after a lost ack: messages that carry their time are the same rows."""
    broker = mosquitto().start()
    node = make_oribi(mqtt_source(broker.port)).start()
    running(node)
    for _ in range(2):
        before = mqtt_status(node)["messages"]
        broker.send([message(at) for at in range(10_000)])
        wait_for(lambda: mqtt_status(node)["messages"] == before + 10_000, "messages", 60)
    wait_for(lambda: mqtt_status(node)["in_flight"] == 0, "acks", 60)
    assert mqtt_total(node, "sensors") == (10_000, sum(range(10_000)))
