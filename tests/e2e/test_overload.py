"""More is asked of a node than it can do: it says so, takes what it can, loses nothing, and is well again by itself."""

import json
import re
import signal
import socket
import subprocess
import threading
import uuid

import paho.mqtt.client as paho
import pytest
import requests
from cluster import Member, all_well, put_table, until_together
from conftest import BINARY, wait_for
from parts import kafka  # noqa: F401  fixture
from test_kafka_source import ROWS as ROUTE
from test_kafka_source import source, status, total, values

WRITERS = 6
ROWS = 4_000
TIGHT = """
[ingest]
inflight_bytes_max = 1048576
wait_ms_max = 100
[query]
running_max = 1
"""


def metric(node, name):
    text = requests.get(f"{node.url}/metrics", timeout=60).text
    return float(re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE).group(1))


def part(node, key):
    return metric(node, f'oribi_memory_part_max_bytes{{key="{key}"}}')


def test_one_bound_of_memory_sets_the_others_unless_they_are_set(make_oribi):
    node = make_oribi("memory_bytes_max = 536870912\n[storage]\npage_cache_bytes_max = 12345678\n").start()
    assert metric(node, "oribi_memory_max_bytes") == 512 << 20
    assert part(node, "storage.memtable_bytes_max") == 64 << 20
    assert part(node, "ingest.inflight_bytes_max") == 32 << 20
    assert part(node, "query.memory_total_bytes_max") == 128 << 20
    assert part(node, "storage.page_cache_bytes_max") == 12345678


def test_the_bound_is_half_of_the_memory_unless_it_is_set(oribi):
    with open("/proc/meminfo") as file:
        machine = int(re.search(r"MemTotal:\s+(\d+)", file.read()).group(1)) * 1024
    assert 0 < metric(oribi, "oribi_memory_max_bytes") <= machine / 2


def test_a_bound_that_is_too_small_is_refused(tmp_path):
    command = [BINARY, "serve", "--data-dir", tmp_path / "data", "--memory-bytes-max", "1000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "memory_bytes_max is 1000; expected" in done.stderr, done


class Crowd:
    """Writers who offer more than a node lets in at once, each row once, until they are told to end."""

    MAY_BE_REFUSED_AS = {"not_stored"}

    def __init__(self, node):
        self.node, self.over, self.lock = node, threading.Event(), threading.Lock()
        self.acked, self.refused, self.wrong = 0, 0, []
        self.threads = [threading.Thread(target=self.write, args=[number]) for number in range(WRITERS)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def write(self, number):
        session, turn = requests.Session(), 0
        is_unknown = False
        while is_unknown or not self.over.is_set():
            first = turn * ROWS
            body = "\n".join(
                f"crowd,w={number} v={first + at}i,t=\"{'x' * 100}\" {1_700_000_000_000 + first + at}" for at in range(ROWS)
            )
            answer = session.post(f"{self.node.url}/write?precision=ms", data=body, timeout=120)
            with self.lock:
                self.note(answer)
            turn += answer.status_code == 204
            is_unknown = answer.status_code == 503 and answer.json()["outcome"] == "unknown"

    def note(self, answer):
        if answer.status_code == 204:
            self.acked += ROWS
        elif answer.status_code == 503 and int(answer.headers["retry-after"]) > 0 and answer.json()["outcome"] in self.MAY_BE_REFUSED_AS:
            self.refused += 1
        else:
            self.wrong.append((answer.status_code, answer.text))


class CrowdOfMany(Crowd):
    """The same at one of several nodes, whose leaders may change where they get no time to run: what is unknown is sent again."""

    MAY_BE_REFUSED_AS = {"not_stored", "unknown"}


def unread(node):
    """A question whose answer nobody reads, so that it keeps its place."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", node.http_port))
    sock.sendall(b"GET /api/v1/query?table=long&select=last(t)&window=1s&format=csv HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert sock.recv(12) == b"HTTP/1.1 200"
    return sock


def ask(node):
    try:
        return requests.get(f"{node.url}/api/v1/query", params={"table": "long", "select": "count(*)"}, timeout=2)
    except requests.Timeout:
        return None


def is_shed(answer):
    if answer is None or answer.status_code != 429:
        return False
    return int(answer.headers["retry-after"]) > 0 and answer.json()["type"] == "/problems/overloaded"


@pytest.fixture
def crowded(make_oribi):
    """A node with room for few, and with a table whose answers are long."""
    node = make_oribi(TIGHT).start()
    for piece in range(10):
        rows = range(piece * 10_000, (piece + 1) * 10_000)
        lines = "\n".join(f"long t=\"{'y' * 200}\" {1_700_000_000 + at}" for at in rows)
        wait_for(lambda lines=lines: node.write(lines, precision="s").status_code == 204, "room for rows")
    return node


def test_questions_give_way_before_writes_and_all_is_well_afterwards(crowded):
    held = unread(crowded)
    with Crowd(crowded) as crowd:
        wait_for(lambda: is_shed(ask(crowded)), "a question to be refused", 120)
        acked = crowd.acked
        wait_for(lambda: crowd.acked > acked, "writes to go on", 120)
        health = requests.get(f"{crowded.url}/health", timeout=60)
        assert health.status_code == 200
    held.close()
    assert not crowd.wrong, crowd.wrong[:3]
    wait_for(lambda: metric(crowded, "oribi_overloaded") == 0, "the node to be well again", 60)
    wait_for(lambda: (answer := ask(crowded)) is not None and answer.status_code == 200, "questions to be answered", 60)
    assert crowded.write("after v=1").status_code == 204
    assert crowded.count("crowd") == crowd.acked


def test_writes_that_cannot_wait_are_refused_and_none_is_lost(make_oribi):
    node = make_oribi("[ingest]\ninflight_bytes_max = 1048576\nwait_ms_max = 1\n").start()
    with Crowd(node) as crowd:
        wait_for(lambda: crowd.refused > 0 and crowd.acked > 0, "writes to be acked, and some to be refused", 120)
    assert not crowd.wrong, crowd.wrong[:3]
    assert node.count("crowd") == crowd.acked


def test_writes_wait_before_their_bodies_are_read(make_oribi):
    node = make_oribi("[http]\nbody_bytes_max = 1048576\ninflight_bytes_max = 1048576\nwait_ms_max = 1\n").start()
    with Crowd(node) as crowd:
        wait_for(lambda: metric(node, "oribi_waiting_writes") > 0, "a write to be counted among those that wait", 120)
        wait_for(lambda: crowd.refused > 0 and crowd.acked > 0, "writes to be acked, and some to be refused", 120)
    assert not crowd.wrong, crowd.wrong[:3]
    assert node.count("crowd") == crowd.acked


def test_devices_are_slowed_and_none_of_their_messages_is_lost(crowded):
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=uuid.uuid4().hex)
    client.max_inflight_messages_set(200)
    client.connect("127.0.0.1", crowded.mqtt_port)
    client.loop_start()
    with Crowd(crowded) as crowd:
        wait_for(lambda: metric(crowded, "oribi_waiting_writes") > 0, "a write to wait", 120)
        sent = [client.publish("sensors/a/b", f'{{"v":{at},"time":{1_700_000_000_000 + at}}}', qos=1) for at in range(2_000)]
        wait_for(lambda: sum(one.is_published() for one in sent) > 100, "devices to get their turn", 120)
    for one in sent:
        one.wait_for_publish(120)
    client.disconnect()
    client.loop_stop()
    assert crowded.count("sensors") == 2_000
    assert crowded.count("crowd") == crowd.acked


SMALL = "memory_bytes_max = 134217728\n"


def held(node):
    """Memory of a node that is not of a file, bytes."""
    with open(f"/proc/{node.process.pid}/status") as file:
        return int(re.search(r"RssAnon:\s+(\d+)", file.read()).group(1)) * 1024


class Most(threading.Thread):
    """The most that any of several nodes has held, and the most in the memtables of one of them."""

    def __init__(self, nodes, of):
        super().__init__()
        self.nodes, self.of, self.over, self.held, self.memtables = nodes, of, threading.Event(), 0, 0

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()

    def run(self):
        while not self.over.wait(0.05):
            self.held = max([self.held, *(held(node) for node in self.nodes)])
            if self.of:
                self.memtables = max(self.memtables, metric(self.of, "oribi_memtable_bytes"))


@pytest.fixture
def three(tmp_path):
    """Makes three nodes, the last of which has more to its configuration."""
    nodes = []

    def make(last=""):
        for number in range(3):
            node = Member(tmp_path / str(number), [one.address for one in nodes[:1]])
            text = SMALL + node.config.read_text()
            node.config.write_text(text + (last if number == 2 else ""))
            nodes.append(node.start())
        until_together(nodes)
        put_table(nodes[0], "crowd")
        assert nodes[0].write("crowd,w=all v=0i,t=\"\" 1", precision="ms").status_code == 204
        wait_for(lambda: all_well(nodes[0], "crowd", 3), "three voters of the table", 60)
        return nodes

    yield make
    for node in nodes:
        node.close()


def until_each_has(nodes, rows):
    for node in nodes:
        wait_for(lambda node=node: node.count("crowd") == rows, f"{rows} rows at {node.url}", 120)


def test_a_follower_with_little_memory_holds_no_more_than_that_and_stops_nobody(three):
    nodes = three("[storage]\nmemtable_bytes_max = 1048576\n")
    with Most(nodes, nodes[2]) as most, CrowdOfMany(nodes[0]) as crowd:
        wait_for(lambda: crowd.acked >= 60 * ROWS or crowd.wrong, "writes that are acknowledged", 240)
    assert not crowd.wrong, crowd.wrong[:3]
    # A quarter more than it may hold, what was on its way when that was reached, and one write.
    assert 0 < most.memtables <= (1 << 20) * 5 / 4 + (4 << 20) + (1 << 20)
    until_each_has(nodes, crowd.acked + 1)


def test_a_follower_that_stands_still_costs_the_others_no_memory(three):
    nodes = three()
    nodes[2].process.send_signal(signal.SIGSTOP)
    try:
        with Most(nodes[:2], None) as most, CrowdOfMany(nodes[0]) as crowd:
            wait_for(lambda: crowd.acked >= 60 * ROWS, "writes that are acknowledged", 240)
    finally:
        nodes[2].process.send_signal(signal.SIGCONT)
    assert most.held <= 1.1 * (128 << 20)
    rows = nodes[0].count("crowd")
    assert rows > crowd.acked, "all that was acknowledged is there, and the first row"
    until_each_has(nodes, rows)


def test_a_topic_with_more_than_a_node_can_take_waits_in_its_broker(kafka, make_oribi):  # noqa: F811
    count = 100_000
    topic = kafka.topic(partitions=4)
    pad = "p" * 500
    kafka.send(topic, [json.dumps({**json.loads(text), "pad": pad}) for text in values(count)])
    tight = "[ingest]\ninflight_bytes_max = 1048576\nwait_ms_max = 1000\n"
    node = make_oribi("memory_bytes_max = 268435456\n" + tight + source(kafka, [topic], ROUTE)).start()
    with Most([node], None) as most, Crowd(node) as crowd:
        wait_for(lambda: metric(node, "oribi_waiting_writes") > 0, "writes to wait", 120)
        before = status(node)["rows"]
        wait_for(lambda: status(node)["rows"] > before, "the topic to get its turn", 120)
        acked = crowd.acked
        wait_for(lambda: crowd.acked > acked, "the others to get theirs", 120)
    assert not crowd.wrong, crowd.wrong[:3]
    wait_for(lambda: status(node)["lag"] == 0 and node.count("rows") == count, f"all records, {status(node)}", 240)
    assert total(node) == (count, sum(range(count))) and node.count("crowd") == crowd.acked
    assert status(node)["dead_letters"] == 0 and status(node)["restarts"] == 0
    assert most.held <= 1.1 * (256 << 20)
    wait_for(lambda: metric(node, "oribi_overloaded") == 0, "the node to be well again", 60)
