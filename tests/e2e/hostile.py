"""What one client alone could do to a node and to everybody else at it, and what is looked at meanwhile.

Each case is a function of a running node that sends what it has to, without waiting for more than it must. `watched` runs one
beside a device that publishes at QoS 1 and a caller of `/health`.
"""

import contextlib
import pathlib
import struct
import threading
import time

import requests

from wire import Wire

PATIENCE_S = 60
LONG = 60_000
MIB = 1 << 20

CONFIG = """
[[mqtt.topics]]
pattern = "telegraf/{host}"
preset = "telegraf"
[[mqtt.topics]]
pattern = "sensors/{site}/{device}"
table = "sensors"
[[mqtt.topics]]
pattern = "#"
"""


class Seen:
    """What became of the node and of others while a case ran."""

    def __init__(self):
        self.acks_s, self.health_s, self.faults = [], [], []
        self.idle_bytes = self.peak_bytes = 0

    @property
    def grown_mib(self):
        return (self.peak_bytes - self.idle_bytes) / MIB


def memory(node, name):
    """VmRSS or VmHWM of the process, in bytes."""
    status = pathlib.Path(f"/proc/{node.process.pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(name))


def keep(seen, done, taken_s, ask):
    while not done.is_set():
        begun = time.monotonic()
        try:
            ask()
        except (OSError, AssertionError) as fault:
            seen.faults.append(f"{ask.__name__}: {fault!r}")
            return
        taken_s.append(time.monotonic() - begun)
        done.wait(0.005)


def watched(node, case):
    """Runs `case` and gives what was seen beside it; what the device published must be stored."""
    seen, done = Seen(), threading.Event()
    device = Wire(node, "watcher")
    session = requests.Session()

    def puback():
        device.publish("sensors/watch/good", b'{"v":1}')
        assert device.receive() == (0x40, b"\0\1")

    def health():
        assert session.get(f"{node.url}/health", timeout=PATIENCE_S).status_code == 200

    device.socket.settimeout(PATIENCE_S)
    puback()
    health()
    pathlib.Path(f"/proc/{node.process.pid}/clear_refs").write_text("5")
    seen.idle_bytes = memory(node, "VmRSS")
    watchers = [
        threading.Thread(target=keep, args=(seen, done, seen.acks_s, puback)),
        threading.Thread(target=keep, args=(seen, done, seen.health_s, health)),
    ]
    for watcher in watchers:
        watcher.start()
    try:
        with contextlib.ExitStack() as held:
            case(node, held)
            # What is held is held while the last looks are taken.
            health()
            seen.peak_bytes = memory(node, "VmHWM")
    finally:
        done.set()
        for watcher in watchers:
            watcher.join()
        device.socket.close()
    return seen


def post(node, path, body):
    return requests.post(f"{node.url}{path}", data=body, timeout=PATIENCE_S)


def wire(node, held, *arguments, **more):
    made = Wire(node, *arguments, **more)
    made.socket.settimeout(PATIENCE_S)
    held.callback(made.socket.close)
    return made


# -- one message that would fell the node ---------------------------------------------------------


def tag_names(count):
    return "\n".join(f"t,a{n}=1 v=1" for n in range(count)).encode()


def tag_names_over_http(node, held):
    for count in (20_000, 40_000):
        assert post(node, "/write", tag_names(count)).status_code in (204, 400)


def tag_names_in_one_publish(node, held):
    sender = wire(node, held, "names")
    sender.publish("sensors/names/a", tag_names(17_000))
    assert sender.receive()[0] == 0x40


def sparse_fields(node, held):
    lines = (f"{table} f{n % 1000}=1 {n + 1}" for table in "abcdefgh" for n in range(16_000))
    assert post(node, "/write", "\n".join(lines).encode()).status_code in (204, 400)


def rows_that_are_given_up(node, held):
    count = 140_000
    body = b'{"a":1}\n' * count + b'{"s":"x","a":1e999}\n' * count
    bodies = [threading.Thread(target=post, args=(node, "/api/v1/write?table=t&format=ndjson", body)) for _ in range(2)]
    for one in bodies:
        one.start()
    for one in bodies:
        one.join()


def tables_in_one_body(node, held):
    answer = post(node, "/write", "\n".join(f"m{n} v=1" for n in range(4_000)).encode())
    assert answer.status_code in (204, 400, 503)


def tables_by_publishes(node, held):
    sender = wire(node, held, "tables")
    for n in range(1_000):
        sender.publish(f"level{n}/x", b'{"v":1}', qos=0)


def tags_of_one_metric(node, held):
    tags = ",".join(f'"tag{n}":"x"' for n in range(LONG))
    sender = wire(node, held, "telegraf")
    sender.publish("telegraf/h", b'{"name":"m","fields":{"v":1},"tags":{%s},"timestamp":1700000000}' % tags.encode())
    assert sender.receive()[0] == 0x40


def good_bodies(node, held):
    """Nothing hostile, and as much memory as rows take: three clients, each with two bodies of fifteen MiB."""
    line = ",".join(f"field{n}={n}" for n in range(10))

    def client(number):
        for turn in range(2):
            body = "\n".join(f"cpu,host=h{n % 100} {line} {(number * 2 + turn) * 10**9 + n}" for n in range(120_000))
            wait_s = 1
            while post(node, "/write", body.encode()).status_code == 503 and wait_s < PATIENCE_S:
                time.sleep(wait_s)
                wait_s += 1

    clients = [threading.Thread(target=client, args=(number,)) for number in range(3)]
    for one in clients:
        one.start()
    for one in clients:
        one.join()


# -- what one client could leave behind -----------------------------------------------------------


def long_topics(node, held):
    sender = wire(node, held, "topics")
    for n in range(2_000):
        sender.publish("sensors/" + f"{n:06}" * (LONG // 6) + "/d", b'{"v":1}', qos=0)
    sender.publish("sensors/topics/end", b'{"v":1}')
    assert sender.receive()[0] == 0x40


def aliases(node, held):
    for n in range(20):
        sender = wire(node, held, f"alias{n}", version=5)
        # A connection that wants more than its part of the memory is ended.
        with contextlib.suppress(OSError):
            for alias in range(1, 257):
                topic = sender.text(f"sensors/{n}/" + f"{alias:05}" * (LONG // 5))
                sender.send(0x30, topic + b"\x03\x23" + struct.pack(">H", alias) + b'{"v":1}')


def unreleased_packet_ids(node, held):
    # Retained and empty: taken, and no row.
    topic = Wire.text("sensors/q/two")
    packets = b"".join(b"\x35" + bytes([len(topic) + 2]) + topic + struct.pack(">H", n) for n in range(1, 65_536))
    for n in range(40):
        sender = Wire(node, f"two{n}", clean=False)
        sender.socket.settimeout(PATIENCE_S)
        reader = threading.Thread(target=drain, args=(sender,))
        reader.start()
        with contextlib.suppress(OSError):
            sender.socket.sendall(packets)
            sender.socket.shutdown(1)
        reader.join()
        sender.socket.close()


def drain(sender):
    with contextlib.suppress(OSError):
        while sender.socket.recv(1 << 16):
            pass


def delayed_wills(node, held):
    will = Wire.text("w" * 65_000) + struct.pack(">H", 65_000) + b"x" * 65_000
    delay = b"\x05\x18\xff\xff\xff\xff"
    for n in range(3_000):
        sender = Wire.raw(node)
        body = Wire.text("MQTT") + b"\x05\x06\0\0" + b"\x05\x11\xff\xff\xff\xff" + Wire.text(f"will{n}") + delay + will
        sender.send(0x10, body)
        sender.receive()
        sender.socket.close()


def long_client_ids(node, held):
    for n in range(5_000):
        sender = Wire.raw(node)
        sender.send(0x10, Wire.text("MQTT") + b"\x04\0\0\0" + Wire.text(f"{n:05}" * 10_000))
        sender.receive()
        sender.socket.close()


def buffers_once_used(node, held):
    for n in range(200):
        sender = wire(node, held, f"once{n}")
        sender.publish("sensors/once/d", b'{"v":"' + b"x" * 1_000_000 + b'"}', qos=1)
        assert sender.receive()[0] == 0x40


def connects_without_an_end(node, held):
    for _ in range(300):
        sender = Wire.raw(node)
        held.callback(sender.socket.close)
        with contextlib.suppress(OSError):
            # A remaining length of 2 MiB, of which half comes.
            sender.socket.sendall(b"\x10\x80\x80\x80\x01" + Wire.text("MQTT") + b"\x04\x02\0\0" + b"\xff\xff" + b"x" * MIB)


def duplicates(node, held):
    sender = wire(node, held, "again", clean=False)
    reader = threading.Thread(target=drain, args=(sender,))
    reader.start()
    for n in range(1, 32_001):
        sender.publish("sensors/again/d", b'{"v":1}', qos=2, packet_id=n)
    for _ in range(32_000):
        sender.publish("sensors/again/d", b'{"v":1}', qos=2, packet_id=32_000, dup=1)
    sender.socket.shutdown(1)
    reader.join()


FELLING = [
    tag_names_over_http,
    tag_names_in_one_publish,
    sparse_fields,
    rows_that_are_given_up,
    tables_in_one_body,
    tables_by_publishes,
    tags_of_one_metric,
]
LEAVING = [
    long_topics,
    aliases,
    unreleased_packet_ids,
    delayed_wills,
    long_client_ids,
    buffers_once_used,
    connects_without_an_end,
    duplicates,
]
CROWDING = [good_bodies]
