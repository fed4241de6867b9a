"""Three processes that are one cluster: how they come together, come apart and find each other again."""

import http.server
import json
import signal
import subprocess
import threading

import pytest
import requests
from cluster import Member, leader_of, put_table, tables_begun_by_one_that_stands_still, until_together
from conftest import BINARY, wait_for
from parts import mosquitto  # noqa: F401  fixture


@pytest.fixture
def members(tmp_path):
    """Makes nodes by number, and ends whatever still runs."""
    made = []

    def make(number, join=()):
        made.append(Member(tmp_path / str(number), join))
        return made[-1]

    yield make
    for member in made:
        if member.process is not None and member.process.poll() is None:
            member.kill()


def test_nodes_join_in_any_order_and_all_know_what_one_was_told(members):
    first = members(1)
    others = [members(number, [first.address]) for number in (2, 3)]
    # Those that join are there before the one that they join.
    for other in others:
        other.start(wait=False)
    for other in others:
        waits = wait_for(lambda other=other: waiting_for(other), "a node to say what it waits for")
        assert first.address in waits
    first.start()
    everybody = [first, *others]
    for other in others:
        wait_for(other.healthy, "the node to be healthy")
    until_together(everybody)
    assert len({member.cluster()["cluster_id"] for member in everybody}) == 1
    assert sorted(member.cluster()["self"] for member in everybody) == [1, 2, 3]
    for node in first.cluster()["nodes"]:
        at = next(member for member in everybody if member.address == node["node"])
        assert node["http"] == at.url.removeprefix("http://")

    put_table(leader_of(everybody), "m", tags=["host"], replication=3)
    for member in everybody:
        wait_for(lambda member=member: "m" in member.tables(), "the table to be known")
        assert member.tables()["m"]["replication"] == 3
        answer = member.query(table="m", select="count(*)").json()
        assert answer["stats"]["served_by"] == member.cluster()["self"]
    shown = subprocess.run(
        [BINARY, "cluster", "--url", others[0].url, "nodes"], capture_output=True, text=True, check=True
    )
    assert all(member.address in shown.stdout for member in everybody), shown.stdout
    for member in everybody:
        member.stop()


def waiting_for(member):
    try:
        answer = requests.get(f"{member.url}/health", timeout=10)
    except requests.ConnectionError:
        return None
    message = answer.json()["message"]
    return message if answer.status_code == 503 and "waiting for a cluster" in message else None


def test_any_node_may_be_killed_and_comes_back(members):
    first = members(1).start()
    everybody = [first, *(members(number, [first.address]).start() for number in (2, 3))]
    until_together(everybody)
    for number, member in enumerate(everybody):
        member.kill()
        rest = [other for other in everybody if other is not member]
        put_table(leader_of(rest), f"t{number}")
        # Where it comes back is another place than the catalog says; somebody is where it was.
        if number > 0:
            member.move()
        member.start()
        until_together(everybody)
        wait_for(lambda member=member, number=number: f"t{number}" in member.tables(), "the table")
    for member in everybody:
        member.stop()
        member.start(wait=False)
    until_healthy_together(everybody)
    for member in everybody:
        member.stop()


def until_healthy_together(members):
    for member in members:
        wait_for(member.healthy, "the node to be healthy", 60)
    until_together(members)


def test_a_table_of_a_node_that_lived_alone_gets_copies(members):
    first = members(1).start()
    lines = "\n".join(f"m,host=a v={at} {1_700_000_000 + at}" for at in range(100))
    url = f"{first.url}/api/v2/write?bucket=default&precision=s"
    assert requests.post(url, data=lines, timeout=60).status_code == 204
    others = [members(number, [first.address]).start() for number in (2, 3)]
    until_together([first, *others])

    def copied():
        tablets = requests.get(f"{first.url}/api/v1/tablets?table=m", timeout=10).json()["tablets"]
        replicas = [tablet["replicas"] for tablet in tablets]
        return replicas and all(
            len(of) == 3 and all(one["role"] == "voter" and one["state"] == "ok" for one in of)
            for of in replicas
        )

    wait_for(copied, "each tablet to have three voters")
    counts = first.cluster()["tablets"]
    assert counts["healthy"] == counts["total"] > 0
    for other in others:
        rows = f"{other.url}/api/v1/tables"
        wait_for(
            lambda rows=rows: [t["rows"] for t in requests.get(rows, timeout=10).json()["tables"]] == [100],
            "all rows at another node",
        )
    for member in [first, *others]:
        member.stop()


def test_a_stale_question_is_answered_near_by_and_says_how_old_that_is(members):
    first = members(1).start()
    everybody = [first, *(members(number, [first.address]).start() for number in (2, 3))]
    until_together(everybody)
    lines = "\n".join(f"m,host=a v={at} {1_700_000_000 + at}" for at in range(100))
    url = f"{first.url}/api/v2/write?bucket=default&precision=s"
    assert requests.post(url, data=lines, timeout=60).status_code == 204
    last = everybody[-1]
    asked = {"table": "m", "select": "count(*)"}

    def near(member, bound):
        return member.query(**asked, consistency="stale", staleness_max=bound)

    def counts(member):
        answer = near(member, "10s")
        return answer.status_code == 200 and answer.json()["rows"][0][-1] == 100 and answer.json()["stats"]

    stats = wait_for(lambda: counts(last), "a stale answer")
    assert 0 <= stats["staleness_ms"] <= 10_000 and stats["nodes"] >= 1 and stats["tablets"] == 1
    stats = last.query(**asked).json()["stats"]
    assert "staleness_ms" not in stats and stats["nodes"] >= 1 and stats["tablets"] == 1
    sql = {"q": "SELECT count(*) FROM m", "consistency": "stale"}
    stats = requests.get(f"{last.url}/api/v1/sql", params=sql, timeout=60).json()["stats"]
    assert stats["staleness_ms"] <= 10_000
    # All that any node says of its replicas shows at each.
    for member in everybody:

        def told(member=member):
            tablets = requests.get(f"{member.url}/api/v1/tablets?table=m", timeout=10).json()["tablets"]
            of = [replica for tablet in tablets for replica in tablet["replicas"]]
            return len(of) == 3 and all(one["lag"] == 0 and one["applied"] is not None for one in of)

        wait_for(told, "what all replicas have applied")
        assert all(node["disk_free_bytes"] > 0 for node in member.cluster()["nodes"])
    # Without the others nothing is current, and what is near may still be read.
    for member in everybody[:2]:
        member.kill()
    answer = near(last, "1h")
    assert answer.status_code == 200 and answer.json()["rows"][0][-1] == 100
    answer = near(last, "0s")
    assert answer.status_code == 503 and answer.json()["type"] == "/problems/too-stale", answer.text
    assert "staleness_max is 0 ms" in answer.json()["detail"]
    assert last.query(**asked).status_code == 503

    def known():
        health = requests.get(f"{last.url}/health", timeout=10)
        names = {check["name"] for check in health.json()["checks"]}
        return health.status_code == 200 and {"node 1", "node 2", "catalog", "tablets, leaders", "tablets, replicas"} <= names

    wait_for(known, "the node to say what it knows of the others")
    last.kill()


def refusal(member):
    """What a node says that ends by itself."""
    member.start(wait=False)
    assert member.process.wait(60) != 0
    return member.log.read_text()


def test_whom_nobody_can_join_is_named(members):
    class Stranger(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Stranger) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{server.server_port}"
        said = refusal(members(1, [address]))
        server.shutdown()
    assert address in said and "no node of Oribi" in said, said

    own_http = members(2).start()
    said = refusal(members(3, [f"127.0.0.1:{own_http.http_port}"]))
    assert "no node of Oribi" in said, said

    itself = members(4)
    itself.config.write_text(f'[cluster]\njoin = "{itself.address}"\n')
    said = refusal(itself)
    assert itself.address in said and "this node itself" in said, said


def test_a_directory_of_another_cluster_is_refused_with_both_ids(members):
    one, other = members(1).start(), members(2).start()
    ids = [member.cluster()["cluster_id"] for member in (one, other)]
    other.stop()
    other.config.write_text(f'[cluster]\njoin = "{one.address}"\n')
    said = refusal(other)
    assert all(cluster in said for cluster in ids), said


def test_a_connector_runs_on_one_node_and_on_another_when_that_dies(members, mosquitto):
    broker = mosquitto().start()
    first = members(1).start()
    nodes = [first] + [members(number, [first.address]).start() for number in (2, 3)]
    until_together(nodes)
    spec = {
        "name": "plant",
        "kind": "mqtt",
        "url": f"mqtt://127.0.0.1:{broker.port}",
        "routes": [{"topics": ["dev/+"], "pattern": "dev/{device}", "decoder": "json", "table": "sensors", "time": "$.ts"}],
    }
    made = requests.post(f"{nodes[1].url}/api/v1/connectors", json=spec, timeout=10)
    assert made.status_code < 300, made.text

    def states():
        answers = [requests.get(f"{node.url}/api/v1/connectors/plant", timeout=10) for node in nodes]
        return [answer.json().get("state") for answer in answers]

    def runner():
        said = states()
        return nodes[said.index("running")] if sorted(said) == ["elsewhere"] * (len(said) - 1) + ["running"] else None

    def send(numbers):
        broker.send([(f"dev/d{at % 5}", json.dumps({"ts": 1_700_000_000_000 + at, "v": at})) for at in numbers])

    runs = wait_for(runner, "one node to run the connector")
    send(range(100))
    wait_for(lambda: runs.count("sensors") == 100, "the rows of the first node")
    nodes.remove(runs)
    runs.kill()
    wait_for(runner, "another node to run the connector")
    send(range(100, 200))
    for node in nodes:
        wait_for(lambda node=node: node.count("sensors") == 200, "the rows of both nodes")
    # The one that comes back leaves it where it is.
    nodes.append(runs.start())
    wait_for(runner, "one node to run the connector still")
    assert runner() is not runs


def test_a_tablet_whose_founder_dies_before_it_begins_is_told_of_and_begins_with_it(members):
    first = members(1).start()
    everybody = [first, *(members(number, [first.address]).start() for number in (2, 3))]
    until_together(everybody)
    leader = leader_of(everybody)
    founder = next(member for member in everybody if member is not leader)
    number = founder.cluster()["self"]

    tables, rows = tables_begun_by_one_that_stands_still(leader, founder)
    founder.kill()
    wait_for(lambda: number not in leader.nodes_up(), "the death to be noticed")
    refused = leader.write(rows)
    assert refused.status_code == 503, refused.text
    assert f"node {number}, which is to begin it, is not heard of" in refused.json()["message"], refused.text
    assert refused.json()["rows_unknown"] == 0 < refused.json()["rows_not_stored"], refused.text
    checks = requests.get(f"{leader.url}/health", timeout=10).json()["checks"]
    assert any("have no leader" in check["message"] for check in checks), checks

    founder.start()
    wait_for(lambda: leader.write(rows).status_code == 204, "all tables to take rows")
    for member in everybody:
        assert sum(member.count(table) for table in tables) == 12
