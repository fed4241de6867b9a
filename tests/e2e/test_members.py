"""Nodes that die for good, come back old, are emptied, forgotten and added, under load."""

import subprocess
import threading

import pytest
import requests
from cluster import Member, all_well, put_table, replicas_of, until_together
from conftest import BINARY, wait_for

TABLE = "m"
SOON = {"replace_after_s": 2}


@pytest.fixture
def members(tmp_path):
    """Makes nodes by number, and ends whatever still runs."""
    made = []

    def make(number, join=(), **cluster):
        member = Member(tmp_path / str(number), join)
        lines = "".join(f"{key} = {value}\n" for key, value in {**SOON, **cluster}.items())
        member.config.write_text(member.config.read_text() + lines)
        made.append(member)
        return member

    yield make
    for member in made:
        if member.process is not None and member.process.poll() is None:
            member.kill()


def together(members, count):
    first = members(1).start()
    nodes = [first, *(members(number, [first.address]).start() for number in range(2, count + 1))]
    up = lambda node: len(node.nodes_up()) == count  # noqa: E731
    for node in nodes:
        wait_for(lambda node=node: up(node), f"{node.url} to see {count} nodes")
    return nodes


class Load:
    """Writes numbered rows through nodes in turn until it is ended, and keeps what was acked."""

    def __init__(self, nodes, table=TABLE, first=0):
        self.nodes, self.table = list(nodes), table
        self.sent, self.acked = first, set()
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.ending.is_set():
            at, self.sent = self.sent, self.sent + 1
            nodes = list(self.nodes)
            node = nodes[at % len(nodes)]
            # Three tablets of a day, written to in turn.
            when = 1_700_000_000 + (at % 3) * 90_000 + at // 3
            line = f"{self.table},host=h{at % 7} v={at}i {when}"
            url = f"{node.url}/api/v2/write?bucket=default&precision=s"
            try:
                if requests.post(url, data=line, timeout=20).status_code == 204:
                    self.acked.add(at)
            except requests.RequestException:
                pass

    def more(self, count=50):
        goal = len(self.acked) + count
        wait_for(lambda: len(self.acked) >= goal, "more rows to be acked", 60)

    def end(self):
        self.ending.set()
        self.thread.join(60)

    def judge(self, node):
        """All that was acked is there, once, and nothing that was never sent."""

        def asked():
            answer = requests.get(f"{node.url}/api/v1/sql", params={"q": f"SELECT v FROM {self.table}"}, timeout=60)
            return answer.json() if answer.status_code == 200 else None

        acked = set(self.acked)
        rows = [row[0] for row in wait_for(asked, "an answer", 60)["rows"]]
        assert len(rows) == len(set(rows)), "a row is there twice"
        assert acked <= set(rows), f"lost: {sorted(acked - set(rows))[:9]}"
        assert set(rows) <= set(range(self.sent))


def holders(node):
    return {one["node"] for of in replicas_of(node, TABLE).values() for one in of}


def by_id(nodes):
    return {node.cluster()["self"]: node for node in nodes}


def cli(node, *words):
    return subprocess.run(
        [BINARY, "cluster", "--url", node.url, *words], capture_output=True, text=True, timeout=120
    )


def state_of(node, wanted):
    return next((one["state"] for one in node.cluster()["nodes"] if one["id"] == wanted), None)


def prepared(members, count, **options):
    nodes = together(members, count)
    put_table(nodes[0], TABLE, tags=["host"], range="1d", **options)
    load = Load(nodes)
    try:
        load.more()
    except BaseException:
        load.end()
        raise
    return nodes, load


def test_a_node_that_is_gone_is_replaced_and_does_no_harm_when_it_returns(members):
    nodes, load = prepared(members, 4)
    try:
        wait_for(lambda: all_well(nodes[0], TABLE, 3), "three replicas of each tablet", 60)
        ids = by_id(nodes)
        gone = next(one for one in sorted(holders(nodes[0])) if ids[one] is not nodes[0])
        load.nodes.remove(ids[gone])
        ids[gone].kill()
        load.more()
        wait_for(
            lambda: gone not in holders(nodes[0]) and all_well(nodes[0], TABLE, 3),
            "others in the place of the node that is gone",
            90,
        )
        load.more()
        # It comes back with what it had, which nobody needs any more.
        ids[gone].start()
        wait_for(lambda: len(nodes[0].nodes_up()) == 4, "the node to be back", 60)
        load.nodes.append(ids[gone])
        load.more(100)
        wait_for(lambda: all_well(nodes[0], TABLE, 3), "three replicas of each tablet again", 60)
    finally:
        load.end()
    for node in nodes:
        load.judge(node)


def test_a_cluster_without_a_spare_node_waits(members):
    nodes, load = prepared(members, 3)
    try:
        wait_for(lambda: all_well(nodes[0], TABLE, 3), "three replicas of each tablet", 60)
        load.nodes.remove(nodes[2])
        gone = nodes[2].cluster()["self"]
        nodes[2].kill()
        load.more(200)

        def told():
            checks = requests.get(f"{nodes[0].url}/health", timeout=10).json()["checks"]
            return "tablets, replicas" in {check["name"] for check in checks}

        wait_for(told, "the node to say what is missing")
        assert gone in holders(nodes[0]) and not nodes[0].cluster()["moves"]
        refused = cli(nodes[0], "remove", str(gone))
        assert refused.returncode != 0 and "another node join" in refused.stderr, refused.stderr
        # A disk that was wiped is a new node.
        new = members(4, [nodes[0].address]).start()
        load.nodes.append(new)
        wait_for(
            lambda: gone not in holders(nodes[0]) and all_well(nodes[0], TABLE, 3),
            "the new node in the place of the one that is gone",
            90,
        )
        removed = cli(nodes[0], "remove", str(gone))
        assert removed.returncode == 0, removed.stderr
        wait_for(lambda: state_of(nodes[0], gone) is None, "the node to be forgotten")
        load.more()
    finally:
        load.end()
    for node in [nodes[0], nodes[1], new]:
        load.judge(node)


def test_a_node_is_emptied_and_forgotten(members):
    nodes, load = prepared(members, 4)
    try:
        wait_for(lambda: all_well(nodes[0], TABLE, 3), "three replicas of each tablet", 60)
        ids = by_id(nodes)
        leaves = next(one for one in sorted(holders(nodes[0])) if ids[one] is not nodes[0])
        refused = cli(nodes[0], "remove", str(leaves))
        assert refused.returncode != 0 and "drain it first" in refused.stderr, refused.stderr
        drained = cli(nodes[0], "drain", str(leaves), "--wait")
        assert drained.returncode == 0 and "0 replicas" in drained.stdout, drained
        wait_for(lambda: all_well(nodes[0], TABLE, 3), "three replicas of each tablet", 60)
        assert leaves not in holders(nodes[0])
        assert state_of(nodes[0], leaves) == "drained"
        # It serves as long as it is there.
        load.more()
        load.nodes.remove(ids[leaves])
        removed = cli(nodes[0], "remove", str(leaves))
        assert removed.returncode == 0, removed.stderr
        wait_for(lambda: state_of(nodes[0], leaves) is None, "the node to be forgotten")
        ids[leaves].kill()
        load.more()
        left = [node for node in nodes if node is not ids[leaves]]
        until_together(left)
    finally:
        load.end()
    for node in left:
        load.judge(node)


def test_a_new_node_is_used(members):
    nodes, load = prepared(members, 3)
    try:
        for day in range(12):
            rows = f"n,host=a v={day} {1_600_000_000 + day * 90_000}"
            nodes[0].write(rows, bucket="default", precision="s")
        new = members(4, [nodes[0].address]).start()
        number = new.cluster()["self"]

        def even():
            counts = {one["id"]: one["replicas"] for one in nodes[0].cluster()["nodes"]}
            return number in counts and max(counts.values()) - min(counts.values()) <= 1

        wait_for(even, "replicas to be spread evenly", 120)
        wait_for(lambda: all_well(nodes[0], TABLE, 3), "three replicas of each tablet", 60)
        load.nodes.append(new)
        load.more()
    finally:
        load.end()
    for node in [*nodes, new]:
        load.judge(node)


def test_the_number_of_replicas_changes_under_load(members):
    nodes, load = prepared(members, 5, replication=1)
    try:
        for count in [3, 5, 3, 1]:
            put_table(nodes[count % 5], TABLE, replication=count)
            wait_for(lambda count=count: all_well(nodes[0], TABLE, count), f"{count} replicas", 120)
            load.more(100)
    finally:
        load.end()
    for node in nodes:
        load.judge(node)


def test_one_node_goes_on_where_the_others_are_gone_for_good(members):
    nodes, load = prepared(members, 3)
    try:
        wait_for(lambda: all_well(nodes[0], TABLE, 3), "three replicas of each tablet", 60)
        load.more()
    finally:
        load.end()
    wait_for(lambda: all_well(nodes[0], TABLE, 3), "all to have all", 60)
    left, old = nodes[2], nodes[1]
    cluster = left.cluster()["cluster_id"]
    for node in nodes:
        node.kill()
    left.start()
    assert left.write(f"{TABLE},host=a v=1i 1700000000", precision="s").status_code == 503
    left.stop()
    recover = ["recover", str(left.data_dir)]
    assert cli(left, *recover).returncode != 0, "a loss has to be accepted"
    done = cli(left, *recover, "--accept-loss")
    assert done.returncode == 0 and "only node" in done.stdout and "LOST" not in done.stdout, done
    left.start()
    assert left.cluster()["cluster_id"] != cluster
    load.judge(left)
    # Those of the cluster that was are strangers now.
    old.config.write_text(f'[cluster]\njoin = "{left.address}"\n')
    old.start(wait=False)
    assert old.process.wait(60) != 0 and cluster in old.log.read_text()
    new = [members(number, [left.address]).start() for number in (4, 5)]
    wait_for(lambda: all_well(left, TABLE, 3), "three replicas of each tablet", 60)
    load = Load([left, *new], first=1_000_000)
    load.more()
    load.end()
    for node in [left, *new]:
        assert node.sql(f"SELECT count(*) AS n FROM {TABLE} WHERE v >= 1000000")[0]["n"] >= len(load.acked)
