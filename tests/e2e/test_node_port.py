"""What comes to the port for nodes and is none of a node, or is broken: refused, and nothing is changed by it."""

import os
import socket
import ssl
import struct
import subprocess

import pytest
import requests
from cluster import Member
from conftest import wait_for

PREFACE = b"ORIBINET"
HELLO, PING, APPEND, UNKNOWN = 1, 2, 5, 99
REQUEST, REFUSAL = 0, 2
RAFT = 2
NO_REPLICA, WRONG_REPLICA, UNKNOWN_KIND = 2, 1, 3
STRANGER = 77
"""A node that nobody knows."""
ABSENT = 2
"""One that is known and not there."""


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def frame(kind, body=b"", role=REQUEST, group=0, incarnation=0, request=0):
    inner = struct.pack("<BBQIQ", kind, role, group, incarnation, request) + body
    return struct.pack("<I", len(inner) + 4) + inner + struct.pack("<I", crc32c(inner))


def hello(cluster, node=ABSENT, protocol=(1, 1), boot=1, channel=RAFT, for_node=1):
    body = struct.pack("<HH", *protocol) + cluster.to_bytes(16, "little")
    return PREFACE + frame(HELLO, body + struct.pack("<IQBI", node, boot, channel, for_node))


def certificate(key, cluster, node):
    """A certificate of a node's key, as the node would show it."""
    path = key.with_suffix(f".{node}.pem")
    name = f"subjectAltName=DNS:n{node}.{cluster:032x}.oribi"
    command = ["openssl", "req", "-x509", "-key", key, "-out", path, "-days", "1", "-subj", "/CN=node", "-addext", name]
    subprocess.run(command, check=True, capture_output=True)
    return path


class Caller:
    """A connection to a node's port, by hand: with the key of the node that is known and not there, unless in clear text."""

    def __init__(self, node, is_clear=False):
        self.socket = socket.create_connection(("127.0.0.1", node.node_port), timeout=20)
        if not is_clear:
            self.socket = node.absent_tls.wrap_socket(self.socket)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            # It was closed meanwhile.
            pass

    def read(self, count):
        """So many bytes; fewer where the connection ends before."""
        found = b""
        while len(found) < count:
            try:
                piece = self.socket.recv(count - len(found))
            except (ConnectionResetError, ssl.SSLError):
                break
            if not piece:
                break
            found += piece
        return found

    def rest(self):
        """What comes until the node closes the connection, which it must."""
        return self.read(1 << 20)

    def next_frame(self):
        """Role, request and body."""
        (length,) = struct.unpack("<I", self.read(4))
        inner = self.read(length)[:-4]
        _, role, _, _, request = struct.unpack("<BBQIQ", inner[:22])
        return role, request, inner[22:]

    def greet(self, greeting):
        self.send(greeting)
        assert self.read(len(PREFACE)) == PREFACE
        return self.next_frame()


@pytest.fixture
def node(tmp_path):
    oribi = Member(tmp_path / "1")
    absent = None
    try:
        oribi.start()
        absent = Member(tmp_path / "2", [oribi.address]).start()
        wait_for(lambda: oribi.nodes_up() == [1, ABSENT], "the other node")
        absent.kill()
        wait_for(lambda: oribi.nodes_up() == [1], "the other node to be gone")
        key = absent.data_dir / "node.key"
        oribi.absent_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        oribi.absent_tls.check_hostname, oribi.absent_tls.verify_mode = False, ssl.CERT_NONE
        oribi.absent_tls.load_cert_chain(certificate(key, cluster_of(oribi), ABSENT), key)
        oribi.absent_tls.set_alpn_protocols(["oribi-node/1"])
        yield from watched(oribi)
    finally:
        for member in (oribi, absent):
            if member:
                member.close()


def watched(oribi):
    assert oribi.write("m v=1i 1700000000000000000").status_code == 204
    before = state_of(oribi)
    yield oribi
    assert oribi.write("m v=2i 1700000000000000001").status_code == 204
    assert oribi.count("m") == 2
    assert state_of(oribi) == before


def state_of(node):
    """What no stranger may change."""
    seen = requests.get(f"{node.url}/api/v1/cluster", timeout=10).json()
    nodes = [(one["id"], one["state"], one["node"]) for one in seen["nodes"]]
    return seen["cluster_id"], nodes, seen["catalog"]["voters"], seen["catalog"]["leader"]


def cluster_of(node):
    return int(state_of(node)[0], 16)


@pytest.mark.parametrize(
    "greeting",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00",
        b"\x00" * 64,
        PREFACE + b"\xff" * 64,
        PREFACE + frame(HELLO, b"short"),
        PREFACE + frame(PING, b"\x00" * 40),
        PREFACE + frame(HELLO, b"\x00" * 8000),
    ],
    ids=["http", "mqtt", "zeros", "no-frame", "short", "no-hello", "long"],
)
def test_who_is_no_node_is_not_listened_to(node, greeting):
    for is_clear in (False, True):
        with Caller(node, is_clear) as caller:
            caller.send(greeting)
            said = caller.rest()
        # Who is here may be told, and no more; in clear text, that it is not spoken here.
        assert len(said) < (16 if is_clear else 200)


def test_nodes_that_do_not_go_together_are_told_who_is_here_and_refused(node):
    own = cluster_of(node)
    for greeting in [
        hello(own ^ 1),
        hello(own, protocol=(9, 12)),
        hello(own, protocol=(0, 0)),
        hello(own, node=1),
        hello(own, node=STRANGER),
        hello(own, for_node=2),
        hello(own, channel=9),
    ]:
        with Caller(node) as caller:
            caller.send(greeting + frame(APPEND, b"?", request=1))
            said = caller.rest()
        assert said.startswith(PREFACE) or said == b""
        assert len(said) < 200, said


def test_frames_that_are_cut_or_broken_end_their_connection_and_nothing_else(node):
    own = cluster_of(node)
    good = frame(APPEND, b"?" * 30, request=1)
    broken = {
        "checksum": good[:-1] + bytes([good[-1] ^ 1]),
        "body": good[:30] + bytes([good[30] ^ 1]) + good[31:],
        "too long": struct.pack("<I", 0xFFFFFFFF) + good[4:],
        "too short": struct.pack("<I", 3) + good[4:],
        "role": frame(APPEND, b"", role=9, request=1),
        "another channel": frame(PING, b"", request=1),
    }
    for name, bytes_sent in broken.items():
        with Caller(node) as caller:
            caller.greet(hello(own))
            caller.send(bytes_sent)
            assert caller.rest() == b"", name
    # The longest that may be announced, of which nothing comes.
    with Caller(node) as caller:
        caller.greet(hello(own))
        caller.send(struct.pack("<I", 64 << 20) + good[4:20])
        # Beneath TLS, as a network would that goes away.
        with socket.socket(fileno=os.dup(caller.socket.fileno())) as beneath:
            beneath.shutdown(socket.SHUT_WR)
        assert caller.rest() == b""


def test_what_is_for_another_replica_or_of_another_version_is_refused_by_name(node):
    own = cluster_of(node)
    with Caller(node) as caller:
        caller.greet(hello(own))
        caller.send(frame(UNKNOWN, b"?", request=1))
        assert caller.next_frame() == (REFUSAL, 1, bytes([UNKNOWN_KIND, UNKNOWN]))
        caller.send(frame(APPEND, b"?", group=0, incarnation=5, request=2))
        role, request, body = caller.next_frame()
        assert (role, request, body[0]) == (REFUSAL, 2, WRONG_REPLICA)
        caller.send(frame(APPEND, b"?", group=424_242, request=3))
        role, request, body = caller.next_frame()
        assert (role, request, body[0]) == (REFUSAL, 3, NO_REPLICA)
