"""What befalls the nodes, drawn from a seed."""

import collections
import json
import random
import signal
import threading
import time

import requests
from brokers import BrokerFaults
from changes import Changes
from conftest import wait_for

BURST, BURST_TABLE = 32, "burst"
CALM_S = 90
"""Within this all is well after a fault; else the cluster does not come back by itself."""


class Faults(Changes, BrokerFaults):
    """Does one fault after the other, each until it is over, and counts them by kind."""

    def __init__(self, options, nodes, acks, links, brokers, tables, note):
        self.chance, self.nodes, self.acks = random.Random(f"faults {options.seed}"), nodes, acks
        self.hold_s_max, self.links, self.brokers = options.hold_s_max, links, brokers
        self.tables, self.note, self.troubles = tables, note, []
        self.counts, self.pauses_s = collections.Counter(), collections.defaultdict(float)
        kinds = self.kinds_of_all()
        if tables:
            kinds = self.kinds_of_changes() + ([] if options.changes == "only" else kinds)
        self.kinds = [kind for kind in kinds if not options.only or kind.__name__ in options.only]
        names = {kind.__name__ for kind in kinds}
        assert set(options.only) <= names, f"there are these faults here: {', '.join(sorted(names))}"

    def kinds_of_all(self):
        """Faults after which nothing is gone for good; those of which there are more stand here more often."""
        nodes = self.nodes
        kinds = [self.kill_one, self.kill_leader, self.kill_leader, self.kill_two, self.kill_all, self.kill_again]
        kinds += [self.freeze_one, self.freeze_leader, self.freeze_leader, self.stop_one]
        if self.links:
            kinds += [self.cut_pair, self.isolate, self.one_way, self.deaf, self.slow, self.lose, self.reset]
            kinds += [self.kill_while_slow, self.freeze_while_cut]
        if all(hasattr(node.disk, "fill") for node in nodes):
            kinds += [self.fill_one, self.fill_all, self.power_one, self.power_one, self.power_all]
        if all(node.orders for node in nodes):
            kinds += [self.slow_syncs, self.stalled_syncs, self.failed_syncs, self.failed_writes, self.short_writes, self.clock_jump]
        return [*kinds, self.overload, *self.kinds_of_brokers()]

    def next(self):
        """One fault, from its beginning until all is as before but for what the nodes have to make good."""
        if self.chance.random() < 0.7:
            self.until_calm()
        time.sleep(self.chance.uniform(0, 1))
        kind = self.chance.choice(self.kinds)
        name = kind.__name__.replace("_", " ")
        pause_s = self.acks.longest_since_asked_s()
        self.pauses_s["none"] = max(self.pauses_s["none"], pause_s)
        began = time.monotonic()
        try:
            is_left_out = kind() is False
        except AssertionError as error:
            self.tell_trouble(f"{name}: {error}")
            self.as_before()
            is_left_out = False
        if is_left_out:
            self.note(json.dumps({"left out": name}))
            return
        self.until_acked()
        self.counts[name] += 1
        pause_s = self.acks.longest_since_asked_s()
        self.pauses_s[name] = max(self.pauses_s[name], pause_s)
        self.note(json.dumps({"fault": name, "s": round(time.monotonic() - began, 2), "pause_s": round(pause_s, 2)}))

    # -- waiting ------------------------------------------------------------------------------

    def until_acked(self):
        """Somebody's write is acknowledged."""
        goal = self.acks.count + 5
        wait_for(lambda: self.acks.count >= goal, "rows to be acknowledged after a fault", CALM_S)

    def until_calm(self):
        """All nodes are there and see each other, and every tablet has its leader and its replicas."""
        for node in self.nodes:
            try:
                until_calm(node, len(self.nodes))
            except AssertionError as error:
                self.tell_trouble(str(error))
                return

    def tell_trouble(self, text):
        """It is told in the end; what comes after it is tried all the same."""
        self.troubles.append(text)
        self.note(json.dumps({"trouble": text}))

    def as_before(self):
        """Ends what a fault has left half done."""
        for node in self.nodes:
            if node.orders:
                node.orders.give()
            if hasattr(node.disk, "free"):
                node.disk.free()
            if node.process.poll() is None:
                node.process.send_signal(signal.SIGCONT)
            else:
                node.start(wait=False)
        if self.links:
            self.links.open_all()

    def is_calm_now(self):
        return all(is_calm(node, len(self.nodes)) for node in self.nodes)

    def hold(self, least_s=0.1):
        time.sleep(self.chance.uniform(least_s, self.hold_s_max))

    # -- who ----------------------------------------------------------------------------------

    def one(self):
        return self.chance.choice(self.nodes)

    def two(self):
        return self.chance.sample(self.nodes, 2)

    def leader(self):
        """Who leads most; anybody where nobody says."""
        for node in self.chance.sample(self.nodes, len(self.nodes)):
            try:
                led = {one["id"]: one["leaders"] for one in node.cluster()["nodes"]}
                return max(self.nodes, key=lambda one: led.get(one.id, 0))
            except (requests.RequestException, KeyError, ValueError):
                continue
        return self.one()

    # -- processes ----------------------------------------------------------------------------

    def kill(self, victims):
        for node in victims:
            node.kill()
        self.hold(0)
        for node in self.chance.sample(victims, len(victims)):
            node.start(wait=False)

    def kill_one(self):
        self.kill([self.one()])

    def kill_leader(self):
        self.kill([self.leader()])

    def kill_two(self):
        """Of three nodes, two are a majority; of five they are not."""
        self.kill(self.two())

    def kill_all(self):
        self.kill(self.nodes)

    def kill_again(self):
        """A second one soon after the first is back, the same or another one."""
        victim = self.leader()
        self.kill([victim])
        wait_for(victim.healthy, "the node to be back", CALM_S)
        self.hold(0)
        self.kill([self.chance.choice([victim, self.leader()])])

    def stop_one(self):
        node = self.one()
        assert node.stop() == 0, f"{node.url} did not stop well"
        self.hold(0)
        node.start(wait=False)

    def freeze(self, node):
        node.process.send_signal(signal.SIGSTOP)
        for_s = self.chance.choice([0.3, 1, 3, 10])
        time.sleep(min(for_s, self.hold_s_max))
        node.process.send_signal(signal.SIGCONT)

    def freeze_one(self):
        self.freeze(self.one())

    def freeze_leader(self):
        self.freeze(self.leader())

    # -- links --------------------------------------------------------------------------------

    def links_for_a_while(self, rule, ways, *arguments, meanwhile=None):
        rule([(one.number, other.number) for one, other in ways], *arguments)
        (meanwhile or self.hold)()
        self.links.open_all()

    def between(self, one, others):
        return [way for other in others if other is not one for way in ((one, other), (other, one))]

    def cut_pair(self, meanwhile=None):
        one, other = self.two()
        self.links_for_a_while(self.links.shut, self.between(one, [other]), meanwhile=meanwhile)

    def isolate(self):
        self.links_for_a_while(self.links.shut, self.between(self.one(), self.nodes))

    def one_way(self):
        self.links_for_a_while(self.links.shut, [tuple(self.two())])

    def deaf(self):
        """One hears nobody, and all hear it."""
        one = self.one()
        self.links_for_a_while(self.links.shut, [(other, one) for other in self.nodes if other is not one])

    def slow(self, meanwhile=None):
        ways = self.between(self.one(), self.nodes)
        self.links_for_a_while(self.links.slow, ways, self.chance.choice([20, 100, 300]), meanwhile=meanwhile)

    def lose(self):
        one, other = self.two()
        self.links_for_a_while(self.links.lose, self.between(one, [other]))

    def reset(self):
        self.links.reset([(one.number, other.number) for one, other in self.between(self.one(), self.nodes)])

    def kill_while_slow(self):
        self.slow(meanwhile=self.kill_one)

    def freeze_while_cut(self):
        self.cut_pair(meanwhile=self.freeze_one)

    # -- disks --------------------------------------------------------------------------------

    def fill(self, nodes):
        for node in nodes:
            node.disk.fill()
        self.hold(1)
        for node in nodes:
            node.disk.free()

    def fill_one(self):
        self.fill([self.one()])

    def fill_all(self):
        self.fill(self.nodes)

    def power(self, nodes):
        for node in nodes:
            node.disk.cut_power()
            node.kill()
            if node.orders:
                node.orders.give()
        for node in nodes:
            node.disk.power_again()
        self.hold(0)
        for node in nodes:
            node.start(wait=False)

    def power_one(self):
        self.power([self.one()])

    def power_all(self):
        self.power(self.nodes)

    # -- orders -------------------------------------------------------------------------------

    def ordered(self, node, **orders):
        node.orders.give(**orders)
        self.hold(1)
        node.orders.give()

    def slow_syncs(self):
        self.ordered(self.one(), sync_ms=self.chance.choice([20, 100, 500]))

    def stalled_syncs(self):
        self.ordered(self.leader(), sync_ms=3_000)

    def failed(self, **orders):
        """A node whose disk gives errors acknowledges nothing more, and is started anew once that is over."""
        node = self.chance.choice([self.one(), self.leader()])
        before = node.orders.done()
        node.orders.give(**orders)
        wait_for(lambda: node.orders.done() > before, "an error of a disk", CALM_S)
        self.hold(0)
        node.kill()
        node.orders.give()
        node.start(wait=False)

    def failed_syncs(self):
        self.failed(syncs_fail=1)

    def failed_writes(self):
        self.failed(writes_fail=1)

    def short_writes(self):
        self.ordered(self.one(), writes_are_short=1)

    def clock_jump(self):
        """Ahead or back, and then as it was."""
        self.ordered(self.one(), clock_s=self.chance.choice([-3_600, -60, 60, 3_600]))

    # -- load ---------------------------------------------------------------------------------

    def overload(self):
        """Many write to one node at once, a table of their own, and may be refused."""
        node, over = self.one(), threading.Event()
        rows = "\n".join(f"{BURST_TABLE},w=w{at % 50} v={at}i {1_700_000_000 + at}" for at in range(2_000))

        def burst():
            while not over.is_set():
                try:
                    requests.post(f"{node.url}/write?precision=s", data=rows, timeout=60)
                except requests.RequestException:
                    over.wait(0.1)

        threads = [threading.Thread(target=burst) for _ in range(BURST)]
        for thread in threads:
            thread.start()
        self.hold(1)
        over.set()
        for thread in threads:
            thread.join()


def until_calm(node, count):
    """Waits until a node sees all well; says what it sees where that never comes."""
    try:
        wait_for(lambda: is_calm(node, count), f"{node.url} to see all well", CALM_S)
    except AssertionError as error:
        raise AssertionError(f"{error}: {node.cluster()}") from error


def is_calm(node, count):
    if not node.is_healthy():
        return False
    seen = node.cluster()
    tablets = seen["tablets"]
    return (
        sum(one["state"] == "up" for one in seen["nodes"]) == count
        and seen["catalog"]["leader"]
        and tablets["healthy"] == tablets["total"] > 0
        and not seen["moves"]
    )
