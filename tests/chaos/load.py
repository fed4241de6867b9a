"""Those who write, each with a ledger: rows with keys of their own over HTTP and MQTT, and registers that are overwritten."""

import http.client
import json
import random
import threading
import time
import urllib.parse

import confluent_kafka
import paho.mqtt.client as paho
from ledger import ACKED, INTENT, NOT_STORED

START_MS = 1_700_000_000_000
SERIES = 16
KEYS = 6
WAITS_S = (1, 6, 2)
"""How long clients wait; some give up before a node says that it does not know, some do not."""
ROWS_TABLE, MQTT_TABLE, REGISTER_TABLE = "chaos", "sensors", "registers"
KAFKA_TABLE, BROKER_TABLE = "streamed", "brokered"
"""What comes through Kafka, and through Mosquitto."""


def check_of(writer, value):
    """A number that goes with a row, so that one which is mixed up is seen."""
    return (value * 31 + writer * 7) % 65_521


class Caller:
    """A client's connections, one to each node that it has asked."""

    def __init__(self, wait_s):
        self.wait_s, self.connections = wait_s, {}

    def send(self, node, method, path, body=None):
        """Status and body; OSError or HTTPException where there is no answer."""
        connection = self.connections.get(node.http_port)
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", node.http_port, timeout=self.wait_s)
            self.connections[node.http_port] = connection
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            del self.connections[node.http_port]
            raise


def became_of(caller, node, path, body):
    """What became of a write: ACKED, NOT_STORED, or INTENT where nobody knows."""
    try:
        status, answer = caller.send(node, "POST", path, body)
    except ConnectionRefusedError:
        return NOT_STORED
    except (OSError, http.client.HTTPException):
        return INTENT
    if status == 204:
        return ACKED
    assert status == 503, f"{status}: {answer[:500]}"
    said = json.loads(answer)
    return NOT_STORED if said.get("outcome") == "not_stored" and not said.get("rows_written") else INTENT


class Writer(threading.Thread):
    """Writes until it is to end, and tells why it could not go on."""

    def __init__(self, number, nodes, ledger, seed):
        super().__init__(daemon=True, name=ledger.name)
        self.number, self.nodes, self.ledger = number, nodes, ledger
        self.chance, self.wait_s = random.Random(f"{seed} {ledger.name}"), WAITS_S[number % len(WAITS_S)]
        self.ending, self.failure, self.longest_s = threading.Event(), None, 0.0

    def run(self):
        try:
            while not self.ending.is_set():
                self.write()
        except Exception as error:  # A thread's exception is told by whoever waits for it.
            self.failure = f"{self.name}: {error!r}"

    def node(self):
        return self.chance.choice(self.nodes)

    def try_on(self, item, rows, send):
        """Sends until it is acknowledged, or until the writer gives it up, which chance decides."""
        self.ledger.note(INTENT, item)
        was_unknown, began = False, time.monotonic()
        while True:
            became = send()
            if became == ACKED:
                self.longest_s = max(self.longest_s, time.monotonic() - began)
                self.ledger.note(ACKED, item, rows)
                return
            was_unknown |= became == INTENT
            self.ending.wait(0.02)
            if self.chance.random() < 0.1 or self.ending.is_set():
                if not was_unknown:
                    self.ledger.note(NOT_STORED, item)
                return


class RowWriter(Writer):
    """Batches of rows, each row with a key of its own."""

    def __init__(self, *arguments, tables, batch_rows):
        super().__init__(*arguments)
        self.tables, self.batch_rows, self.batch, self.caller = tables, batch_rows, 0, Caller(self.wait_s)

    def write(self):
        self.ledger.acks.pace(self.ending)
        batch, number = self.batch, self.number
        self.batch += 1
        rows = range(batch * self.batch_rows, (batch + 1) * self.batch_rows)
        table = f"{ROWS_TABLE}{batch % self.tables}"
        body = "\n".join(
            f"{table},w={number},s={at % SERIES} v={at}i,c={check_of(number, at)}i {START_MS + at}" for at in rows
        ).encode()
        send = lambda: became_of(self.caller, self.node(), "/write?precision=ms", body)
        self.try_on(batch, len(rows), send)


class RegisterWriter(Writer):
    """A few keys, overwritten again and again, each from one value to the next, and read at some other node."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.value, self.caller = 0, Caller(self.wait_s)
        self.acked, self.may_be = {}, {}
        self.reads, self.unread, self.wrong = 0, [], []

    def write(self):
        key = self.chance.randrange(KEYS)
        if self.chance.random() < 0.2:
            self.look(self.node(), key)
            return
        self.value += 1
        value = self.value
        body = f"{REGISTER_TABLE},w={self.number},k={key} v={value}i {START_MS}".encode()

        def send():
            became = became_of(self.caller, self.node(), "/write?precision=ms", body)
            if became == INTENT:
                # A node that stands still may store it after something newer.
                self.may_be.setdefault(key, set()).add(value)
            elif became == ACKED:
                self.acked[key] = value
            return became

        self.try_on(f"{key} {value}", 1, send)

    def look(self, node, key):
        """Reads a key; what comes must be the last value that was acknowledged, or one of which nobody knows."""
        try:
            found = self.read(node, key)
        except ConnectionRefusedError:
            return
        except (OSError, http.client.HTTPException) as error:
            self.unread.append(repr(error))
            return
        self.reads += 1
        may_be = self.may_be.get(key, set()) | {self.acked.get(key)}
        if found not in may_be:
            self.wrong.append(f"{self.name}: key {key} is {found} at {node.url}, acknowledged {self.acked.get(key)}")

    def read(self, node, key):
        """The value of a key; None where it has none."""
        question = f"SELECT v FROM {REGISTER_TABLE} WHERE w = '{self.number}' AND k = '{key}'"
        path = "/api/v1/sql?" + urllib.parse.urlencode({"q": question})
        status, answer = self.caller.send(node, "GET", path)
        if status != 200:
            raise http.client.HTTPException(f"{status}: {answer[:300]}")
        rows = json.loads(answer)["rows"]
        return rows[0][0] if rows else None


class MqttWriter(Writer):
    """Messages at QoS 1, a batch in flight at a time; where a connection breaks, the batch is sent again to any node."""

    def __init__(self, *arguments, batch_rows):
        super().__init__(*arguments)
        self.batch_rows, self.batch, self.client = batch_rows, 0, None

    def run(self):
        super().run()
        self.leave()

    def write(self):
        self.ledger.acks.pace(self.ending)
        batch = self.batch
        self.batch += 1
        rows = range(batch * self.batch_rows, (batch + 1) * self.batch_rows)
        self.try_on(batch, len(rows), lambda: self.publish(rows))

    def publish(self, rows):
        if self.client is None and not self.connect():
            return NOT_STORED
        sent = [self.publish_row(at) for at in rows]
        until = time.monotonic() + self.wait_s
        try:
            for message in sent:
                message.wait_for_publish(max(0.0, until - time.monotonic()))
        except (RuntimeError, ValueError):
            # The connection is gone.
            pass
        if all(message.rc == paho.MQTT_ERR_SUCCESS and message.is_published() for message in sent):
            return ACKED
        self.leave()
        return INTENT

    def publish_row(self, at):
        text = json.dumps({"time": START_MS + at, "v": at, "c": check_of(self.number, at)})
        return self.client.publish(f"{self.first_level()}/{self.number}/{at % SERIES}", text, qos=1)

    def first_level(self):
        return MQTT_TABLE

    def port(self):
        return self.node().mqtt_port

    def connect(self):
        client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        client.max_inflight_messages_set(self.batch_rows)
        try:
            client.connect("127.0.0.1", self.port())
        except OSError:
            return False
        client.loop_start()
        self.client = client
        return True

    def leave(self):
        """The next message goes over a new connection."""
        if self.client:
            self.client.disconnect()
            self.client.loop_stop()
            self.client = None


class BrokerWriter(MqttWriter):
    """Messages to an outside broker, which a connector drains."""

    def __init__(self, *arguments, batch_rows, mosquitto):
        super().__init__(*arguments, batch_rows=batch_rows)
        self.mosquitto = mosquitto

    def first_level(self):
        return BROKER_TABLE

    def port(self):
        return self.mosquitto.port


class KafkaWriter(Writer):
    """Records to a topic of several partitions, which a connector drains."""

    PARTITIONS = 4

    def __init__(self, *arguments, batch_rows, kafka, topic):
        super().__init__(*arguments)
        self.batch_rows, self.batch, self.topic = batch_rows, 0, topic
        settings = {"enable.idempotence": True, "message.timeout.ms": 10_000, "linger.ms": 5}
        self.producer = confluent_kafka.Producer({**kafka.settings, **settings})

    def write(self):
        self.ledger.acks.pace(self.ending)
        batch = self.batch
        self.batch += 1
        rows = range(batch * self.batch_rows, (batch + 1) * self.batch_rows)
        self.try_on(batch, len(rows), lambda: self.produce(rows))

    def produce(self, rows):
        """What is not delivered in time may be later."""
        delivered = []
        report = lambda error, _: error or delivered.append(1)
        for at in rows:
            row = {"w": str(self.number), "s": str(at % SERIES), "time": START_MS + at, "v": at, "c": check_of(self.number, at)}
            try:
                self.producer.produce(self.topic, json.dumps(row), partition=at % self.PARTITIONS, on_delivery=report)
            except BufferError:
                break
        self.producer.flush(self.wait_s)
        return ACKED if len(delivered) == len(rows) else INTENT
