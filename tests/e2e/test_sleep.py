"""Replicas that nobody asks anything sleep, and wake for whoever does: real processes."""

import re

import requests
from cluster import all_well, put_table, replicas_of
from conftest import wait_for
from test_cluster import members, until_together  # noqa: F401  fixture

TABLES = 6


def figure(member, name):
    found = re.search(rf"^{name} (\d+)$", requests.get(f"{member.url}/metrics", timeout=10).text, re.MULTILINE)
    return int(found[1])


def until_asleep(nodes):
    for node in nodes:
        wait_for(
            lambda node=node: (figure(node, "oribi_sleeping_replicas"), figure(node, "oribi_running_replicas")) == (TABLES, 0),
            f"all replicas of {node.url} to sleep",
        )


def leaders(member):
    tablets = requests.get(f"{member.url}/api/v1/tablets", timeout=10).json()["tablets"]
    return {tablet["table"]: tablet["leader"] for tablet in tablets}


def write_all(node, value):
    lines = "\n".join(f"t{number},d=a v={value}i {1_700_000_000 + value}" for number in range(TABLES))
    answer = node.write(lines, precision="s")
    assert answer.status_code == 204, answer.text


def test_what_sleeps_is_there_at_once_even_without_its_leader(members):  # noqa: F811
    nodes = [members("a")]
    nodes += [members(name, join=[nodes[0].address]) for name in "bc"]
    for node in nodes:
        node.config.write_text(node.config.read_text() + "sleep_after_s = 1\n")
        node.start()
    until_together(nodes)
    for number in range(TABLES):
        put_table(nodes[0], f"t{number}", tags=["d"], replication=3)
    write_all(nodes[1], 1)
    until_asleep(nodes)

    # A question, and a write, at nodes that need not lead anything.
    assert all(nodes[2].count(f"t{number}") == 1 for number in range(TABLES))
    write_all(nodes[2], 2)
    until_asleep(nodes)

    led = leaders(nodes[1])
    assert None not in led.values(), led
    of = {node.cluster()["self"]: node for node in nodes}
    dead = of[led["t0"]]
    dead.kill()
    alive = [node for node in nodes if node is not dead]
    write_all(alive[0], 3)
    assert all(alive[1].count(f"t{number}") == 3 for number in range(TABLES))

    dead.start()
    for number in range(TABLES):
        wait_for(lambda number=number: all_well(dead, f"t{number}", 3), f"t{number} to be well")
    until_asleep(nodes)
    applied = {
        table: {one["applied"] for of in replicas_of(alive[0], table).values() for one in of} for table in led
    }
    assert all(len(indexes) == 1 for indexes in applied.values()), f"somebody lacks something: {applied}"
    assert all(dead.count(f"t{number}") == 3 for number in range(TABLES))
