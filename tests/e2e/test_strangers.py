"""What connections hold that show nothing to be let in by, and what bodies hold that are only announced."""

import pathlib
import re
import socket
import ssl
import time

import pytest
import requests

from conftest import wait_for
from test_access import grant
from test_client_certificates import token
from test_tls import Reached

COUNT = 400
KIB_MAX = 96
"""The buffer of one may be whole, 64 KiB, and an allocator decides what lies around it; the next larger buffer is too much."""
HALF_A_HANDSHAKE = b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03" + b"x" * 16_000
KINDS = {
    "half a head": ("http_port", b"GET / HTTP/1.1\r\nx: " + b"y" * 16_000),
    "half a handshake of HTTP": ("http_port", HALF_A_HANDSHAKE),
    "half a handshake of MQTT": ("mqtts_port", HALF_A_HANDSHAKE),
    "half a CONNECT": ("mqtt_port", b"\x10\xf0\xbf\x03\0\4MQTT" + b"x" * 57_000),
    "a body without a token": ("http_port", b"POST /write HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n" + b"x" * 200_000),
}


def rss_kib(node):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{node.process.pid}/status").read_text())[1])


def unread(connections):
    """Whether the node still has something to take of what was sent to it."""
    ports = {f"{connection.getsockname()[1]:04X}" for connection in connections}
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, _, remote, _, queues = line.split()[:5]
        if remote.split(":")[1] in ports and int(queues.split(":")[1], 16):
            return True
    return False


@pytest.fixture
def node(tmp_path):
    node = Reached(tmp_path, "[http]\ninflight_bytes_max = 16777216\n").start()
    node.writer = {"Authorization": f"Bearer {token(node, 'dev', grants=[grant('write')])}"}
    # What comes once is no stranger's.
    assert requests.post(f"{node.secure_url}/write", data="m v=1i 1", headers=node.writer, verify=str(node.authority), timeout=60).status_code == 204
    yield node
    node.close()


def held(node, port, said):
    connections = []
    for _ in range(COUNT):
        connection = socket.create_connection(("127.0.0.1", getattr(node, port)), timeout=30)
        connection.setblocking(False)
        try:
            connection.send(said)
        except BlockingIOError:
            pass
        connections.append(connection)
    return connections


@pytest.mark.parametrize("kind", KINDS)
def test_a_stranger_holds_little(node, kind):
    port, said = KINDS[kind]
    before = rss_kib(node)
    connections, most = held(node, port, said), before
    try:
        # Until nothing more is taken: all is read, or what is sent stays where it is.
        deadline, is_quiet = time.monotonic() + 5, 0
        while time.monotonic() < deadline and is_quiet < 10:
            most = max(most, rss_kib(node))
            is_quiet = 0 if unread(connections) else is_quiet + 1
        assert most - before <= KIB_MAX * COUNT, f"{(most - before) / COUNT:.1f} KiB each"
        write = requests.post(f"{node.secure_url}/write", data="m v=1i 1", headers=node.writer, verify=str(node.authority), timeout=60)
        assert write.status_code == 204
    finally:
        for connection in connections:
            connection.close()


def test_who_only_announces_a_body_keeps_nobody_out(node):
    """Whether it has a token or not: more is announced than there is room for."""
    context = ssl.create_default_context(cafile=node.authority)
    head = "POST /write HTTP/1.1\r\nHost: localhost\r\nContent-Length: 16000000\r\n{}\r\nm v=1i 1"
    known = f"Authorization: {node.writer['Authorization']}\r\n"
    announced = []
    try:
        for at in range(40):
            plain = socket.create_connection(("127.0.0.1", node.http_port), timeout=30)
            caller = context.wrap_socket(plain, server_hostname="localhost") if at % 2 else plain
            caller.sendall(head.format(known if at % 4 < 2 else "").encode())
            announced.append(caller)

        def written():
            write = requests.post(f"{node.secure_url}/write", data="m v=2i 2\n" * 20_000, headers=node.writer, verify=str(node.authority), timeout=60)
            assert write.status_code in (204, 503), write.text
            return write.status_code == 204

        wait_for(written, "a write to get its room")
    finally:
        for caller in announced:
            caller.close()
