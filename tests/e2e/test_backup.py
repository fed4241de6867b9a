"""Backups of a cluster that serves, and clusters made of them."""

import os
import random
import re
import subprocess
import threading

import pytest
import requests
from cluster import Member, until_together
from conftest import BINARY, wait_for
from parts import bucket  # noqa: F401  fixture

DAY_S = 86_400
BASE_S = 1_700_000_000
ALL = "SELECT host, v, time FROM {} ORDER BY time, host"


def run(*arguments, env=None):
    command = [BINARY, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, env={**os.environ, **(env or {})}
    )


def backup(node, folder, *more, env=None):
    done = run("backup", "--url", node.url, "--to", folder, *more, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def restore(folder, data_dir, *more, env=None):
    done = run("restore", "--from", folder, "--data-dir", data_dir, *more, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write(node, lines):
    answer = node.write("\n".join(lines), precision="s")
    assert answer.status_code == 204, answer.text


def lines_of(table, count, value=0, step_s=DAY_S // 8):
    return [
        f"{table},host=h{at % 7} v={at + value}i {BASE_S + at * step_s}" for at in range(count)
    ]


def new_bytes(told):
    """Bytes that a backup says it has brought."""
    amount, unit = re.search(r"of which ([\d.]+) (\S+) new", told).groups()
    return float(amount) * {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20}[unit]


@pytest.fixture
def members(tmp_path):
    made = []

    def make(name, join=()):
        made.append(Member(tmp_path / name, join))
        return made[-1]

    yield make
    for member in made:
        member.close()


class Writer:
    """Writes a row at a time, and notes how many were acked."""

    def __init__(self, node):
        self.node, self.acked, self.stopped = node, 0, threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.stopped.is_set():
            at = BASE_S + self.acked
            answer = self.node.write(f"live,host=a v={self.acked}i {at}", precision="s")
            assert answer.status_code == 204, answer.text
            self.acked += 1

    def stop(self):
        self.stopped.set()
        self.thread.join()


def test_a_node_comes_back_as_it_was_and_the_next_backup_brings_what_is_new(make_oribi, tmp_path):
    node = make_oribi(name="first").start()
    write(node, lines_of("m", 3_000))
    write(node, lines_of("m", 100, value=50))
    write(node, lines_of("other", 50))
    deleted = requests.post(
        f"{node.url}/api/v1/tables/m/delete",
        json={"start": f"{BASE_S + 10 * DAY_S}s", "end": f"{BASE_S + 12 * DAY_S}s"},
        timeout=60,
    )
    assert deleted.status_code == 204, deleted.text
    routes = [{"topics": ["x/#"], "pattern": "x/{id}", "table": "x"}]
    connector = {"name": "plant", "kind": "mqtt", "url": "mqtt://127.0.0.1:1", "routes": routes}
    made = requests.post(f"{node.url}/api/v1/connectors", json=connector, timeout=60)
    assert made.status_code in (200, 201), made.text
    expected = {table: node.sql(ALL.format(table)) for table in ("m", "other")}
    assert len(expected["m"]) == 3_000 - 16
    vault = tmp_path / "vault"
    writer = Writer(node)
    wait_for(lambda: writer.acked > 20, "some rows")
    acked = writer.acked
    first = backup(node, vault)
    at_the_end = writer.acked
    writer.stop()
    assert at_the_end > acked
    # The connector runs in the other cluster; here nobody has asked it to.
    again = make_oribi(name="again")
    assert "paused connectors: plant" in restore(vault, again.data_dir)
    checked = run("check", again.data_dir)
    assert checked.returncode == 0 and "all is well" in checked.stdout, checked.stdout
    again.start()
    for table, rows in expected.items():
        assert again.sql(ALL.format(table)) == rows
    live = again.sql("SELECT v FROM live ORDER BY v")
    assert [row["v"] for row in live] == list(range(len(live)))
    assert acked <= len(live) <= at_the_end + 1
    write(again, lines_of("m", 1, value=-7))
    assert again.sql("SELECT v FROM m ORDER BY time LIMIT 1")[0]["v"] == -7
    assert again.stop() == 0
    again.start()
    assert again.count("m") == len(expected["m"])

    write(node, [f"m,host=new v=1i {BASE_S}"])
    second = backup(node, vault)
    assert new_bytes(second) < new_bytes(first) / 4, (first, second)
    listed = run("restore", "--from", vault, "--list").stdout.splitlines()
    assert [line.split()[0] for line in listed] == [first.split(":")[0], second.split(":")[0]]
    # The older one is whole, too.
    older = make_oribi(name="older")
    restore(vault, older.data_dir, "--backup", first.split(":")[0])
    older.start()
    assert older.sql(ALL.format("m")) == expected["m"]
    files = len(list(vault.rglob("*")))
    third = backup(node, vault, "--keep", "1")
    assert "removed 2 older backups" in third and len(list(vault.rglob("*"))) < files
    newest = make_oribi(name="newest")
    restore(vault, newest.data_dir)
    newest.start()
    assert newest.count("m") == len(expected["m"]) + 1


def test_what_is_damaged_or_in_the_way_is_refused_by_name(make_oribi, tmp_path):
    node = make_oribi(name="first").start()
    write(node, lines_of("m", 200))
    vault = tmp_path / "vault"
    name = backup(node, vault).split(":")[0]

    def refused(*arguments):
        done = run(*arguments)
        assert done.returncode == 1 and done.stdout == "", (done.stdout, done.stderr)
        return done.stderr

    into = tmp_path / "into"
    said = refused("restore", "--from", vault, "--data-dir", node.data_dir)
    assert "in use" in said, said
    said = refused("restore", "--from", tmp_path / "nowhere", "--data-dir", into)
    assert "there is no backup in" in said, said
    said = refused("backup", "--url", node.url, "--to", "ftp://there/x")
    assert "nothing is known of ftp://" in said, said
    said = refused("backup", "--url", "http://127.0.0.1:1", "--to", vault)
    assert "cannot reach a node" in said, said
    for file in sorted(vault.rglob("*")):
        if not file.is_file():
            continue
        good = file.read_bytes()
        for bad in (good[:-1], good[: len(good) // 2] + bytes([good[len(good) // 2] ^ 4]) + good[len(good) // 2 + 1 :]):
            file.write_bytes(bad)
            said = refused("restore", "--from", vault, "--data-dir", into)
            assert file.parent.name in said or file.name in said, (file, said)
        file.unlink()
        refused("restore", "--from", vault, "--data-dir", into, "--backup", name)
        file.write_bytes(good)
    started = run("serve", "--data-dir", into, "--http-listen", "127.0.0.1:0")
    assert started.returncode != 0 and "a restore into it is not finished" in started.stderr, started
    again = make_oribi(name="again")
    again.data_dir = into
    restore(vault, into)
    again.start()
    assert again.count("m") == 200


def test_a_cluster_is_backed_up_while_a_node_is_killed_and_becomes_another_cluster(members, tmp_path):
    first = members("1").start()
    everybody = [first, *(members(name, [first.address]).start() for name in ("2", "3"))]
    until_together(everybody)
    for number, member in enumerate(everybody):
        write(member, lines_of(f"t{number}", 300))
    vault = tmp_path / "vault"
    whole = backup(everybody[1], vault)
    write(everybody[2], lines_of("t0", 5, value=1_000))
    everybody[0].kill()
    second = backup(everybody[1], vault)
    assert "tablets" in second, second
    expected = [everybody[1].sql(ALL.format(f"t{number}")) for number in range(3)]
    old = everybody[1].cluster()["cluster_id"]
    for member in everybody[1:]:
        member.kill()
    restored = members("new1")
    told = restore(vault, restored.data_dir)
    restored.start()
    new = restored.cluster()["cluster_id"]
    assert new != old and new in told
    others = [members(name, [restored.address]).start() for name in ("new2", "new3", "new4")]

    def copied():
        tablets = requests.get(f"{restored.url}/api/v1/tablets", timeout=10).json()["tablets"]
        of = [tablet["replicas"] for tablet in tablets]
        return all(
            len(one) == 3 and all(replica["role"] == "voter" and replica["state"] == "ok" for replica in one)
            for one in of
        )

    wait_for(copied, "three voters of each tablet", 120)
    for member in [restored, *others]:
        assert [member.sql(ALL.format(f"t{number}")) for number in range(3)] == expected
    write(others[2], lines_of("t1", 1, value=5))
    assert restored.count("t1") == 300
    assert whole != second


def test_a_bucket_keeps_backups_as_a_folder_does(make_oribi, bucket):  # noqa: F811
    place, env = bucket
    node = make_oribi(name="first").start()
    write(node, lines_of("m", 500))
    # Too long for one part, however it is compressed.
    seeded = random.Random(7)
    for batch in range(0, 340, 20):
        texts = [(BASE_S + batch + at, seeded.randbytes(32_000).hex()) for at in range(20)]
        write(node, [f'long,host=a v="{text}" {time}' for time, text in texts])
    first = backup(node, place, env=env)
    assert f"in {place}" in first
    write(node, lines_of("m", 10, value=99))
    second = backup(node, place, "--keep", "1", env=env)
    assert new_bytes(second) < new_bytes(first) / 10, (first, second)
    assert "removed 1 older backups" in second
    again = make_oribi(name="again")
    restore(place, again.data_dir, env=env)
    again.start()
    for table in ("m", "long"):
        assert again.sql(ALL.format(table)) == node.sql(ALL.format(table))
    wrong = {**env, "AWS_SECRET_ACCESS_KEY": "guessed"}
    done = run("backup", "--url", node.url, "--to", place, env=wrong)
    assert done.returncode == 1 and "cannot list s3://vault/of/tests" in done.stderr, done.stderr
    done = run("restore", "--from", f"{place}/elsewhere", "--list", env=env)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
