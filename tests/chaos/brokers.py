"""Brokers of Kafka and MQTT whose messages connectors take, and what befalls them and whoever runs the connectors."""

import json
import shutil
import subprocess

import confluent_kafka
import requests
from conftest import ROOT, wait_for
from load import BROKER_TABLE, KAFKA_TABLE, KafkaWriter
from parts import Kafka, Mosquitto

SHOWN_S = 120
"""Within this a broker is back, and its messages are rows again."""
ANSWER_S = 10
TOPIC = "streamed"


class Brokers:
    """Those that are to be had here; none until `start`."""

    def __init__(self):
        self.kafka, self.mosquitto, self.topic = None, None, TOPIC

    def start(self, folder, say):
        """Says what is missing."""
        started = subprocess.run([ROOT / "scripts" / "kafka", "up", folder / "kafka"], capture_output=True, text=True)
        if started.returncode == 0:
            self.kafka = Kafka(started.stdout.split()[0], folder / "kafka")
            self.kafka.topic(KafkaWriter.PARTITIONS, TOPIC)
        else:
            say(f"SKIPPED a broker of Kafka and its faults: {started.stderr.strip()}")
        try:
            kept = [f"persistence_location {folder / 'mosquitto'}/", "persistence true"]
            self.mosquitto = Mosquitto(folder / "mosquitto", kept).start()
        except AssertionError as error:
            say(f"SKIPPED a broker of MQTT and its faults: {error}")

    def connectors(self):
        """What is to be told to a node, by the table that each of them fills."""
        route = {"decoder": "json", "time": "$.time", "time_unit": "ms"}
        found = {}
        if self.kafka:
            tags = {"w": "$.w", "s": "$.s"}
            url, routes = f"kafka://{self.kafka.address}", [{**route, "topics": [TOPIC], "table": KAFKA_TABLE, "tags": tags}]
            options = {"session.timeout.ms": "6000", "heartbeat.interval.ms": "500"}
            found[KAFKA_TABLE] = {"kind": "kafka", "url": url, "options": options, "routes": routes}
        if self.mosquitto:
            topics = {"topics": [f"{BROKER_TABLE}/+/+"], "pattern": f"{BROKER_TABLE}/{{w}}/{{s}}", "table": BROKER_TABLE}
            found[BROKER_TABLE] = {"kind": "mqtt", "url": f"mqtt://127.0.0.1:{self.mosquitto.port}", "routes": [{**route, **topics}]}
        return found

    def connect(self, node):
        """Connectors of the tables' names; once they run, the brokers keep what comes for them."""
        for name, spec in self.connectors().items():
            made = requests.post(f"{node.url}/api/v1/connectors", json={"name": name, **spec}, timeout=10)
            assert made.status_code < 300, made.text
        for name in self.connectors():
            runs = lambda name=name: requests.get(f"{node.url}/api/v1/connectors/{name}", timeout=10).json()["state"]
            wait_for(lambda: runs() in ("running", "elsewhere"), f"connector {name} to run", SHOWN_S)

    def values(self):
        """The values of all records that the broker of Kafka still has."""
        settings = {"group.id": "judge", "auto.offset.reset": "earliest", "enable.partition.eof": True}
        consumer = confluent_kafka.Consumer({**self.kafka.settings, **settings})
        beginning = confluent_kafka.OFFSET_BEGINNING
        consumer.assign([confluent_kafka.TopicPartition(TOPIC, number, beginning) for number in range(KafkaWriter.PARTITIONS)])
        found, ended = set(), set()
        while len(ended) < KafkaWriter.PARTITIONS:
            message = consumer.poll(ANSWER_S)
            if message is None:
                break
            if message.error():
                ended.add(message.partition())
            else:
                found.add(json.loads(message.value())["v"])
        consumer.close()
        return found

    def close(self):
        if self.mosquitto:
            self.mosquitto.stop()
        if self.kafka:
            subprocess.run([ROOT / "scripts" / "kafka", "down", self.kafka.folder], check=False)
            shutil.rmtree(self.kafka.folder, ignore_errors=True)


class BrokerFaults:
    """Faults of this kind; a part of `Faults`. Each is over once messages come through again."""

    def kinds_of_brokers(self):
        kinds = [self.restart_kafka] if self.brokers.kafka else []
        kinds += [self.restart_mosquitto] if self.brokers.mosquitto else []
        return [*kinds, self.kill_connector] if kinds else []

    def restart_kafka(self):
        """Killed, and started after a while."""
        self.brokers.kafka.kill()
        self.hold(0)
        self.brokers.kafka.restart()
        self.until_through(KAFKA_TABLE)

    def restart_mosquitto(self):
        """Stopped, so that it keeps what it has, and started after a while."""
        self.brokers.mosquitto.stop()
        self.hold(0)
        self.brokers.mosquitto.start()
        self.until_through(BROKER_TABLE)

    def kill_connector(self):
        """Who runs a connector dies, in the middle of what it reads."""
        name = self.chance.choice(list(self.brokers.connectors()))
        runs = [node for node in self.nodes if state_of_connector(node, name) == "running"]
        self.kill(runs or [self.one()])
        self.until_through(name)

    def until_through(self, table):
        """More of what comes through a broker is a row than was when this began."""
        count = self.count_anywhere(table)
        wait_for(lambda: self.count_anywhere(table) > count, f"rows of {table} through its broker", SHOWN_S)

    def count_anywhere(self, table):
        """The rows that some node gives; none where no node answers."""
        for node in self.chance.sample(self.nodes, len(self.nodes)):
            try:
                return node.count(table)
            except (requests.RequestException, AssertionError):
                continue
        return 0


def state_of_connector(node, name):
    try:
        return requests.get(f"{node.url}/api/v1/connectors/{name}", timeout=10).json().get("state")
    except (requests.RequestException, ValueError):
        return None
