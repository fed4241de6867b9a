"""Files of one node of three are damaged: nothing of that is ever answered, and the others mend it by themselves."""

import re

import pytest
import requests
from cluster import all_well, put_table, until_together
from conftest import wait_for
from test_members import TABLE, Load, members  # noqa: F401  fixture

MENDED_S = 30
SCRUB = "\n[storage]\nscrub_pause_s = 1\n"


def flip(path, at=None):
    content = bytearray(path.read_bytes())
    content[len(content) // 3 if at is None else at] ^= 0x20
    path.write_bytes(content)


def segments(node):
    return sorted(node.data_dir.glob("tablets/*/*.seg"))


def manifests(node):
    return sorted(node.data_dir.glob("tablets/*/MANIFEST"))


def compact(nodes):
    for node in nodes:
        assert requests.post(f"{node.url}/api/v1/compact", timeout=60).status_code < 300


def flip_segments(node, _):
    for path in segments(node):
        flip(path)


def truncate_segment(node, _):
    path = segments(node)[0]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def swap_segments(node, _):
    one, other = segments(node)[:2]
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def lose_segment(node, _):
    segments(node)[-1].unlink()


def stale_manifest(node, before):
    for path in manifests(node):
        path.write_bytes(before[path])


def damage_manifest(node, _):
    flip(manifests(node)[0])


DAMAGES = [flip_segments, truncate_segment, swap_segments, lose_segment, stale_manifest, damage_manifest]


@pytest.fixture
def three(members):
    nodes = []
    for number in (1, 2, 3):
        node = members(number, [nodes[0].address] if nodes else [])
        node.config.write_text(node.config.read_text() + SCRUB)
        nodes.append(node.start())
    until_together(nodes)
    put_table(nodes[0], TABLE, tags=["host"], range="1d")
    return nodes


def settled(nodes):
    wait_for(lambda: all(all_well(node, TABLE, 3) for node in nodes), "three replicas of each tablet", 90)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_what_is_damaged_while_a_node_is_down_is_mended(three, damage):
    load = Load(three)
    try:
        load.more(100)
        settled(three)
        compact(three)
        victim = three[1]
        before = {path: path.read_bytes() for path in manifests(victim)}
        load.more(100)
        compact(three)
        load.nodes.remove(victim)
        assert victim.stop() == 0
        load.more()
        damage(victim, before)
        victim.start()
        until_together(three)
        # A manifest of before may say less, and then the log has the rest.
        if damage is not stale_manifest:
            wait_for(lambda: aside(victim), "what is damaged to be set aside", MENDED_S)
        wait_for(lambda: all_well(three[0], TABLE, 3) and is_whole(victim), "the node to be mended", MENDED_S)
        load.nodes.append(victim)
        load.more()
    finally:
        load.end()
    for node in three:
        load.judge(node)
    # What it has now it has by itself.
    for node in three:
        if node is not victim:
            node.kill()
    wait_for(lambda: len(load.acked) <= (stale_count(victim) or 0) <= load.sent, "all rows near by", 30)


def aside(node):
    return list(node.data_dir.glob("tablets/*.damaged-*"))


def is_whole(node):
    checks = requests.get(f"{node.url}/health", timeout=10).json()["checks"]
    return not any(check["name"].startswith("tablet ") for check in checks)


def stale_count(node):
    answer = node.query(table=TABLE, select="count(*)", consistency="stale", staleness_max="1h")
    return answer.json()["rows"][0][-1] if answer.status_code == 200 else None


def test_what_is_damaged_under_a_node_that_runs_is_never_answered_and_mended(three):
    load = Load(three)
    try:
        load.more(100)
        settled(three)
        compact(three)
        victim = three[2]
        for path in segments(victim):
            flip(path)
        for _ in range(20):
            load.judge(victim)
        wait_for(lambda: aside(victim), "what is damaged to be set aside", MENDED_S)
        wait_for(lambda: all_well(three[0], TABLE, 3) and is_whole(victim), "the node to be mended", MENDED_S)
        load.more()
    finally:
        load.end()
    for node in three:
        load.judge(node)


@pytest.mark.parametrize("where", [0.3, 0.6], ids=["early", "late"])
def test_a_node_whose_log_is_damaged_begins_anew_and_loses_nothing(three, where):
    load = Load(three)
    try:
        load.more(100)
        settled(three)
        load.more(100)
        victim = three[1]
        was = victim.cluster()["self"]
        load.nodes.remove(victim)
        victim.kill()
        log = sorted(victim.data_dir.glob("log/*.log"))[0]
        written = len(log.read_bytes().rstrip(b"\0"))
        flip(log, int(written * where))
        victim.start()
        assert victim.cluster()["self"] != was
        assert list(victim.data_dir.glob("ORIBI.damaged-1/log/*.log"))

        def forgotten():
            return was not in {node["id"] for node in three[0].cluster()["nodes"]}

        wait_for(forgotten, "the node that it was to be forgotten", 60)
        wait_for(lambda: all_well(three[0], TABLE, 3), "three replicas of each tablet", MENDED_S)
        load.nodes.append(victim)
        load.more()
    finally:
        load.end()
    for node in three:
        load.judge(node)


def leader_of_tablets(nodes):
    """The node that leads a tablet of the table, as another one sees it."""
    answer = requests.get(f"{nodes[0].url}/api/v1/tablets?table={TABLE}", timeout=10).json()
    leader = answer["tablets"][0].get("leader")
    return next((node for node in nodes if node.cluster()["self"] == leader), None)


def asleep(node):
    text = requests.get(f"{node.url}/metrics", timeout=10).text
    return float(re.search(r"^oribi_sleeping_replicas (\S+)", text, re.MULTILINE).group(1))


def damage_while_down(victim):
    """The others still name it as their leader when it is back, and nobody asks them anything."""
    victim.kill()
    truncate_segment(victim, None)
    victim.start()


def damage_while_up(victim):
    """Whoever looks through its files finds it, and nobody asks it for anything either."""
    for path in segments(victim):
        flip(path)


@pytest.mark.parametrize("damage", [damage_while_down, damage_while_up], ids=lambda damage: damage.__name__)
def test_what_led_a_group_that_sleeps_and_is_damaged_is_mended(members, damage):
    nodes = []
    for number in (1, 2, 3):
        node = members(number, [nodes[0].address] if nodes else [])
        text = node.config.read_text().replace("[cluster]", "[cluster]\nsleep_after_s = 1")
        node.config.write_text(text + SCRUB)
        nodes.append(node.start())
    until_together(nodes)
    put_table(nodes[0], TABLE, tags=["host"])
    load = Load(nodes)
    try:
        load.more(100)
        settled(nodes)
    finally:
        load.end()
    compact(nodes)
    wait_for(lambda: all(asleep(node) for node in nodes), "the group to sleep")
    victim = wait_for(lambda: leader_of_tablets(nodes), "a leader of the tablet")
    damage(victim)
    wait_for(lambda: aside(victim), "what is damaged to be set aside", MENDED_S)
    wait_for(lambda: all_well(nodes[0], TABLE, 3) and is_whole(victim), "the node to be mended", MENDED_S)
    for node in nodes:
        load.judge(node)
