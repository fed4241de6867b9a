"""Secrets to join that end: who comes in by one, and what is told to who does not; and how a node gets another key."""

import datetime
import os
import secrets
import shutil
import subprocess

import pytest
import requests
from cluster import Member, until_together
from conftest import BINARY, wait_for
from test_members import cli
from test_nodes_tls import Sworn, secret_file, stored


class Asking(Sworn):
    """A member on loopback that asks for tokens."""

    def __init__(self, folder, secret=None, join=()):
        super().__init__(folder, secret, join)
        self.config.write_text(self.config.read_text() + "[auth]\nmode = 'on'\n")

    def cluster_command(self, *words):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ORIBI_")}
        environment.update({"ORIBI_URL": self.url, "ORIBI_DATA_DIR": str(self.data_dir)})
        return subprocess.run([str(BINARY), "cluster", *words], env=environment, capture_output=True, text=True, timeout=60)

    def join_secret(self, expires):
        made = self.cluster_command("join-secret", "--expires", expires)
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()


@pytest.fixture
def members():
    made = []
    yield made
    for member in made:
        member.close()


@pytest.fixture
def asking(tmp_path, members):
    def make(secret=None, join=()):
        folder = tmp_path / str(len(members) + 1)
        path = None
        if secret:
            path = tmp_path / f"{folder.name}.secret"
            path.write_text(secret + "\n")
            path.chmod(0o600)
        members.append(Asking(folder, path, [member.address for member in join]))
        return members[-1]

    return make


def refused(member, code=None):
    found, said = member.start(wait=False).ended()
    assert found != 0 if code is None else found == code, said
    return said


def test_nodes_join_by_secrets_that_end(asking):
    first = asking().start()
    secret = first.join_secret("1h")
    second = asking(secret, [first]).start()
    # One that came by such a secret makes and knows others.
    third = asking(second.join_secret("30m"), [second]).start()
    until_together([first, second, third])
    stored(third, "m v=1i 1700000000000000000")
    for member in (first, second, third):
        wait_for(lambda member=member: member.count("m") == 1, "the row on every node")
    answer = requests.get(f"{first.url}/api/v1/audit", timeout=60, headers=first.bearer)
    entries = [entry for entry in answer.json()["entries"] if entry["event"] == "join_secret_made"]
    assert [(entry["who"].split("@")[0], entry["result"]) for entry in entries] == [("admin-file", "ok")]
    assert entries[0]["object"].startswith("until 20")
    # The beginning says of which key it was made and until when; what follows is the secret.
    told = [answer.text, first.log.read_text()]
    kept = [path.read_bytes() for path in first.data_dir.rglob("*") if path.is_file()]
    assert not any(secret[-64:] in text for text in told) and not any(secret[-64:].encode() in data for data in kept)
    # Members need none, and so it may have ended long since.
    assert second.stop() == 0
    second.start()
    until_together([first, second, third])


def test_a_secret_that_ended_or_is_another_one_is_refused_by_name(asking):
    first, other = asking().start(), asking().start()
    answer = requests.post(f"{first.url}/api/v1/cluster/join-secret", json={"expires": "1s"}, timeout=60, headers=first.bearer)
    assert answer.status_code == 201, answer.text
    ended = answer.json()
    end = datetime.datetime.fromisoformat(ended["expires"])
    secret = first.join_secret("1h")
    wait_for(lambda: datetime.datetime.now(datetime.UTC) > end, "its time to come")
    said = refused(asking(ended["secret"], [first]))
    assert f"expired at {ended['expires']}" in said, said
    wrong = secret[:-1] + ("0" if secret[-1] != "0" else "1")
    assert "the secret to join is not the same as there" in refused(asking(wrong, [first]))
    # One that says it holds for longer than it was made for.
    longer = secret[:11] + f"{int(secret[11:27], 16) + 3_600_000:016x}" + secret[27:]
    assert "the secret to join is not the same as there" in refused(asking(longer, [first]))
    assert "made by another cluster" in refused(asking(other.join_secret("1h"), [first]))
    assert "not the whole" in refused(asking(secret[:-9], [first]), 2)
    assert len(first.cluster()["nodes"]) == 1
    # The right one still lets somebody in.
    asking(secret, [first]).start()
    wait_for(lambda: len(first.cluster()["nodes"]) == 2, "the node to be there")


def test_what_kind_of_secret_is_wanted_is_checked(asking):
    first = asking().start()
    for wrong, word in (("0s", "1s to 366d"), ("367d", "1s to 366d"), ("soon", "expected a length")):
        made = first.cluster_command("join-secret", "--expires", wrong)
        assert made.returncode == 1 and word in made.stderr and not made.stdout, made
    url = f"{first.url}/api/v1/cluster/join-secret"
    for body in ('{"expire":"1h"}', "[1]", '{"expires":1}', "{"):
        answer = requests.post(url, data=body, timeout=60, headers=first.bearer)
        assert answer.status_code == 400 and answer.json()["parameter"], answer.text
    assert requests.post(url, timeout=60, headers=first.bearer).status_code == 201
    assert requests.post(url, timeout=60).status_code == 401


def test_another_cluster_key_ends_secrets_that_were_made_of_the_one_before(asking):
    first = asking().start()
    before = first.join_secret("1h")
    assert first.stop() == 0
    (first.data_dir / "cluster.key").unlink()
    first.start()
    after = first.join_secret("1h")
    assert "before this one had its present cluster key" in refused(asking(before, [first]))
    asking(after, [first]).start()
    wait_for(lambda: len(first.cluster()["nodes"]) == 2, "the node to be there")


def test_the_secret_of_all_nodes_is_changed_by_a_restart(tmp_path, members):
    secret = secret_file(tmp_path)
    members.append(Sworn(tmp_path / "1", secret).start())
    members.append(Sworn(tmp_path / "2", secret, [members[0].address]).start())
    wait_for(lambda: len(members[0].nodes_up()) == 2, "two nodes")
    old = tmp_path / "old.secret"
    shutil.copy(secret, old)
    secret.write_text(secrets.token_hex(32))
    for member in members[:2]:
        assert member.stop() == 0
        member.start()
    wait_for(lambda: all(len(member.nodes_up()) == 2 for member in members[:2]), "two nodes that run again")
    late = Sworn(tmp_path / "3", old, [member.address for member in members])
    members.append(late)
    assert "the secret to join is not the same as there" in refused(late)
    members.append(Sworn(tmp_path / "4", secret, [members[0].address]).start())
    wait_for(lambda: len(members[0].nodes_up()) == 3, "three nodes")


def test_a_node_gets_another_key_by_leaving_and_joining_anew(tmp_path, members):
    for name in ("1", "2", "3", "4"):
        members.append(Member(tmp_path / name, [member.address for member in members[:1]]).start())
    until_together(members)
    stored(members[0], "m v=1i 1700000000000000000")
    leaving = members[3]
    before, key = leaving.cluster()["self"], (leaving.data_dir / "node.key").read_bytes()
    drained = cli(members[0], "drain", str(before), "--wait")
    assert drained.returncode == 0 and "0 replicas" in drained.stdout, drained
    assert leaving.stop() == 0
    removed = cli(members[0], "remove", str(before))
    assert removed.returncode == 0, removed.stderr
    aside = tmp_path / "aside"
    leaving.data_dir.rename(aside)
    leaving.start()
    until_together(members)
    after = leaving.cluster()["self"]
    assert after != before and (leaving.data_dir / "node.key").read_bytes() != key
    wait_for(lambda: leaving.count("m") == 1, "the row to be found there")
    # Who has the directory and the key of before is heard no more.
    thief = Member(tmp_path / "5", [members[0].address])
    members.append(thief)
    aside.rename(thief.data_dir)
    assert f"node {before} was removed from the cluster" in refused(thief)
    said = cli(members[0], "rotate-ca")
    assert said.returncode == 1 and "drain and remove it" in said.stderr
