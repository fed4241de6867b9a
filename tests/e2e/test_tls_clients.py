"""TLS as small devices, other libraries and slow ones speak it, and certificates of one's own that are not as they should be."""

import re
import socket
import ssl
import struct
import subprocess

import pytest
import requests
from mbedtls.exceptions import TLSError
from mbedtls.tls import ClientContext, MaxFragmentLength, TLSConfiguration, TrustStore

from conftest import program, wait_for
from parts import script
from test_access import grant
from test_client_certificates import Authority, rows, token
from test_tls import Reached

RSA, EC = "TLS-ECDHE-RSA-WITH-AES-128-GCM-SHA256", "TLS-ECDHE-ECDSA-WITH-AES-128-GCM-SHA256"


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    node = Reached(tmp_path_factory.mktemp("reached")).start()
    node.device = token(node, "dev", grants=[grant("write")])
    yield node
    node.close()


def text(said):
    return struct.pack(">H", len(said)) + said


def connect(secret, client_id):
    """A CONNECT of 3.1.1."""
    rest = b"\0\4MQTT\4\xc2\0\x3c" + text(client_id.encode()) + text(b"u") + text(secret.encode())
    return b"\x10" + bytes([len(rest)]) + rest


def publish(topic, payload, at):
    """A PUBLISH at QoS 1."""
    rest = text(topic.encode()) + struct.pack(">H", at) + payload
    return b"\x32" + (bytes([len(rest)]) if len(rest) < 128 else bytes([len(rest) & 127 | 128, len(rest) >> 7])) + rest


@pytest.mark.parametrize("cipher", [None, EC, RSA, "TLS-ECDHE-RSA-WITH-CHACHA20-POLY1305-SHA256"])
@pytest.mark.parametrize("fragment", [None, MaxFragmentLength.MFL_512K, MaxFragmentLength.MFL_4096K])
def test_the_library_of_small_devices(node, cipher, fragment):
    """One of before 2025, which cannot put handshakes together that come in several records."""
    rest = {"max_fragmentation_length": fragment} if fragment else {}
    trusted = TrustStore.from_pem_file(node.authority)
    config = TLSConfiguration(trust_store=trusted, ciphers=[cipher] if cipher else None, **rest)
    table = f"small_{re.sub('[^a-z0-9]', '_', str(cipher).lower())}_{fragment.value if fragment else 0}"
    with socket.create_connection(("127.0.0.1", node.mqtts_port), timeout=30) as plain:
        device = ClientContext(config).wrap_socket(plain, server_hostname="localhost")
        device.do_handshake()
        assert device.cipher() == cipher or cipher is None
        device.send(connect(node.device, table))
        assert device.recv(64) == b"\x20\2\0\0"
        for at in range(1, 4):
            device.send(publish(f"{table}/x", b'{"t":%d}' % at, at))
            assert device.recv(64) == b"\x40\2" + struct.pack(">H", at)
    assert rows(node, table) == 3


def test_what_cannot_be_had_of_a_handshake_is_refused(node):
    config = TLSConfiguration(trust_store=TrustStore.from_pem_file(node.authority), ciphers=["TLS-RSA-WITH-AES-128-GCM-SHA256"])
    with socket.create_connection(("127.0.0.1", node.mqtts_port), timeout=30) as plain:
        device = ClientContext(config).wrap_socket(plain, server_hostname="localhost")
        with pytest.raises(TLSError):
            device.do_handshake()


@pytest.mark.parametrize("more", [["-tls1_2"], ["-tls1_3"], ["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], ["-tls1_3", "-sigalgs", "RSA-PSS+SHA256"]])
def test_openssls_client(node, more):
    command = [program("openssl"), "s_client", "-connect", f"localhost:{node.mqtts_port}", "-CAfile", node.authority, "-verify_return_error", "-brief", *more]
    said = subprocess.run(command, input="", capture_output=True, text=True, timeout=60)
    assert said.returncode == 0 and "Verification: OK" in said.stderr, said
    if "RSA" in str(more):
        assert "RSA" in next(line for line in said.stderr.splitlines() if line.startswith("Signature type")), said.stderr


def test_acks_reach_who_reads_late(node):
    """What is acked stays in no buffer, however much of it there is."""
    count = 20_000
    context = ssl.create_default_context(cafile=node.authority)
    with socket.socket() as plain:
        # Acks are more than fits between the two.
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        plain.settimeout(60)
        plain.connect(("127.0.0.1", node.mqtts_port))
        with context.wrap_socket(plain, server_hostname="localhost") as device:
            device.sendall(connect(node.device, "late"))
            assert device.recv(4) == b"\x20\2\0\0"
            device.sendall(b"".join(publish("late/x", b'{"t":%d}' % at, at) for at in range(1, count + 1)))
            acks = b""
            while len(acks) < 4 * count:
                acks += device.recv(1 << 16)
            assert {acks[at + 2 : at + 4] for at in range(0, len(acks), 4)} == {struct.pack(">H", at) for at in range(1, count + 1)}
    wait_for(lambda: rows(node, "late") == count, "all rows")


def test_gos_client_of_http_2_sends_large_bodies(node, tmp_path):
    go = script("go-http", part="clients")[-1]
    lines = tmp_path / "lines"
    fields = ",".join(f"f{at}={at}" for at in range(40))
    lines.write_text("".join(f"large,a=b {fields} {at}\n" for at in range(1, 60_001)))
    assert 15 << 20 < lines.stat().st_size < 16 << 20
    sent = subprocess.run([go, f"{node.secure_url}/write", node.authority, node.device, lines], capture_output=True, text=True, timeout=280)
    assert sent.stdout.split() == ["HTTP/2.0", "204"] * 4, sent
    assert rows(node, "large") == 60_000
    # One that is refused learns so, whether or not it has sent all.
    refused = subprocess.run([go, f"{node.secure_url}/write", node.authority, "oribi_" + "A1" * 12, lines], capture_output=True, text=True, timeout=280)
    assert all(line.startswith("HTTP/2.0 401") for line in refused.stdout.splitlines() if line.startswith("HTTP")), refused
    assert requests.get(f"{node.secure_url}/health", verify=str(node.authority), timeout=30).status_code == 200


def own(folder, pair):
    cert, key = pair
    key.chmod(0o600)
    return Reached(folder, f"[tls]\ncert_file = '{cert}'\nkey_file = '{key}'\n")


def rsa_pair(folder, name):
    subprocess.run([program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", f"/CN={name}", "-addext",
                    "subjectAltName=DNS:localhost", "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem"], check=True, capture_output=True)
    return folder / f"{name}.pem", folder / f"{name}.key"


def test_a_pair_that_is_none_is_refused(tmp_path):
    first, second = rsa_pair(tmp_path, "first"), rsa_pair(tmp_path, "second")
    authority = Authority(tmp_path)
    curve = authority.give("curve", "DNS:localhost")
    for at, (cert, key) in enumerate([(first[0], second[1]), (first[0], curve[1]), (curve[0], first[1])]):
        (tmp_path / str(at)).mkdir()
        node = own(tmp_path / str(at), (cert, key)).start(wait=False)
        assert node.process.wait(timeout=60) == 2
        assert str(cert) in node.log.read_text() and "belong together" in node.log.read_text()
    (tmp_path / "right").mkdir()
    node = own(tmp_path / "right", first).start()
    try:
        assert requests.get(f"{node.secure_url}/health", verify=str(first[0]), timeout=30).status_code == 200
        # While it runs, the one before stays.
        (tmp_path / "first.key").write_bytes(second[1].read_bytes())
        node.process.send_signal(1)
        wait_for(lambda: "stays as it is" in node.log.read_text(), "the refusal")
        assert requests.get(f"{node.secure_url}/health", verify=str(first[0]), timeout=30).status_code == 200
    finally:
        node.close()


def test_a_certificate_that_has_ended_is_told_of(tmp_path):
    authority = Authority(tmp_path)
    ended = authority.give("ended", "DNS:localhost", "-startdate", "20200101000000Z", "-enddate", "20210101000000Z")
    node = own(tmp_path, ended).start()
    try:
        admin = {"Authorization": f"Bearer {(node.data_dir / 'admin.token').read_text().strip()}"}
        figures = requests.get(f"{node.url}/metrics", headers=admin, timeout=30).text
        left = re.search(r"^oribi_tls_certificate_expiry_seconds (\S+)", figures, re.M)
        assert left and float(left[1]) <= 1609459200, figures
        with pytest.raises(requests.exceptions.SSLError, match="expired"):
            requests.get(f"{node.secure_url}/health", verify=str(authority.cert), timeout=30)
        # Who does not look goes on.
        asked = subprocess.run([program("curl"), "-sk", f"{node.secure_url}/health"], capture_output=True, text=True, timeout=60)
        assert "pass" in asked.stdout, asked
    finally:
        node.close()
