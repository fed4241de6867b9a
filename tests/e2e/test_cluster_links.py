"""A cluster of three whose links go wrong: every node is reached through a small proxy of this file, which cuts, slows
and swallows what goes from one node to another. Judged by a ledger outside of the nodes."""

import os
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest
import requests
from callers import node_port_of
from conftest import BINARY, free_port, wait_for
from test_cluster import Member, until_together
from test_cluster_faults import Ledger, leading_most

OPEN, SWALLOW, RESET = "open", "swallow", "reset"


class Weather:
    """What happens to bytes from one node to another; shared by the proxies of all nodes."""

    def __init__(self):
        self.lock, self.ways, self.delay_s = threading.Lock(), {}, {}
        self.connections = set()
        # Numbers of nodes, by their ports for nodes.
        self.numbers = {}

    def set(self, way, *pairs):
        with self.lock:
            self.ways.update({pair: way for pair in pairs})
        if way == RESET:
            for connection in list(self.connections):
                if {(connection.caller, connection.callee), (connection.callee, connection.caller)} & set(pairs):
                    connection.end()

    def slow(self, seconds, *pairs):
        with self.lock:
            self.delay_s.update({pair: seconds for pair in pairs})

    def heal(self):
        with self.lock:
            self.ways.clear()
            self.delay_s.clear()
        # What was swallowed never comes: as with a real network that was away, old connections are of no use.
        for connection in list(self.connections):
            if connection.has_lost:
                connection.end()

    def of(self, pair):
        with self.lock:
            return self.ways.get(pair, OPEN), self.delay_s.get(pair, 0)


class Connection:
    """One connection through a proxy."""

    def __init__(self, weather, callee, near, port):
        self.weather, self.callee, self.has_lost = weather, callee, False
        self.caller = weather.numbers.get(node_port_of(near.getpeername()[1]))
        self.near, self.far = near, socket.create_connection(("127.0.0.1", port), timeout=5)
        self.far.settimeout(None)
        for end in (self.near, self.far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        weather.connections.add(self)
        there, back = (self.caller, callee), (callee, self.caller)
        threading.Thread(target=self.carry, args=(self.near, self.far, there), daemon=True).start()
        threading.Thread(target=self.carry, args=(self.far, self.near, back), daemon=True).start()

    def end(self):
        for end in (self.near, self.far):
            # So that it is reset, not closed in order.
            try:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.weather.connections.discard(self)

    def carry(self, source, sink, pair):
        try:
            while data := source.recv(1 << 16):
                way, delay_s = self.weather.of(pair)
                if delay_s:
                    time.sleep(delay_s)
                if way == RESET:
                    break
                if way == SWALLOW:
                    self.has_lost = True
                elif not self.has_lost:
                    sink.sendall(data)
        except OSError:
            pass
        self.end()


class Proxy:
    """The address at which others reach a node."""

    def __init__(self, weather, number, node_port):
        self.weather, self.number, self.node_port = weather, number, node_port
        self.listener = socket.create_server(("127.0.0.1", free_port()))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.take, daemon=True).start()

    def take(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                Connection(self.weather, self.number, near, self.node_port)
            except OSError:
                near.close()

    def close(self):
        self.listener.close()


class Linked(Member):
    """A member that is reached through a proxy. Its number is its id, as they join one after the other."""

    def __init__(self, folder, weather, number, join=()):
        super().__init__(folder, join)
        self.number = number
        weather.numbers[self.node_port] = number
        self.proxy = Proxy(weather, number, self.node_port)
        with self.config.open("a") as config:
            config.write(f'advertise = "{self.proxy.address}"\n')


class Cluster:
    """Three members, the weather between them, and writers."""

    def __init__(self, folder):
        self.weather, self.nodes, self.writers = Weather(), [], []
        for number in (1, 2, 3):
            join = [self.nodes[0].proxy.address] if self.nodes else []
            self.nodes.append(Linked(folder / str(number), self.weather, number, join).start())
            wait_for(lambda: len(self.nodes[0].cluster()["nodes"]) == len(self.nodes), "it to be known")
        until_together(self.nodes)
        assert [node.cluster()["self"] for node in self.nodes] == [1, 2, 3]

    def load(self, name):
        self.writers = [Ledger(f"{name}{at}", self.nodes) for at in range(3)]
        for writer in self.writers:
            writer.start()
        self.more(30)

    def more(self, count):
        goal = sum(writer.acks for writer in self.writers) + count
        wait_for(lambda: sum(writer.acks for writer in self.writers) >= goal, f"{count} more acks", 60)

    def others(self, node):
        return [other for other in self.nodes if other is not node]

    def ways(self, node):
        """All ways to and from a node."""
        pairs = [(node.number, other.number) for other in self.others(node)]
        return pairs + [(to, of) for of, to in pairs]

    def suspected(self, node, by):
        seen = {one["id"]: one["state"] for one in by.cluster()["nodes"]}
        return seen[node.number] == "down"

    def until_suspected(self, node):
        for other in self.others(node):
            wait_for(lambda other=other: self.suspected(node, other), f"{node.number} to be suspected")

    def judge(self):
        until_together(self.nodes)
        for writer in self.writers:
            writer.ending.set()
        for writer in self.writers:
            writer.join(30)
        for node in self.nodes:
            for writer in self.writers:
                writer.judge(node)

    def close(self):
        for node in self.nodes:
            node.close()
            node.proxy.close()


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    made = Cluster(tmp_path_factory.mktemp("links"))
    yield made
    made.close()


@pytest.fixture
def cluster(three):
    """The cluster of this file, whatever the test before did to it."""
    until_together(three.nodes)
    yield three
    three.weather.heal()
    for writer in three.writers:
        writer.ending.set()
    for node in three.nodes:
        if node.process.poll() is None:
            node.process.send_signal(signal.SIGCONT)
        else:
            node.start()


def test_links_that_are_cut_slow_or_one_way_lose_nothing(cluster):
    cluster.load("links")
    weather = cluster.weather
    # Cut off, in both directions.
    victim = leading_most(cluster.nodes)
    weather.set(SWALLOW, *cluster.ways(victim))
    cluster.until_suspected(victim)
    cluster.more(15)
    weather.heal()
    until_together(cluster.nodes)
    # One way: the two others hear it, and it hears neither.
    victim = leading_most(cluster.nodes)
    weather.set(SWALLOW, *[(other.number, victim.number) for other in cluster.others(victim)])
    cluster.until_suspected(victim)
    cluster.more(15)
    weather.heal()
    until_together(cluster.nodes)
    # Two that do not hear each other, and a third that both hear: it goes on, whoever leads.
    first, second, _ = cluster.nodes
    weather.set(SWALLOW, (first.number, second.number))
    cluster.more(15)
    weather.heal()
    until_together(cluster.nodes)
    # Slow in both directions: it falls behind in trust, and answers all the same.
    victim = leading_most(cluster.nodes)
    weather.slow(0.4, *cluster.ways(victim))
    cluster.more(15)
    weather.heal()
    # Reset again and again.
    until_together(cluster.nodes)
    for _ in range(5):
        weather.set(RESET, *cluster.ways(leading_most(cluster.nodes)))
        weather.set(OPEN, *cluster.ways(cluster.nodes[0]), *cluster.ways(cluster.nodes[1]))
        cluster.more(10)
    weather.heal()
    cluster.judge()


PAUSES_S = [0.3, 1, 10] + ([60] if os.environ.get("LONG_PAUSES") else [])


def test_a_node_that_stands_still_is_given_up_and_comes_back(cluster):
    cluster.load("pauses")
    for pause_s in PAUSES_S:
        victim = leading_most(cluster.nodes)
        victim.process.send_signal(signal.SIGSTOP)
        # The pause itself is what is tried; meanwhile the others go on.
        resumed = threading.Timer(pause_s, victim.process.send_signal, [signal.SIGCONT])
        resumed.start()
        cluster.more(20)
        resumed.join()
        until_together(cluster.nodes)
        cluster.more(10)
    cluster.judge()


def test_a_follower_that_stands_still_stops_nobody(cluster):
    cluster.load("follower")
    followers = [node for node in cluster.nodes if node is not leading_most(cluster.nodes)]
    victim = followers[0]
    victim.process.send_signal(signal.SIGSTOP)
    resumed = threading.Timer(15, victim.process.send_signal, [signal.SIGCONT])
    resumed.start()
    rounds = 0
    while resumed.is_alive():
        cluster.more(5)
        rounds += 1
    assert rounds > 3, "writes went on all the while"
    until_together(cluster.nodes)
    cluster.judge()


def test_a_second_node_dies_soon_after_the_first_is_back(cluster):
    cluster.load("second")
    victim = leading_most(cluster.nodes)
    victim.kill()
    cluster.more(20)
    victim.start()
    until_together(cluster.nodes)
    back = threading.Timer(float(os.environ.get("BACK_S", "10")), lambda: None)
    back.start()
    while back.is_alive():
        cluster.more(5)
    victim = leading_most(cluster.nodes)
    victim.kill()
    cluster.more(15)
    victim.start()
    cluster.judge()


def leaders(node):
    return {one["id"]: (one["leaders"], one["state"]) for one in node.cluster()["nodes"]}


def test_a_drained_node_leads_nothing_until_it_is_resumed_or_restarted(cluster):
    cluster.load("drained")
    drained, asked, other = cluster.nodes[1], cluster.nodes[0], cluster.nodes[2]

    def order(*words):
        command = [str(BINARY), "cluster", "--url", asked.url, *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout

    said = order("drain", "2", "--leaders-only", "--wait")
    assert said == "node 2 leads 0 groups\n"
    wait_for(lambda: leaders(other)[2] == (0, "draining"), "the others to know")
    cluster.more(10)
    assert leaders(drained)[2] == (0, "draining")
    # Another node points to it, and what is nothing that can be asked is refused.
    pointed = requests.post(f"{asked.url}/api/v1/nodes/2/resume", timeout=10)
    assert pointed.status_code == 200 and pointed.json()["state"] == "up", pointed.text
    assert len(pointed.history) == 1
    wait_for(lambda: leaders(other)[2][1] == "up", "the others to know")
    for path, body, status in [
        ("2/drain", {"leaders": True}, 400),
        ("2/drained", {"leaders_only": True}, 400),
        ("9/drain", {"leaders_only": True}, 404),
    ]:
        answer = requests.post(f"{asked.url}/api/v1/nodes/{path}", json=body, timeout=10)
        assert answer.status_code == status, f"{path} {body}: {answer.text}"
    assert order("drain", "2", "--leaders-only", "--wait") == said
    assert drained.stop() == 0
    drained.start()
    until_together(cluster.nodes)
    assert leaders(drained)[2][1] == "up"
    cluster.judge()
