"""Several processes that are one cluster."""

import itertools
import signal

import requests
from conftest import Oribi, wait_for


class Member(Oribi):
    """A node that is told of others."""

    def __init__(self, folder, join=()):
        folder.mkdir()
        addresses = ", ".join(f'"{address}"' for address in join)
        super().__init__(folder, f"[cluster]\njoin = [{addresses}]\n")
        self.address = f"127.0.0.1:{self.node_port}"

    def cluster(self):
        return requests.get(f"{self.url}/api/v1/cluster", timeout=10).json()

    def nodes_up(self):
        return [node["id"] for node in self.cluster()["nodes"] if node["state"] == "up"]

    def ended(self):
        """The exit code of one that ends by itself, and what it said."""
        return self.process.wait(timeout=60), self.log.read_text()

    def move(self):
        """The next start is on another port for nodes."""
        self.node_port = Oribi(self.folder, self.config.read_text()).node_port
        self.address = f"127.0.0.1:{self.node_port}"

    def tables(self):
        answer = requests.get(f"{self.url}/api/v1/tables", timeout=10).json()
        return {table["name"]: table["options"] for table in answer["tables"]}


def until_together(members):
    def together(member):
        seen = member.cluster()
        voters = seen["catalog"]["voters"]
        # Of an even number one follows only, and of many a few vote.
        most = min(len(members) - 1 + len(members) % 2, 5)
        return len(member.nodes_up()) == len(members) and len(voters) == most and seen["catalog"]["leader"]

    for member in members:
        wait_for(lambda member=member: together(member), f"{member.url} to see all nodes")


def leader_of(members):
    """The member that leads the catalog."""

    def find():
        said = {member.cluster()["catalog"]["leader"] for member in members}
        led = [member for member in members if {member.cluster()["self"]} == said]
        return led[0] if led else None

    return wait_for(find, "a leader of the catalog that all agree on")


def put_table(member, name, **options):
    answer = requests.put(f"{member.url}/api/v1/tables/{name}", json=options, timeout=60)
    assert answer.status_code in (200, 201), answer.text


def replicas_of(member, table):
    """Of each tablet of a table, its replicas as a node sees them."""
    answer = requests.get(f"{member.url}/api/v1/tablets?table={table}", timeout=10).json()
    return {tablet["id"]: tablet["replicas"] for tablet in answer["tablets"]}


def all_well(member, table, count):
    """Whether each tablet of a table has so many voters that are well, and nothing moves."""
    found = replicas_of(member, table)
    well = all(
        len(of) == count and all(one["role"] == "voter" and one["state"] == "ok" for one in of)
        for of in found.values()
    )
    return bool(found) and well and not member.cluster()["moves"]


def tables_begun_by_one_that_stands_still(leader, founder):
    """New tables with a row each, of which some are given to a node to begin that stands still from now on: their names and the rows."""
    number, tries = founder.cluster()["self"], itertools.count()

    def given():
        # It is noticed soon, and then nothing is given to it.
        tables = [f"t{next(tries)}_{at}" for at in range(12)]
        rows = "\n".join(f"{table},h=a v=1i 1700000000000000000" for table in tables)
        founder.process.send_signal(signal.SIGSTOP)
        made = leader.write(rows)
        if made.status_code == 503:
            return tables, rows
        founder.process.send_signal(signal.SIGCONT)
        wait_for(lambda: number in leader.nodes_up(), "the node to be heard again")
        return None

    return wait_for(given, "tablets to be given to a node that stands still")
