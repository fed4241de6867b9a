"""Nodes among each other: what they say cannot be read, and only who has the secret or a known key is heard."""

import os
import secrets
import socket
import subprocess
import threading

import pytest
import requests
from callers import node_port_of
from cluster import Member, until_together
from conftest import BINARY, free_port, wait_for
from test_tls import outside

KEYLESS = "joining needs a secret"


def secret_file(folder, text=None):
    path = folder / "join.secret"
    path.write_text(text or secrets.token_hex(32))
    path.chmod(0o600)
    return path


class Sworn(Member):
    """A member with a secret, whose port for nodes is bound to an address that others reach."""

    def __init__(self, folder, secret, join=(), host="127.0.0.1"):
        super().__init__(folder, join)
        self.host, self.address = host, f"{host}:{self.node_port}"
        if secret:
            self.config.write_text(self.config.read_text() + f"join_secret_file = '{secret}'\n")

    def start(self, wait=True):
        command = [str(BINARY), "serve", "--data-dir", str(self.data_dir), "--config", str(self.config)]
        command += ["--http-listen", f"127.0.0.1:{self.http_port}", "--mqtt-listen", f"127.0.0.1:{self.mqtt_port}"]
        command += ["--node-listen", self.address]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        if wait:
            wait_for(self.healthy, "the node to be healthy", 60)
        return self

    @property
    def bearer(self):
        path = self.data_dir / "admin.token"
        return {"Authorization": f"Bearer {path.read_text().strip()}"} if path.exists() else {}

    def cluster(self):
        return requests.get(f"{self.url}/api/v1/cluster", timeout=10, headers=self.bearer).json()

    def write(self, lines, **params):
        return requests.post(f"{self.url}/write", params=params, data=lines, timeout=60, headers=self.bearer)

    def query(self, **params):
        return requests.get(f"{self.url}/api/v1/query", params=params, timeout=60, headers=self.bearer)


@pytest.fixture
def members():
    made = []
    yield made
    for member in made:
        member.close()


def stored(member, line):
    """Writes a line; a busy machine may say 503 first, and the same row twice is one."""
    wait_for(lambda: member.write(line).status_code == 204, f"{line!r} to be stored")


def test_three_nodes_at_addresses_that_others_reach(tmp_path, members):
    host = outside() or pytest.skip("this machine has no address but loopback")
    secret = secret_file(tmp_path)
    members.append(Sworn(tmp_path / "1", secret, host=host).start())
    for name in ("2", "3"):
        members.append(Sworn(tmp_path / name, secret, [members[0].address], host=host).start())
    until_together(members)
    stored(members[1], "m v=1i 1700000000000000000")
    for member in members:
        wait_for(lambda member=member: member.count("m") == 1, "the row on every node")
    # Without the secret, or with another one, nobody joins; and whoever tries is told why.
    other = secret_file(tmp_path / "1", "another secret, of many characters")
    stranger = Sworn(tmp_path / "4", other, [members[0].address], host=host)
    members.append(stranger)
    code, said = stranger.start(wait=False).ended()
    assert code != 0 and "the secret to join is not the same as there" in said, said
    assert secret.read_text() not in said and "many characters" not in said
    assert len(members[0].cluster()["nodes"]) == 3
    entries = requests.get(f"{members[0].url}/api/v1/audit", timeout=60, headers=members[0].bearer).json()["entries"]
    joined = {entry["object"] for entry in entries if entry["event"] == "node_joined"}
    assert joined == {f"node {node['id']} at {node['node']}" for node in members[0].cluster()["nodes"] if node["id"] != 1}


def test_what_a_start_refuses(tmp_path, members):
    host = outside() or pytest.skip("this machine has no address but loopback")

    def refusal(name, secret, join=()):
        member = Sworn(tmp_path / name, secret, join, host=host)
        members.append(member)
        code, said = member.start(wait=False).ended()
        assert code == 2, said
        assert not (member.data_dir / "node.key").exists()
        return said

    said = refusal("none", None)
    assert "--join-secret-file" in said and "--insecure" in said
    assert "nothing-here" in refusal("missing", tmp_path / "nothing-here")
    assert "expected at least" in refusal("short", secret_file(tmp_path, "tiny"))
    loose = secret_file(tmp_path)
    loose.chmod(0o666)
    assert "chmod" in refusal("loose", loose)


def test_tokens_on_loopback_ask_for_a_secret_to_join(tmp_path, members):
    def member(name, join=()):
        made = Sworn(tmp_path / name, None, join)
        made.config.write_text(made.config.read_text() + "[auth]\nmode = 'on'\n")
        members.append(made)
        return made

    first = member("1").start()
    code, said = member("2", [first.address]).start(wait=False).ended()
    assert code != 0 and KEYLESS in said, said


class Tap:
    """A proxy before a node's port that keeps what goes through it."""

    def __init__(self, port):
        self.port, self.heard, self.callers = port, bytearray(), set()
        self.listener = socket.create_server(("127.0.0.1", free_port()))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.take, daemon=True).start()

    def take(self):
        while True:
            try:
                near, _ = self.listener.accept()
                self.callers.add(node_port_of(near.getpeername()[1]))
                far = socket.create_connection(("127.0.0.1", self.port), timeout=5)
                far.settimeout(None)
            except OSError:
                if self.listener.fileno() < 0:
                    return
                near.close()
                continue
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self.carry, args=(source, sink), daemon=True).start()

    def carry(self, source, sink):
        try:
            while data := source.recv(1 << 16):
                self.heard += data
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.close()


def test_what_nodes_say_cannot_be_read_on_the_way(tmp_path, members):
    taps = []
    try:
        for name in ("1", "2", "3"):
            member = Member(tmp_path / name, [taps[0].address] if taps else [])
            taps.append(Tap(member.node_port))
            with member.config.open("a") as config:
                config.write(f'advertise = "{taps[-1].address}"\n')
            members.append(member.start())
        until_together(members)
        planted = secrets.token_hex(12)
        stored(members[0], f"m,tag={planted} v=1i 1700000000000000000")
        for member in members:
            wait_for(lambda member=member: member.count("m") == 1, "the row on every node")
        ports = {member.node_port for member in members}
        assert set().union(*(tap.callers for tap in taps)) - {None} == ports
        heard = b"".join(bytes(tap.heard) for tap in taps)
        cluster = members[0].cluster()["cluster_id"]
        assert len(heard) > 10_000
        for word in (planted, cluster, "ORIBINET"):
            assert word.encode() not in heard, word
    finally:
        for tap in taps:
            tap.close()


def test_strangers_at_the_port_keep_no_node_out(tmp_path, members):
    members.append(Member(tmp_path / "1").start())
    first = members[0]
    open_sockets = []
    for at in range(500):
        caller = socket.create_connection(("127.0.0.1", first.node_port), timeout=20)
        # The beginning of a handshake that never goes on, or nothing at all.
        if at % 2:
            caller.sendall(b"\x16\x03\x01\x02\x00\x01")
        open_sockets.append(caller)
    for name in ("2", "3"):
        members.append(Member(tmp_path / name, [first.address]).start())
    until_together(members)
    stored(members[2], "m v=1i 1700000000000000000")
    for caller in open_sockets:
        caller.close()


def test_a_node_without_its_key_is_turned_away_until_it_is_back(tmp_path, members):
    members.append(Member(tmp_path / "1").start())
    for name in ("2", "3"):
        members.append(Member(tmp_path / name, [members[0].address]).start())
    until_together(members)
    lost = members[2]
    assert lost.stop() == 0
    key = lost.data_dir / "node.key"
    kept = key.read_bytes()
    assert key.stat().st_mode & 0o777 == 0o600 and b"PRIVATE KEY" in kept
    key.unlink()
    code, said = lost.start(wait=False).ended()
    assert code != 0 and "another key" in said and "node.key" in said, said
    key.write_bytes(kept)
    os.chmod(key, 0o600)
    lost.start()
    until_together(members)
