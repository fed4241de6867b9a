"""Real parts for the tests: Mosquitto, Apache Kafka by scripts/kafka, a schema registry by scripts/registry.

TEST_KAFKA and TEST_REGISTRY name parts that are running already. Without one and without Java and Maven the tests that need
it are skipped, loudly; TEST_REQUIRE_PARTS=1 turns that into failures.
"""

import os
import socket
import subprocess
import uuid

import paho.mqtt.client as paho
import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from conftest import ROOT, free_port, program, wait_for

ANSWER_S = 10


def skipped(part, why):
    print(f"\nSKIPPED {part}: {why}")
    if os.environ.get("TEST_REQUIRE_PARTS") == "1":
        pytest.fail(f"{part} is required: {why}")
    pytest.skip(f"{part}: {why}")


def script(*arguments, part="kafka"):
    done = subprocess.run([str(ROOT / "scripts" / part), *map(str, arguments)], capture_output=True, text=True)
    if done.returncode == 3:
        skipped(part, done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


class Kafka:
    """A broker and what tests do with it."""

    def __init__(self, address, folder=None):
        self.address, self.folder = address, folder
        self.settings = {"bootstrap.servers": address, "log_level": 0}
        self.client = None

    def admin(self):
        # Answers come only as long as the client lives.
        self.client = self.client or AdminClient(self.settings)
        return self.client

    def topic(self, partitions=1, name=None, **config):
        """A new topic, unlike any other."""
        name = name or f"t-{uuid.uuid4().hex[:12]}"
        made = self.admin().create_topics([NewTopic(name, partitions, 1, config=config)])
        made[name].result(ANSWER_S)
        return name

    def make(self, topics):
        """New topics of these names, one partition each."""
        made = self.admin().create_topics([NewTopic(name, 1, 1) for name in topics])
        for one in made.values():
            one.result(60)

    def more_partitions(self, topic, count):
        self.admin().create_partitions([NewPartitions(topic, count)])[topic].result(ANSWER_S)

    def drop(self, topic):
        self.admin().delete_topics([topic])[topic].result(ANSWER_S)

    def send(self, topic, values, key=None, partition=None, headers=None, timestamp=None):
        """Sends values and waits until the broker has all of them."""
        producer = Producer({**self.settings, "linger.ms": 5, "queue.buffering.max.messages": 1_000_000})
        wrong = []
        extra = {} if timestamp is None else {"timestamp": timestamp}
        if partition is not None:
            extra["partition"] = partition
        for at, value in enumerate(values):
            one = key(at) if callable(key) else key
            report = lambda error, _: error and wrong.append(error)
            producer.produce(topic, value, key=one, headers=headers, on_delivery=report, **extra)
            if at % 10_000 == 0:
                producer.poll(0)
        assert producer.flush(60) == 0 and not wrong, wrong[:1]

    def read(self, topic, count, timeout_s=30):
        """The first so many records of a topic, or as many as it takes until `count` says that it is enough."""
        is_enough = count if callable(count) else lambda found: len(found) >= count
        settings = {"group.id": uuid.uuid4().hex, "auto.offset.reset": "earliest", "enable.auto.commit": False}
        consumer = Consumer({**self.settings, **settings})
        consumer.subscribe([topic])
        found = []

        def more():
            found.extend(record for record in consumer.consume(500, 0.2) if not record.error())
            return is_enough(found)

        wait_for(more, f"enough records of {topic}", timeout_s)
        consumer.close()
        return found

    def group(self, name):
        """What the broker says of a consumer group."""
        return self.admin().describe_consumer_groups([name])[name].result(ANSWER_S)

    def delete_before(self, topic, offset, partition=0):
        self.admin().delete_records([TopicPartition(topic, partition, offset)])[
            TopicPartition(topic, partition, offset)
        ].result(ANSWER_S)

    def lose(self, topic):
        """Loses all records of a topic's only partition, as a broker may whose disk was replaced; it must not run."""
        for path in (self.folder / "data" / f"{topic}-0").iterdir():
            if path.name != "partition.metadata":
                path.unlink()

    def committed(self, group, topic):
        """The offsets that a group has committed, by partition."""
        request = [ConsumerGroupTopicPartitions(group)]
        listed = self.admin().list_consumer_group_offsets(request)[group].result(ANSWER_S)
        return [one.offset for one in listed.topic_partitions if one.topic == topic]

    def kill(self):
        script("kill", self.folder)

    def restart(self):
        script("up", self.folder)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory):
    """One broker for the whole run."""
    given = os.environ.get("TEST_KAFKA")
    if given:
        AdminClient({"bootstrap.servers": given}).list_topics(timeout=ANSWER_S)
        yield Kafka(given)
        return
    folder = tmp_path_factory.mktemp("kafka")
    (address,) = script("up", folder)
    yield Kafka(address, folder)
    script("down", folder)


@pytest.fixture
def own_kafka(tmp_path):
    """A broker that a test may kill."""
    folder = tmp_path / "kafka"
    (address,) = script("up", folder)
    yield Kafka(address, folder)
    script("down", folder)


@pytest.fixture(scope="session")
def secure_kafka(tmp_path_factory):
    """A broker with TLS, SCRAM (alice), PLAIN (carol) and tokens that nobody signed beside its plain address."""
    folder = tmp_path_factory.mktemp("secure")
    plain, secure = script("secure", folder)
    broker = Kafka(plain, folder)
    broker.secure = secure
    yield broker
    script("down", folder)


@pytest.fixture(scope="session")
def registry(tmp_path_factory):
    """The address of a schema registry, with its path."""
    given = os.environ.get("TEST_REGISTRY")
    if given:
        yield given
        return
    folder = tmp_path_factory.mktemp("registry")
    yield script("up", folder, part="registry")[-1]
    script("down", folder, part="registry")


@pytest.fixture(scope="session")
def bucket(tmp_path_factory):
    """A place in a store that speaks S3, and the environment in which it is reached."""
    folder = tmp_path_factory.mktemp("s3")
    environment = {
        "AWS_ENDPOINT": script("up", folder, part="s3")[-1],
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "oribi",
        "AWS_SECRET_ACCESS_KEY": "oribi-secret",
    }
    yield "s3://vault/of/tests", environment
    script("down", folder, part="s3")


class Mosquitto:
    """A broker with a configuration of its own."""

    def __init__(self, folder, lines, port=None):
        self.folder, self.port = folder, port or free_port()
        folder.mkdir(exist_ok=True)
        self.config = folder / "mosquitto.conf"
        text = [f"listener {self.port} 127.0.0.1", "max_queued_messages 0", "max_inflight_messages 0"]
        if os.geteuid() == 0:
            # It would change to a user who may not read the test's folder.
            text.append("user root")
        if not any(line.startswith("allow_anonymous") for line in lines):
            text.append("allow_anonymous true")
        self.config.write_text("\n".join(text + lines) + "\n")
        self.process = None

    def start(self):
        log = (self.folder / "mosquitto.log").open("ab")
        self.process = subprocess.Popen([program("mosquitto"), "-c", str(self.config)], stdout=log, stderr=log)
        wait_for(self.answers, "mosquitto")
        return self

    def answers(self):
        assert self.process.poll() is None, (self.folder / "mosquitto.log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)

    def publisher(self):
        client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        client.max_inflight_messages_set(500)
        client.max_queued_messages_set(0)
        client.connect("127.0.0.1", self.port)
        client.loop_start()
        return client

    def send(self, messages, qos=1, retain=False):
        """Publishes (topic, payload) pairs and waits until the broker has all of them."""
        client = self.publisher()
        sent = [client.publish(topic, payload, qos=qos, retain=retain) for topic, payload in messages]
        for one in sent:
            one.wait_for_publish(60)
        client.disconnect()
        client.loop_stop()


@pytest.fixture
def mosquitto(tmp_path):
    """Makes brokers that end with the test."""
    made = []

    def make(*lines, port=None, name="mosquitto"):
        broker = Mosquitto(tmp_path / name, list(lines), port)
        made.append(broker)
        return broker

    yield make
    for broker in made:
        broker.stop()


def certificates(folder):
    """An authority, a server's and a client's certificate, as PEM files in `folder`."""
    folder.mkdir(exist_ok=True)

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *key, "-days", "30", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    for name in ("server", "client"):
        openssl("req", *key, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30", "-extfile", "names"]
        openssl("x509", "-req", "-in", f"{name}.csr", *signed, "-out", f"{name}.pem")
    for path in folder.iterdir():
        path.chmod(0o644)
    return folder
