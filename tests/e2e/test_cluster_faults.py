"""A cluster of three under load, whose nodes are killed and frozen: judged by a ledger outside of them."""

import random
import signal
import threading
import time

import pytest
import requests
from conftest import wait_for
from test_cluster import members, until_together  # noqa: F401  fixture

ROWS = 20
SERIES = 8
# For so long a question waits for a leader.
LEADER_WAIT_S = 2


class Ledger(threading.Thread):
    """Writes values of its own series to whichever node answers, each series from one value to the next, and keeps
    what was acked and of what nobody knows: a node that was frozen may do it after it has been asked for something
    newer elsewhere."""

    def __init__(self, name, nodes):
        super().__init__(daemon=True)
        self.name, self.nodes, self.ending = name, nodes, threading.Event()
        self.acked, self.unknown, self.acks = {}, {}, 0
        self.chance = random.Random(name)

    def run(self):
        value = 0
        while not self.ending.is_set():
            value += 1
            key = (self.chance.randrange(SERIES), self.chance.randrange(50))
            lines = "\n".join(
                f"led,w={self.name},s={key[0]} v={value}i {1_700_000_000 + key[1] * 100_000 + at}" for at in range(ROWS)
            )
            # Whether it comes to anything is not known before there is an answer.
            self.unknown.setdefault(key, set()).add(value)
            node = self.chance.choice(self.nodes)
            try:
                answer = requests.post(f"{node.url}/write?precision=s", data=lines, timeout=1)
            except requests.RequestException:
                continue
            assert answer.status_code in (204, 503), answer.text
            if answer.status_code == 204:
                self.unknown[key].remove(value)
                self.acked[key] = value
                self.acks += 1

    def judge(self, node):
        answer = node.sql(
            "SELECT s, (CAST(to_unixtime(time) AS BIGINT) - 1700000000) / 100000 AS k, min(v) AS low, max(v) AS high, "
            f"count(*) AS n FROM led WHERE w = '{self.name}' GROUP BY s, k"
        )
        seen = {(int(row["s"]), row["k"]): row for row in answer}
        for key, value in self.acked.items():
            assert seen[key]["n"] == ROWS, f"{self.name} {key}: {seen[key]} lacks rows"
        for key, row in seen.items():
            may_be = self.unknown[key] | {self.acked.get(key)}
            assert {row["low"], row["high"]} <= may_be, f"{self.name} {key}: {row}, acked {self.acked.get(key)}"


class Asker(threading.Thread):
    """Asks those nodes that are to answer, one question after the other. One that is refused was not given up before its time."""

    def __init__(self, nodes):
        super().__init__(daemon=True)
        self.nodes, self.ending = list(nodes), threading.Event()
        self.answered, self.refused_soon = 0, []

    def run(self):
        while not self.ending.is_set():
            node = random.choice(self.nodes)
            began = time.monotonic()
            try:
                answer = node.query(table="led", select="count(*)")
            except requests.RequestException:
                # Asked before it was ended.
                continue
            if answer.status_code == 200:
                self.answered += 1
            elif time.monotonic() - began < LEADER_WAIT_S:
                self.refused_soon.append(f"{answer.status_code}: {answer.text}")


def leading_most(nodes):
    seen = {node["id"]: node["leaders"] for node in nodes[0].cluster()["nodes"]}
    return max(nodes, key=lambda node: seen.get(node.cluster()["self"], 0))


@pytest.mark.parametrize("fault", ["kill", "freeze"])
def test_nothing_acked_is_lost_while_leaders_go(members, fault):
    first = members(1).start()
    nodes = [first] + [members(number, [first.address]).start() for number in (2, 3)]
    until_together(nodes)
    writers = [Ledger(f"w{at}", nodes) for at in range(3)]
    for writer in writers:
        writer.start()

    def more(count):
        goal = sum(writer.acks for writer in writers) + count
        wait_for(lambda: sum(writer.acks for writer in writers) >= goal, f"{count} more acks", 60)

    more(50)
    asker = Asker(nodes)
    asker.start()
    for _ in range(4):
        victim = leading_most(nodes)
        asker.nodes = [node for node in nodes if node is not victim]
        answered = asker.answered
        if fault == "kill":
            victim.kill()
            more(30)
            victim.start()
        else:
            victim.process.send_signal(signal.SIGSTOP)
            more(30)
            victim.process.send_signal(signal.SIGCONT)
        until_together(nodes)
        more(30)
        wait_for(lambda: asker.answered > answered, "a question to be answered")
    for thread in [*writers, asker]:
        thread.ending.set()
    for thread in [*writers, asker]:
        thread.join(30)
    assert not asker.refused_soon, asker.refused_soon
    for node in nodes:
        for writer in writers:
            writer.judge(node)
    for node in nodes:
        assert node.stop() == 0
