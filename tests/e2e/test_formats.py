"""Formats that need more than a payload: schemas of a registry, births of Sparkplug B."""

import io
import json
import struct
import threading

import fastavro
import paho.mqtt.client as paho
import requests

from conftest import ROOT, wait_for
from parts import kafka, mosquitto, registry  # noqa: F401  fixtures
from test_kafka_source import source, status
from test_mqtt_source import running
from test_mqtt_source import source as mqtt_source

SAMPLES = ROOT / "tests" / "data" / "payloads"

READING = """
decoder = "{decoder}"
table = "{table}"
tags = {{ device = "$.device" }}
time = "$.at"
fields = {{ temperature = "$.temperature", state = "$.state" }}
"""


def sample(name):
    return (SAMPLES / name).read_bytes()


def register(registry, subject, text, kind="AVRO"):
    body = {"schema": text, "schemaType": kind}
    answer = requests.post(f"{registry}/subjects/{subject}/versions", json=body, timeout=10)
    assert answer.ok, answer.text
    return answer.json()["id"]


def framed(schema, payload):
    return b"\0" + struct.pack(">I", schema) + payload


def test_schemas_come_from_a_registry(kafka, registry, make_oribi):
    avro, protobuf = kafka.topic(), kafka.topic()
    of_avro = register(registry, avro, sample("avro/reading.avsc").decode())
    of_protobuf = register(registry, protobuf, sample("protobuf/reading.proto").decode(), "PROTOBUF")
    asked = f'registry = {{ url = "{registry}" }}'
    configuration = "".join(
        source(kafka, [topic], READING.format(decoder=decoder, table=decoder), decoder, asked)
        for topic, decoder in ((avro, "avro"), (protobuf, "protobuf"))
    )
    node = make_oribi(configuration).start()
    kafka.send(avro, [framed(of_avro, sample("avro/datum.bin")), framed(999_999, b"x"), b"plain"])
    # A single 0: the first message of the file.
    kafka.send(protobuf, [framed(of_protobuf, b"\0" + sample("protobuf/full.bin"))])
    for table, device in (("avro", "d0"), ("protobuf", "d1")):
        wait_for(lambda: node.count(table) == 1, f"a row of {table}: {status(node, table)}")
        row = node.sql(f"SELECT device, temperature, state FROM {table}")[0]
        assert row == {"device": device, "temperature": 21.5, "state": "ON"}
    wait_for(lambda: node.count("_dead_letters") == 2, "dead letters")
    details = {row["detail"] for row in node.sql("SELECT detail FROM _dead_letters")}
    assert any("has no schema 999999" in detail for detail in details), details
    assert any("does not begin with 00" in detail for detail in details), details


def test_a_registry_that_is_away_is_waited_for(kafka, make_oribi):
    topic = kafka.topic()
    away = 'registry = { url = "http://127.0.0.1:9/x" }'
    node = make_oribi(source(kafka, [topic], READING.format(decoder="avro", table="a"), more=away)).start()
    kafka.send(topic, [framed(1, sample("avro/datum.bin"))])
    wait_for(lambda: "cannot ask the schema registry" in (status(node)["last_error"] or ""), "the error")
    assert status(node)["dead_letters"] == 0


def test_sparkplug_is_asked_for_births_and_named_by_them(mosquitto, make_oribi):
    broker = mosquitto().start()
    node = make_oribi(mqtt_source(broker.port, ["spBv1.0/#"], routes='decoder = "sparkplug_b"\n')).start()
    running(node)
    asked = threading.Event()
    commands = []
    edge = paho.Client(paho.CallbackAPIVersion.VERSION2)
    subscribed = threading.Event()
    edge.on_subscribe = lambda *_: subscribed.set()

    def on_message(_, __, message):
        commands.append(message)
        asked.set()

    edge.on_message = on_message
    edge.connect("127.0.0.1", broker.port)
    edge.loop_start()
    edge.subscribe("spBv1.0/plant/NCMD/n1")
    assert subscribed.wait(10)
    data = ("spBv1.0/plant/DDATA/n1/boiler", sample("sparkplug_b/03-ddata.bin"))
    broker.send([data])
    assert asked.wait(10), status(node, "plant")
    assert b"Node Control/Rebirth" in commands[0].payload and not commands[0].retain
    births = [
        ("spBv1.0/plant/NBIRTH/n1", sample("sparkplug_b/01-nbirth.bin")),
        ("spBv1.0/plant/DBIRTH/n1/boiler", sample("sparkplug_b/02-dbirth.bin")),
    ]
    broker.send([*births, data, ("spBv1.0/plant/NDEATH/n1", sample("sparkplug_b/09-ndeath.bin"))])
    # Births of two, data, deaths of two.
    wait_for(lambda: node.count("sparkplug") == 5, f"rows: {status(node, 'plant')}")
    question = """SELECT "Boiler/Temperature" AS t, "Pump/Speed" AS s FROM sparkplug
        WHERE device = 'boiler' AND "Pump/Speed" = -1451"""
    assert node.sql(question) == [{"t": 61.5, "s": -1451}]
    assert node.sql("SELECT count(*) AS n FROM sparkplug WHERE online = false")[0]["n"] == 2
    assert node.count("_dead_letters") == 1
    edge.disconnect()
    edge.loop_stop()


def test_sparkplug_births_outlive_the_process(mosquitto, make_oribi):
    broker = mosquitto().start()
    node = make_oribi(mqtt_source(broker.port, ["spBv1.0/#"], routes='decoder = "sparkplug_b"\n')).start()
    running(node)
    data = ("spBv1.0/plant/DDATA/n1/boiler", sample("sparkplug_b/03-ddata.bin"))
    broker.send([data])
    (letter,) = wait_for(lambda: node.sql("SELECT * FROM _dead_letters"), "a letter of what no birth named")
    assert "no birth has named it" in letter["detail"]
    births = [
        ("spBv1.0/plant/NBIRTH/n1", sample("sparkplug_b/01-nbirth.bin")),
        ("spBv1.0/plant/DBIRTH/n1/boiler", sample("sparkplug_b/02-dbirth.bin")),
    ]
    broker.send(births)
    wait_for(lambda: node.count("sparkplug") == 2, f"births, {status(node, 'plant')}")
    node.kill()
    node.start()
    running(node)
    broker.send([data])
    wait_for(lambda: node.count("sparkplug") == 3, f"data by alias alone, {status(node, 'plant')}")
    kept = node.sql("SELECT source, node, device FROM _sparkplug_births ORDER BY device NULLS FIRST")
    assert [(row["source"], row["node"], row["device"]) for row in kept] == [("plant", "n1", None), ("plant", "n1", "boiler")]
    # What came before the births can be read now; it is the same row.
    answer = requests.post(f"{node.url}/api/v1/dead-letters/replay", timeout=30)
    assert (answer.json()["stored"], node.count("_dead_letters"), node.count("sparkplug")) == (1, 0, 3)


def test_a_sink_writes_avro_that_others_read(kafka, registry, make_oribi):
    topic = kafka.topic()
    node = make_oribi(f"""
[[connectors]]
name = "out"
kind = "kafka_sink"
url = "kafka://{kafka.address}"
registry = {{ url = "{registry}" }}
[[connectors.feeds]]
table = "m"
topic = "{topic}"
format = "avro"
[[connectors.feeds]]
table = "m"
topic = "{topic}"
format = "avro"
window = "1s"
select = "count(*) as n"
lateness_ms = 100
""").start()
    assert node.write('m,device=d1 v=-3i,f=0.5,b=true,s="x" 1700000000000000001').status_code == 204
    found = {}
    for record in kafka.read(topic, 2):
        value = record.value()
        schema = struct.unpack(">bI", value[:5])[1]
        text = requests.get(f"{registry}/schemas/ids/{schema}", timeout=10).json()["schema"]
        datum = fastavro.schemaless_reader(io.BytesIO(value[5:]), fastavro.parse_schema(json.loads(text)))
        found[datum["window"]] = datum
    row, window = found[None], found["1s"]
    assert row["tags"] == {"device": "d1"} and row["fields"] == {"v": -3, "f": 0.5, "b": True, "s": "x"}
    assert row["table"] == "m" and row["revision"] is None and len(row["id"]) == 32
    assert window["fields"] == {"n": 1} and window["revision"] >= 1 and window["tags"] == {}
