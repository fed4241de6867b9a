"""Disks that run full, of one node of three and of all: an ext4 file system of its own for each node."""

import os
import sys
import threading

import pytest
import requests
from cluster import Member, put_table, until_together
from conftest import ROOT, wait_for
from parts import skipped

sys.path.append(str(ROOT / "tests" / "chaos"))
from disks import Image, free_of, why_no_images  # noqa: E402

DISK_MIB = 768
TABLETS = 6


class OnDisk(Member):
    """A node whose directory is a file system of its own."""

    def __init__(self, folder, join=()):
        super().__init__(folder, join)
        self.disk = Image(self.folder, DISK_MIB)
        self.data_dir = self.disk.path / "data"

    def fill(self, rest_mib):
        """Leaves so much of the disk free, which is less than the reserve."""
        if rest_mib == 0:
            return self.disk.fill()
        with self.disk.filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, free_of(self.disk.path) - (rest_mib << 20))

    def close(self):
        super().close()
        self.disk.close()

    def led(self):
        """How many tablets each node leads, as this one sees it."""
        return {node["id"]: node["leaders"] for node in self.cluster()["nodes"]}


@pytest.fixture
def three(tmp_path):
    if reason := why_no_images(tmp_path):
        skipped("disks that run full", reason)
    made = []
    try:
        for number in range(3):
            made.append(OnDisk(tmp_path / f"node{number}", [node.address for node in made[:1]]).start())
        until_together(made)
        put_table(made[0], "m", buckets=TABLETS)
        yield made
    finally:
        for node in made:
            node.close()


class Writer:
    """Writes to whichever node takes it, each row until it is acknowledged."""

    def __init__(self, nodes):
        self.nodes, self.acked, self.reasons, self.over = nodes, 0, set(), threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def run(self):
        turn = 0
        while not self.over.is_set():
            node = self.nodes[turn % len(self.nodes)]
            turn += 1
            rows = "\n".join(f"m,d=d{at} v={self.acked}i {1_700_000_000 + self.acked}" for at in range(20))
            try:
                answer = node.write(rows, precision="s")
            except requests.ConnectionError:
                continue
            if answer.status_code == 204:
                self.acked += 1
            else:
                assert answer.status_code == 503 and answer.headers["retry-after"], answer.text
                self.reasons.add(answer.json()["message"])

    def until_more(self, what):
        goal = self.acked + 20
        wait_for(lambda: self.acked >= goal, what, 90)


def until_all_count(nodes, expected):
    for node in nodes:
        wait_for(lambda node=node: node.count("m") == expected, f"{node.url} to have {expected} rows", 90)


@pytest.mark.parametrize("rest_mib", [0, 64], ids=["no room", "little room"])
def test_a_node_whose_disk_is_full_leads_nothing_and_comes_back(three, rest_mib):
    victim, others = three[0], three[1:]
    with Writer(three) as writer:
        writer.until_more("rows before")
        wait_for(lambda: victim.led()[victim.cluster()["self"]] > 0, "the node to lead something", 60)
        victim.fill(rest_mib)
        own = victim.cluster()["self"]
        wait_for(lambda: all(node.led()[own] == 0 for node in others), "its leaders to move away", 60)
        writer.until_more("rows while a disk is full")
        assert refuses(victim)
        victim.disk.free()
        wait_for(lambda: victim.write("m,d=back v=1i 1700000000", precision="s").status_code == 204, "its writes", 60)
        writer.until_more("rows after")
    until_all_count(three, writer.acked * 20 + 1)


def test_where_all_disks_are_full_writes_are_refused_and_resume(three):
    with Writer(three) as writer:
        writer.until_more("rows before")
        for node in three:
            node.disk.fill()
        wait_for(lambda: any("disk" in reason for reason in writer.reasons), "writes to be refused by reason", 60)
        wait_for(lambda: all(refuses(node) for node in three), "all nodes to refuse", 60)
        assert three[0].count("m") >= writer.acked * 20, "questions are answered all the same"
        for node in three:
            node.disk.free()
        writer.until_more("rows once there is room")
    until_all_count(three, writer.acked * 20)


def refuses(node):
    answer = node.write("probe v=1")
    return answer.status_code == 503 and "disk" in answer.json()["message"]
