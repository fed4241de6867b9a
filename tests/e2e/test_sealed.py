"""Secrets of connectors made over HTTP: sealed where they are kept, told by nobody, given anew where their key is not."""

import os
import secrets
import shutil
import subprocess

import pytest
import requests

from cluster import Member, until_together
from conftest import BINARY, Oribi, program, wait_for
from parts import mosquitto  # noqa: F401
from test_access import Guarded, grant

PASSWORD = "planted-password-of-the-broker"


def broker_with_password(make, folder):
    """A broker that lets in `u` alone."""
    passwords = folder / "passwords"
    subprocess.run([program("mosquitto_passwd"), "-b", "-c", str(passwords), "u", PASSWORD], check=True)
    passwords.chmod(0o600)
    return make("allow_anonymous false", f"password_file {passwords}").start()


def source(port, **members):
    return {"name": "plant", "kind": "mqtt", "url": f"mqtt://127.0.0.1:{port}", "username": "u",
            "routes": [{"topics": ["site/+/dev/+"]}], **members}


def make(node, connector, headers=None):
    return requests.post(f"{node.url}/api/v1/connectors", json=connector, headers=headers, timeout=60)


def shown(node, name="plant"):
    return requests.get(f"{node.url}/api/v1/connectors/{name}", timeout=60).json()


def until_state(node, state, name="plant"):
    return wait_for(lambda: shown(node, name).get("state") == state, f"the connector to be {state}", 60) and shown(node, name)


def files_with(word, *places):
    """The files below these places that hold a word."""
    found = []
    for place in places:
        for path in [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]:
            if word.encode() in path.read_bytes():
                found.append(path.name)
    return found


def run(*command, node=None, token=None):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORIBI_")}
    environment.update({"ORIBI_URL": node.url} if node else {})
    environment.update({"ORIBI_TOKEN": token} if token else {})
    done = subprocess.run([str(BINARY), *map(str, command)], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def guarded(tmp_path):
    folder = tmp_path / "guarded"
    folder.mkdir()
    node = Guarded(folder, "[storage]\n").start()
    yield node
    node.close()


def test_planted_secrets_stand_nowhere(guarded, mosquitto, tmp_path):
    planted = {at: f"planted-{at}-{secrets.token_hex(8)}" for at in ("password", "registry", "key", "store", "sasl")}
    broker = broker_with_password(mosquitto, tmp_path)
    admin = {"Authorization": f"Bearer {guarded.admin}"}
    kafka = {
        "name": "stream", "kind": "kafka", "url": "kafka://127.0.0.1:1", "username": "u", "password": planted["password"],
        "registry": {"url": "http://127.0.0.1:1", "username": "u", "password": planted["registry"]},
        "options": {"ssl.key.password": planted["key"], "ssl.keystore.password": planted["store"], "sasl.password": planted["sasl"]},
        "routes": [{"topics": ["t"], "decoder": "avro"}],
    }
    answers = [make(guarded, kafka, admin), make(guarded, source(broker.port, password=PASSWORD), admin)]
    assert [answer.status_code for answer in answers] == [201, 201], [answer.text for answer in answers]
    number = secrets.randbelow(10**17) + 10**17
    wrong = [{**kafka, "password": number}, {**kafka, "options": {"sasl.password": number}}, {**kafka, "registry": {"url": "http://h", "password": number}},
             {**kafka, "colour": 1}, {**kafka, "password": {"sealed": planted["password"]}}]
    for one in wrong:
        answer = make(guarded, one, admin)
        assert answer.status_code == 400, answer.text
        answers.append(answer)
    token = guarded.token("dev7", grants=[grant("write")])
    rotated = guarded.ask("POST", "/api/v1/tokens/dev7/rotate", guarded.admin, json={"keep_old": "1h"}).json()["token"]
    stray = "oribi_" + "A1" * 12
    for credential in (token, rotated, stray):
        guarded.ask("POST", "/write", credential, data="m v=1i 1700000000000000000\n")
        guarded.ask("POST", f"/write?p={credential}", data="m v=1i 1700000000000000000\n")
        guarded.ask("GET", "/api/v1/sql?q=SELECT+nothing", credential)
    wait_for(lambda: guarded.ask("GET", "/api/v1/connectors/plant", guarded.admin).json()["state"] == "running", "the source to run")
    for path in ("/api/v1/connectors", "/api/v1/connectors/stream", "/metrics", "/api/v1/audit", "/api/v1/tokens", "/api/v1/node", "/health"):
        answers.append(guarded.ask("GET", path, guarded.admin))
    answers.append(guarded.ask("POST", "/api/v1/connectors/test", guarded.admin, json={"name": "stream", "topic": "t", "payload": "\0\0\0\0\1"}))
    vault = tmp_path / "vault"
    run("backup", "--to", vault, node=guarded, token=guarded.admin)
    own = guarded.admin
    assert guarded.stop() == 0
    said = "".join(answer.text for answer in answers)
    for word in [*planted.values(), PASSWORD, str(number), token, rotated, stray]:
        assert word not in said, word
        assert files_with(word, guarded.data_dir, guarded.log, vault) == [], word
    assert files_with(own, guarded.data_dir, guarded.log, vault) == ["admin.token"]
    key = (guarded.data_dir / "cluster.key").read_text().strip()
    assert (guarded.data_dir / "cluster.key").stat().st_mode & 0o777 == 0o600
    assert files_with(key, guarded.data_dir, guarded.log, vault) == ["cluster.key"]
    guarded.start()
    wait_for(lambda: guarded.ask("GET", "/api/v1/connectors/plant", guarded.admin).json()["state"] == "running", "the source to run again")


def test_a_restore_elsewhere_asks_for_secrets_anew(make_oribi, mosquitto, tmp_path):
    broker = broker_with_password(mosquitto, tmp_path)
    node = make_oribi().start()
    assert make(node, source(broker.port, password=PASSWORD)).status_code == 201
    until_state(node, "running")
    vault = tmp_path / "vault"
    run("backup", "--to", vault, node=node)
    assert node.stop() == 0

    elsewhere = make_oribi(name="elsewhere")
    run("restore", "--from", vault, "--data-dir", elsewhere.data_dir)
    elsewhere.start()
    found = until_state(elsewhere, "sealed")
    assert "password" in found["last_error"] and "another key" in found["last_error"] and found["password"] == "***"
    resumed = requests.post(f"{elsewhere.url}/api/v1/connectors/plant/resume", timeout=60).json()
    assert resumed["state"] == "sealed"
    assert make(elsewhere, source(broker.port, password=PASSWORD)).status_code == 201
    until_state(elsewhere, "running")

    # Whoever brings the key as well, brings the secrets.
    whole = make_oribi(name="whole")
    run("restore", "--from", vault, "--data-dir", whole.data_dir, "--resume-connectors")
    shutil.copy(node.data_dir / "cluster.key", whole.data_dir / "cluster.key")
    whole.start()
    until_state(whole, "running")


def test_a_key_that_is_lost_and_one_from_outside(make_oribi, mosquitto, tmp_path):
    broker = broker_with_password(mosquitto, tmp_path)
    node = make_oribi().start()
    assert make(node, source(broker.port, password=PASSWORD)).status_code == 201
    assert make(node, {**source(broker.port), "name": "open"}).status_code == 201
    assert node.stop() == 0
    (node.data_dir / "cluster.key").unlink()
    node.start()
    until_state(node, "sealed")
    assert shown(node, "open")["state"] != "sealed"
    assert make(node, source(broker.port, password=PASSWORD)).status_code == 201
    until_state(node, "running")

    outside = tmp_path / "outside.key"
    outside.write_text(secrets.token_hex(32))
    outside.chmod(0o600)
    given = make_oribi(f"[secrets]\nkey_file = '{outside}'\n", name="given").start()
    assert make(given, source(broker.port, password=PASSWORD, client_id="given")).status_code == 201
    until_state(given, "running")
    assert not (given.data_dir / "cluster.key").exists()
    assert given.stop() == 0
    outside.unlink()
    refused = given.start(wait=False).process.wait(timeout=60)
    assert refused == 2 and "outside.key" in given.log.read_text()


def test_every_node_can_run_what_one_was_told(mosquitto, tmp_path):
    broker = broker_with_password(mosquitto, tmp_path)
    members = []
    try:
        members.append(Member(tmp_path / "1").start())
        for name in ("2", "3"):
            members.append(Member(tmp_path / name, [members[0].address]).start())
        until_together(members)
        keys = [member.data_dir / "cluster.key" for member in members]
        wait_for(lambda: all(key.exists() for key in keys), "the key on every node")
        assert len({key.read_text() for key in keys}) == 1 and {key.stat().st_mode & 0o777 for key in keys} == {0o600}
        assert make(members[1], source(broker.port, password=PASSWORD)).status_code == 201

        def runner():
            states = {member: shown(member).get("state") for member in members if member.process.poll() is None}
            assert "sealed" not in states.values(), states
            return next((member for member, state in states.items() if state == "running"), None)

        first = wait_for(runner, "a node that runs it", 60)
        first.kill()
        second = wait_for(runner, "another node that runs it", 60)
        assert second is not first
        # One that lost its key gets it back.
        (first.data_dir / "cluster.key").unlink()
        first.start()
        wait_for(lambda: (first.data_dir / "cluster.key").exists(), "the key to be back")
        assert len({key.read_text() for key in keys}) == 1
    finally:
        for member in members:
            member.close()


def test_files_that_an_entry_may_not_name(oribi, tmp_path):
    folder = oribi.data_dir / "connector-files"
    folder.mkdir()
    (folder / "right").write_text(PASSWORD)
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "outside").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    said = set()
    for name in ("../admin.token", "/proc/self/environ", "/etc/shadow", "link", "outside/oribi.toml", "pipe", "missing", ""):
        answer = make(oribi, source(1, password_file=name))
        assert answer.status_code == 400, (name, answer.text)
        said.add(answer.json()["detail"])
    assert len(said) == 1, said
    kafka = {"name": "k", "kind": "kafka", "url": "kafka://127.0.0.1:1", "routes": [{"topics": ["t"]}]}
    for option in ("ssl.key.location", "ssl.ca.location", "sasl.kerberos.keytab"):
        assert make(oribi, {**kafka, "options": {option: "/etc/shadow"}}).status_code == 400, option
    for url in ("http://169.254.169.254/", "http://[fe80::1]:80/"):
        assert make(oribi, {**kafka, "registry": {"url": url}}).status_code == 400, url
    assert make(oribi, source(1, password_file="right")).status_code == 201
