"""The MQTT listener as devices see it: acks, sessions, odd packets, dead letters."""

import json
import socket
import struct

import paho.mqtt.client as paho
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from conftest import wait_for
from wire import Wire


def dead(node, table="_dead_letters"):
    if node.count(table) == 0:
        return []
    return node.sql("SELECT reason, topic, detail, payload, payload_bytes, client_id FROM _dead_letters ORDER BY time")


def test_payloads_become_rows(oribi):
    node = oribi
    wire = Wire(node, "w")
    messages = [
        ("sensors/s/d", b'{"a":{"b":1,"c":[true,"x"]},"n":null,"device":"d","time":1700000000}'),
        ("sensors/s/d", b'[{"v":1,"ts":"2024-02-29T12:00:00Z"},{"v":2,"ts":1709208001000}]'),
        ("sensors/s/temperature", b"21.5"),
        ("plant/line1/pressure", b"7"),
        ("plant/line1/state", b"running"),
        ("any/topic", b"weather,city=Bern t=3.5 1700000000000000000\nweather,city=Basel t=4 1700000000000000000\n"),
    ]
    for number, (topic, payload) in enumerate(messages, 1):
        wire.publish(topic, payload, packet_id=number)
        assert wire.receive() == (0x40, struct.pack(">H", number))
    assert dead(node) == []
    (row,) = node.sql("SELECT a_b, a_c_0, a_c_1 FROM sensors WHERE time = '2023-11-14T22:13:20Z'")
    assert row == {"a_b": 1, "a_c_0": True, "a_c_1": "x"}
    times = node.sql("SELECT time, v FROM sensors WHERE v IS NOT NULL ORDER BY time")
    assert [(row["time"].rstrip("Z"), row["v"]) for row in times] == [("2024-02-29T12:00:00", 1), ("2024-02-29T12:00:01", 2)]
    assert node.sql("SELECT value FROM sensors WHERE device = 'temperature'") == [{"value": 21.5}]
    assert node.sql("SELECT topic, pressure FROM plant WHERE pressure IS NOT NULL") == [{"topic": "plant/line1/pressure", "pressure": 7}]
    assert node.sql("SELECT state FROM plant WHERE state IS NOT NULL") == [{"state": "running"}]
    assert node.count("weather") == 2


def test_what_cannot_be_stored_is_acked_and_kept(oribi):
    node = oribi
    wire = Wire(node, "poison")
    wire.publish("sensors/s/d", b'{"v":1}')
    assert wire.receive()[0] == 0x40
    messages = [b'{"v":', b'{"device":"other","v":1}', b'{"v":"text now"}', b"\xff\xfe\x00", b'{"v":1e999}', b"", b'{"time":"x","v":1}']
    for number, payload in enumerate(messages, 2):
        wire.publish("sensors/s/d", payload, packet_id=number)
        assert wire.receive() == (0x40, struct.pack(">H", number)), payload
    letters = dead(node)
    assert len(letters) >= len(messages) - 1, letters
    assert {letter["reason"] for letter in letters} >= {"syntax", "topic_conflict", "type_conflict"}
    assert all(letter["detail"] and letter["client_id"] == "poison" for letter in letters)
    assert node.sql("SELECT count(*) AS n FROM sensors WHERE device = 'd'") == [{"n": 1}]


def test_a_publish_beyond_the_limit_is_skipped_acked_and_kept(oribi):
    node = oribi
    wire = Wire(node, "big")
    wire.publish("sensors/s/d", b"x" * (12 << 20), packet_id=7)
    assert wire.receive() == (0x40, struct.pack(">H", 7))
    wire.publish("sensors/s/d", b'{"v":2}', packet_id=8)
    assert wire.receive() == (0x40, struct.pack(">H", 8))
    (letter,) = dead(node)
    assert letter["reason"] == "limit" and letter["payload_bytes"] == 12 << 20 and letter["payload"].startswith("xxx")
    assert node.count("sensors") == 1


def test_qos_2_stores_a_message_once(oribi):
    node = oribi
    wire = Wire(node, "two", clean=False)
    for dup in (0, 1, 1):
        wire.publish("sensors/s/d", b'{"v":1}', qos=2, packet_id=9, dup=dup)
        assert wire.receive() == (0x50, struct.pack(">H", 9))
    wire.socket.close()
    again = Wire(node, "two", clean=False)
    assert again.connack == (0x20, b"\x01\x00"), "the session is present"
    again.publish("sensors/s/d", b'{"v":1}', qos=2, packet_id=9, dup=1)
    assert again.receive() == (0x50, struct.pack(">H", 9))
    again.send(0x62, struct.pack(">H", 9))
    assert again.receive() == (0x70, struct.pack(">H", 9))
    assert node.count("sensors") == 1
    again.publish("sensors/s/d", b'{"v":2}', qos=2, packet_id=9)
    assert again.receive() == (0x50, struct.pack(">H", 9))
    assert node.count("sensors") == 2


def test_it_is_no_broker(oribi):
    node = oribi
    for version, failure in ((4, 0x80), (5, None)):
        wire = Wire(node, f"sub{version}", version=version)
        properties = b"\0" if version == 5 else b""
        wire.send(0x82, struct.pack(">H", 3) + properties + Wire.text("sensors/#") + b"\x01")
        head, body = wire.receive()
        assert head == 0x90 and body[-1] >= 0x80 and (failure is None or body[-1] == failure)
        wire.publish("sensors/s/d", b'{"v":1}', retain=1)
        assert wire.receive()[0] == 0x40
        wire.send(0xC0, b"")
        assert wire.receive() == (0xD0, b"")
    assert node.count("sensors") == 2


def test_wills_and_take_over(oribi):
    node = oribi
    wire = Wire(node, "mortal", will=("sensors/s/mortal", b'{"online":false}'))
    wire.socket.close()
    wait_for(lambda: node.count("sensors") == 1, "the will")
    polite = Wire(node, "polite", will=("sensors/s/polite", b'{"online":false}'))
    polite.send(0xE0, b"")
    assert polite.receive() is None
    first = Wire(node, "same", version=5)
    second = Wire(node, "same", version=5)
    head, body = first.receive()
    assert head == 0xE0 and body[0] == 0x8E, "session taken over"
    assert first.receive() is None
    second.publish("sensors/s/d", b'{"v":1}')
    assert second.receive()[0] == 0x40
    assert node.count("sensors") == 2


def test_keep_alive_ends_a_silent_connection(oribi):
    wire = Wire(oribi, "silent", keep_alive=1)
    last = None
    while (packet := wire.receive()) is not None:
        last = packet
    assert last is None or last[0] == 0xE0


ODD = [
    b"\x30\x02\x00\x00",  # a PUBLISH without a topic
    b"\x32\x06\x00\x01a\x00\x00x",  # packet id 0
    b"\x36\x05\x00\x01a\x00\x01",  # QoS 3
    b"\x32\x07\x00\x03a/#\x00\x01",  # a wildcard in a topic
    b"\x32\x05\x00\x03a\x00b",  # NUL in a topic
    b"\x30\x03\x00\x09a",  # a topic longer than the packet
    b"\x30\xff\xff\xff\xff\x7f",  # a length of five bytes
    b"\x10\x00",  # a second CONNECT
    b"\xf0\x00",  # AUTH without a method
    b"\x00\x00",
]


@pytest.mark.parametrize("packet", ODD, ids=range(len(ODD)))
def test_odd_packets_end_one_connection(shared, packet):
    wire = Wire(shared, "odd")
    wire.socket.sendall(packet)
    wire.socket.shutdown(socket.SHUT_WR)
    while wire.receive() is not None:
        pass
    other = Wire(shared, "other")
    other.publish("fine/x", b'{"v":1}')
    assert other.receive()[0] == 0x40


def test_before_connect_nothing_is_taken(shared):
    with socket.create_connection(("127.0.0.1", shared.mqtt_port), timeout=20) as bare:
        bare.sendall(b"\x30\x04\x00\x01ax")
        assert bare.recv(100) in (b"",)
    with socket.create_connection(("127.0.0.1", shared.mqtt_port), timeout=20) as bare:
        bare.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert bare.recv(100) == b""


def test_long_topics(shared):
    wire = Wire(shared, "long")
    wire.publish("t/" + "x" * 65_000, b"1", packet_id=1)
    wire.publish("/" * 65_535, b"1", packet_id=2)
    wire.publish("fine/y", b"1", packet_id=3)
    acked = [wire.receive() for _ in range(3)]
    assert acked == [(0x40, struct.pack(">H", n)) for n in (1, 2, 3)]


def test_version_5_properties_and_reasons(shared):
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="five", protocol=paho.MQTTv5)
    acks, connacks = [], []
    client.on_publish = lambda c, u, mid, reason, properties: acks.append(reason)
    client.on_connect = lambda c, u, flags, reason, properties: connacks.append(properties)
    client.connect("127.0.0.1", shared.mqtt_port)
    client.loop_start()
    properties = Properties(PacketTypes.PUBLISH)
    properties.ContentType, properties.MessageExpiryInterval = "application/json", 60
    properties.UserProperty = ("a", "b")
    client.publish("five/x", json.dumps({"v": 1}), qos=1, properties=properties)
    client.publish("five/x", json.dumps({"v": 2}), qos=2, properties=properties)
    wait_for(lambda: len(acks) == 2, "two acks")
    assert all(not reason.is_failure for reason in acks)
    assert getattr(connacks[0], "ReceiveMaximum", 65535) == 65535
    assert getattr(connacks[0], "RetainAvailable", 1) in (0, 1)
    client.disconnect()
    client.loop_stop()
    assert shared.count("five") == 2


@pytest.mark.parametrize("kind", ["tables", "times"])
def test_a_client_with_new_tables_or_times_of_decades_holds_up_nobody(make_oribi, kind):
    """More new tables and ranges than may be made in a minute; the others are acked within the socket's patience."""
    most = 60 if kind == "tables" else 20
    node = make_oribi(f"[ingest]\ntablets_per_minute_max = {most}\n").start()
    goods = [Wire(node, f"good{number}") for number in range(8)]
    for number, good in enumerate(goods):
        good.publish(f"sensors/s/good{number}", b'{"v":0}')
        assert good.receive()[0] == 0x40
    bad = Wire(node, "bad")
    count = 70
    for number in range(count):
        if kind == "tables":
            bad.publish(f"yard{number}/logger", b'{"v":1}', packet_id=number + 1)
        else:
            time = 110_000_000 + number * 170 * 86_400
            bad.publish(f"yard/logger{number}", b'{"v":1,"time":%d}' % time, packet_id=number + 1)
    for packet_id in range(2, 52):
        for number, good in enumerate(goods):
            good.publish(f"sensors/s/good{number}", b'{"v":%d}' % packet_id, packet_id=packet_id)
        for good in goods:
            assert good.receive() == (0x40, struct.pack(">H", packet_id))
    bad.socket.settimeout(60)
    assert [bad.receive() for _ in range(count)] == [(0x40, struct.pack(">H", n + 1)) for n in range(count)]
    tables = [f"yard{number}" for number in range(count)] if kind == "tables" else ["yard"]
    assert sum(node.count(table) for table in tables) == count
    assert node.count("sensors") == 8 * 51
    assert dead(node) == []


def test_over_http_the_rest_is_stored_and_comes_again(make_oribi):
    node = make_oribi("[ingest]\ntablets_per_minute_max = 60\n").start()
    body = "\n".join(f"t{number} v=1 1700000000" for number in range(50))
    answer = node.write(body, precision="s")
    assert answer.status_code == 503 and answer.headers["Retry-After"] == "5"
    again = [line["line_number"] for line in answer.json()["data"]]
    assert 0 < len(again) < 50
    assert sum(node.count(f"t{number}") for number in range(50) if number + 1 not in again) == 50 - len(again)
    wait_for(lambda: node.write(body, precision="s").status_code == 204, "room for all tables")
    assert sum(node.count(f"t{number}") for number in range(50)) == 50


def test_a_connect_that_the_specification_forbids_is_refused(shared):
    texts = Wire.text
    for flags, rest in [
        (3, texts("x")),
        (2 | 4 | 0x18, texts("x") + texts("a/b") + texts("w")),
        (2 | 4, texts("x") + texts("a/#") + texts("w")),
        (2, texts("a\0b")),
    ]:
        body = texts("MQTT") + bytes([4, flags, 0, 60]) + rest
        with socket.create_connection(("127.0.0.1", shared.mqtt_port), timeout=20) as bare:
            bare.sendall(bytes([0x10, len(body)]) + body)
            assert bare.recv(100) == b"", flags
