"""The node that made a cluster never comes back: whom the others wait for, and how they go on without it."""

import shutil
import subprocess

import pytest
import requests
from cluster import Member, leader_of, tables_begun_by_one_that_stands_still, until_together
from conftest import BINARY, wait_for

AWAITED = "the catalog of cluster"


@pytest.fixture
def members(tmp_path):
    """Makes nodes by name, and ends whatever still runs."""
    made = []

    def make(name, join=()):
        made.append(Member(tmp_path / str(name), join))
        return made[-1]

    yield make
    for member in made:
        member.close()


def health(member):
    try:
        answer = requests.get(f"{member.url}/health", timeout=10)
    except requests.ConnectionError:
        return None, ""
    return answer.status_code, answer.json()["message"]


def waits_for(member, words):
    status, message = health(member)
    return message if status == 503 and words in message else None


def oribi(*words):
    return subprocess.run([BINARY, *map(str, words)], capture_output=True, text=True, timeout=120)


def loses_its_disk(member):
    member.kill()
    shutil.rmtree(member.data_dir)


def taken_in_by_one_that_dies(members):
    """A node that was given an id and nothing else, one that waits for it, and who gave the id."""
    for attempt in range(10):
        founder = members(f"{attempt}-founder").start()
        first = members(f"{attempt}-first", [founder.address]).start(wait=False)
        second = members(f"{attempt}-second", [first.address]).start(wait=False)
        wait_for((first.data_dir / "ORIBI").exists, "the first node to be given an id")
        loses_its_disk(founder)
        wait_for(lambda: health(first)[0] == 200 or waits_for(first, AWAITED), "the node to be open")
        if waits_for(first, AWAITED):
            return founder, first, second
        # It was faster than the death of the other one.
        first.kill()
        second.kill()
    pytest.fail("each of the nodes that died had sent its catalog before")


def test_a_node_says_which_catalog_it_waits_for_and_goes_on_without_its_cluster(members):
    founder, first, second = taken_in_by_one_that_dies(members)
    cluster = first.cluster()["cluster_id"]
    message = waits_for(first, f"{AWAITED} {cluster} from {founder.address}")
    assert message and " s so far" in message, health(first)
    wait_for(lambda: "waiting for the catalog" in first.log.read_text(), "the log to say so")
    shown = oribi("status", "--url", first.url)
    assert shown.returncode == 1 and AWAITED in shown.stdout, shown
    # Who waits for it is told for whom.
    wait_for(lambda: waits_for(second, f"it waits itself for {AWAITED} {cluster} from {founder.address}"), "the chain")
    refused = first.write("m v=1")
    assert refused.status_code == 503 and refused.json()["outcome"] == "not_stored", refused.text

    # The same machine with another disk is another cluster: neither takes the other for its own.
    founder.start()
    assert founder.cluster()["cluster_id"] != cluster
    assert founder.write("m v=1 1700000000000000000").status_code == 204
    assert waits_for(first, f"{AWAITED} {cluster}") and health(second)[0] == 503
    first.stop()
    first.start(wait=False)
    code, said = first.ended()
    assert code != 0 and cluster in said and founder.cluster()["cluster_id"] in said, said

    recover = ["cluster", "recover", first.data_dir]
    assert oribi(*recover).returncode != 0, "a loss has to be accepted"
    done = oribi(*recover, "--accept-loss")
    assert done.returncode == 0 and "LOST: all that was in the old one" in done.stdout, done
    first.config.write_text("")
    first.start()
    wait_for(second.healthy, "the node that waited to join")
    third = members("third", [second.address]).start()
    until_together([first, second, third])
    assert {node.cluster()["cluster_id"] for node in (first, second, third)} != {cluster}
    assert second.write("m v=2 1700000000000000000").status_code == 204
    assert third.sql("SELECT sum(v) AS v FROM m") == [{"v": 2}]
    # An empty directory is the other way out.
    founder.kill()
    for node in (first, second):
        node.stop()


def test_a_fresh_start_gets_on_where_nobody_has_a_cluster(members):
    never = members("never")
    first = members("first", [never.address]).start(wait=False)
    second = members("second", [first.address]).start(wait=False)
    assert wait_for(lambda: waits_for(first, f"({never.address}: "), "the node to say for whom it waits")
    wait_for(lambda: waits_for(second, f"({first.address}: it waits for a cluster itself"), "the chain")
    first.stop()
    first.config.write_text("")
    # It was told to join, and is not to be taken for another by mistake.
    first.start(wait=False)
    code, said = first.ended()
    assert code != 0 and "remove its file JOIN" in said, said
    (first.data_dir / "JOIN").unlink()
    first.start()
    wait_for(second.healthy, "the node that waited to join")
    assert second.cluster()["cluster_id"] == first.cluster()["cluster_id"]

    # One that was given an id and nothing else, too: its directory holds nothing.
    founder, one, other = taken_in_by_one_that_dies(members)
    one.kill()
    shutil.rmtree(one.data_dir)
    one.config.write_text(f'[cluster]\njoin = ["{first.address}"]\n')
    one.start()
    wait_for(other.healthy, "the node that waited to join")
    until_together([first, second, one, other])


def test_the_only_voter_dies_and_the_node_beside_it_begins_anew(members):
    founder = members("founder").start()
    assert founder.write("m v=1 1700000000000000000").status_code == 204
    first = members("first", [founder.address]).start()
    until_together([founder, first])
    wait_for(lambda: "m" in first.tables(), "the catalog to be there")
    cluster = first.cluster()["cluster_id"]
    loses_its_disk(founder)

    def checks():
        answer = requests.get(f"{first.url}/health", timeout=10).json()["checks"]
        return {check["name"]: check["message"] for check in answer}

    found = wait_for(lambda: checks() if {"catalog", "node 1"} <= checks().keys() else None, "the death to be told")
    assert "no leader" in found["catalog"], found
    second = members("second", [first.address]).start(wait=False)
    wait_for(lambda: waits_for(second, f"({first.address}: "), "the node to say for whom it waits")
    first.kill()
    done = oribi("cluster", "recover", first.data_dir, "--accept-loss")
    assert done.returncode == 0 and "LOST: tablet" in done.stdout, done
    first.config.write_text("")
    first.start()
    assert first.cluster()["cluster_id"] != cluster
    wait_for(second.healthy, "the node that waited to join")
    assert second.write("m v=3 1700000000000000000").status_code == 204
    assert first.sql("SELECT sum(v) AS v FROM m") == [{"v": 3}]


def test_tablets_that_a_dead_node_was_to_begin_are_made_anew_once_it_is_removed(members):
    first = members("first").start()
    everybody = [first, *(members(name, [first.address]).start() for name in ("second", "third"))]
    until_together(everybody)
    assert first.write("old,h=a v=1i 1700000000000000000").status_code == 204
    leader = leader_of(everybody)
    founder = next(member for member in everybody if member is not leader)
    number = founder.cluster()["self"]
    tables, rows = tables_begun_by_one_that_stands_still(leader, founder)
    loses_its_disk(founder)
    wait_for(lambda: number not in leader.nodes_up(), "the death to be noticed")
    refused = leader.write(rows)
    assert refused.status_code == 503 and "which is to begin it" in refused.json()["message"], refused.text
    # What others have stands in the way of no removal either.
    members("fourth", [leader.address]).start()
    left = [member for member in everybody if member is not founder]
    wait_for(lambda: len(leader.nodes_up()) == 3, "another node to take part")
    done = oribi("cluster", "--url", leader.url, "remove", number)
    assert done.returncode == 0, done
    wait_for(lambda: leader.write(rows).status_code == 204, "all tables to take rows")
    for member in left:
        assert sum(member.count(table) for table in tables) == 12
        assert member.count("old") == 1
