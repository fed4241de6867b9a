"""TLS: the first run, one port for both, certificates that change."""

import json
import os
import shutil
import socket
import ssl
import subprocess

import pytest
import requests

from conftest import BINARY, Oribi, free_port, wait_for


class Reached(Oribi):
    """A node whose HTTP and MQTT over TLS are bound to all addresses."""

    def __init__(self, folder, config=""):
        super().__init__(folder, config)
        self.mqtts_port = free_port()
        self.secure_url = f"https://localhost:{self.http_port}"
        self.authority = self.data_dir / "tls" / "ca.pem"

    def start(self, wait=True):
        command = [str(BINARY), "serve", "--data-dir", str(self.data_dir), "--config", str(self.config)]
        command += ["--http-listen", f"0.0.0.0:{self.http_port}", "--mqtts-listen", f"0.0.0.0:{self.mqtts_port}"]
        command += ["--mqtt-listen", f"127.0.0.1:{self.mqtt_port}", "--node-listen", f"127.0.0.1:{self.node_port}"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        if wait:
            wait_for(self.healthy, "the node to be healthy", 60)
        return self


@pytest.fixture
def reached(tmp_path):
    node = Reached(tmp_path).start()
    yield node
    node.close()


def outside():
    """An address of this machine that is not loopback, if it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return probe.getsockname()[0]
        except OSError:
            return None


def test_the_first_run(reached):
    log = reached.log.read_text()
    assert str(reached.data_dir / "admin.token") in log and str(reached.authority) in log
    environment = {**os.environ, "ORIBI_URL": reached.url, "ORIBI_DATA_DIR": str(reached.data_dir)}
    made = subprocess.run([str(BINARY), "token", "create", "dev7", "--write", "default/sensors", "--topic", "sensors/+/%u"],
                          env=environment, capture_output=True, text=True, timeout=60)
    assert made.returncode == 0, made.stderr
    secret = made.stdout.strip()
    client = shutil.which("mosquitto_pub")
    if not client:
        pytest.skip("no mosquitto_pub")
    for version in ("311", "5"):
        command = [client, "-h", "localhost", "-p", str(reached.mqtts_port), "--cafile", str(reached.authority), "-V", f"mqttv{version}",
                   "-u", "dev7", "-P", secret, "-q", "1", "-t", "sensors/north/dev7", "-m", '{"t":21.5}']
        sent = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert sent.returncode == 0, sent.stderr
    wrong = subprocess.run([*command[:command.index("-P") + 1], "oribi_" + "x" * 24, *command[command.index("-P") + 2:]],
                           capture_output=True, text=True, timeout=60)
    assert wrong.returncode != 0
    admin = (reached.data_dir / "admin.token").read_text().strip()
    rows = requests.get(f"{reached.secure_url}/api/v1/query?table=sensors&select=count(*),last(t)", timeout=30,
                        headers={"Authorization": f"Bearer {admin}"}, verify=str(reached.authority)).json()["rows"]
    assert rows[0][-2:] == [2, 21.5]
    environment = {**environment, "ORIBI_URL": reached.secure_url, "ORIBI_CA_FILE": str(reached.authority)}
    asked = subprocess.run([str(BINARY), "whoami"], env=environment, capture_output=True, text=True, timeout=60)
    assert json.loads(asked.stdout)["all"] is True, asked.stderr


def test_one_port_for_both(reached):
    assert requests.get(f"{reached.url}/health", timeout=30).status_code == 200
    authority = requests.get(f"{reached.url}/ca.pem", timeout=30)
    assert authority.content == reached.authority.read_bytes()
    assert requests.get(f"{reached.secure_url}/api/v1/tables", timeout=30, verify=str(reached.authority)).status_code == 401
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"{reached.secure_url}/health", timeout=30)
    address = outside()
    if address:
        plain = requests.get(f"http://{address}:{reached.http_port}/health", timeout=30)
        assert plain.status_code == 400 and "https://" in plain.text
        browser = requests.get(f"http://{address}:{reached.http_port}/x", timeout=30, allow_redirects=False, headers={"User-Agent": "Mozilla/5.0"})
        assert browser.status_code == 308 and browser.headers["location"] == f"https://{address}:{reached.http_port}/x"
        assert requests.get(f"https://{address}:{reached.http_port}/health", timeout=30, verify=str(reached.authority)).status_code == 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("ciphers", ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"])
def test_versions_and_kinds_of_keys(reached, version, ciphers):
    context = ssl.create_default_context(cafile=reached.authority)
    context.minimum_version = context.maximum_version = version
    if version == ssl.TLSVersion.TLSv1_2:
        context.set_ciphers(ciphers)
    for port in (reached.http_port, reached.mqtts_port):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as secured:
                if version == ssl.TLSVersion.TLSv1_2:
                    assert secured.cipher()[0] == ciphers
    context = ssl.create_default_context(cafile=reached.authority)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-GCM-SHA256")
    with socket.create_connection(("127.0.0.1", reached.http_port), timeout=30) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname="localhost")


def test_two_streams_over_one_connection(reached):
    curl = shutil.which("curl")
    if not curl:
        pytest.skip("no curl")
    asked = subprocess.run([curl, "-s", "--http2", "--cacert", str(reached.authority), "-w", "%{http_version}", f"{reached.secure_url}/health"],
                           capture_output=True, text=True, timeout=60)
    assert asked.stdout.endswith("2") and "pass" in asked.stdout, asked


def test_a_new_certificate_is_shown_without_a_restart(tmp_path):
    own = tmp_path / "own"
    own.mkdir()

    def make(name):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
                        "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost", "-keyout", own / "new.key", "-out", own / "new.pem"],
                       check=True, capture_output=True)
        (own / "new.key").chmod(0o600)
        (own / "new.key").rename(own / "key.pem")
        (own / "new.pem").rename(own / "cert.pem")

    make("first")
    node = Reached(tmp_path, f"[tls]\ncert_file = '{own}/cert.pem'\nkey_file = '{own}/key.pem'\n").start()
    try:
        def shown():
            return ssl.get_server_certificate(("127.0.0.1", node.http_port))

        assert shown().strip() == (own / "cert.pem").read_text().strip()
        assert requests.get(f"{node.url}/ca.pem", timeout=30).status_code == 404
        make("second")
        node.process.send_signal(1)
        wait_for(lambda: shown().strip() == (own / "cert.pem").read_text().strip(), "the new certificate")
        good = shown()
        (own / "key.pem").write_text("nothing")
        node.process.send_signal(1)
        wait_for(lambda: "stays as it is" in node.log.read_text(), "the refusal")
        assert shown() == good
    finally:
        node.close()


def test_strangers_at_the_ports(reached):
    held = []
    for port in (reached.http_port, reached.mqtts_port):
        for _ in range(300):
            stream = socket.create_connection(("127.0.0.1", port), timeout=30)
            stream.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
            held.append(stream)
    # Clear text where TLS is spoken, and TLS where it is not.
    with socket.create_connection(("127.0.0.1", reached.mqtts_port), timeout=30) as stream:
        stream.sendall(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01c")
        answer = stream.recv(64)
        assert answer == b"" or answer[0] == 0x15
    context = ssl.create_default_context(cafile=reached.authority)
    with socket.create_connection(("127.0.0.1", reached.mqtt_port), timeout=30) as stream, pytest.raises((ssl.SSLError, OSError)):
        context.wrap_socket(stream, server_hostname="localhost")
    assert requests.get(f"{reached.secure_url}/health", timeout=30, verify=str(reached.authority)).status_code == 200
    with socket.create_connection(("127.0.0.1", reached.mqtts_port), timeout=30) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as secured:
            secured.sendall(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01c")
            # Nobody comes in without a token.
            assert secured.recv(64) == b"\x20\x02\x00\x04"
    for stream in held:
        stream.close()


def test_large_bodies_over_http_2(reached, tmp_path):
    curl = shutil.which("curl")
    if not curl:
        pytest.skip("no curl")
    admin = (reached.data_dir / "admin.token").read_text().strip()
    lines = tmp_path / "lines"
    lines.write_text("".join(f"m,a=b v={n} {n}\n" for n in range(1, 400_001)))
    command = [curl, "-s", "--http2", "--cacert", str(reached.authority), "-H", f"Authorization: Bearer {admin}", "-w", "%{http_version} %{http_code}",
               "--data-binary", f"@{lines}", f"{reached.secure_url}/write"]
    sent = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert sent.stdout == "2 204", sent
    # Who is refused before all of a body is sent may be a client that loses the answer; one of HTTP/1.1 has it.
    command = [*command[:2], "--http1.1", *command[3:6], "Authorization: Bearer oribi_" + "x" * 24, *command[7:]]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert refused.stdout.endswith("401"), refused
    rows = requests.get(f"{reached.secure_url}/api/v1/query?table=m&select=count(*)", timeout=60, headers={"Authorization": f"Bearer {admin}"},
                        verify=str(reached.authority)).json()["rows"]
    assert rows[0][-1] == 400_000


def test_no_request_fails_while_certificates_change(reached):
    """Each one with a handshake of its own, while the certificate is read again and again."""
    context = ssl.create_default_context(cafile=reached.authority)
    for at in range(200):
        if at % 5 == 0:
            reached.process.send_signal(1)
        with socket.create_connection(("127.0.0.1", reached.http_port), timeout=30) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as secured:
                secured.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                assert secured.recv(65_536).startswith(b"HTTP/1.1 200 ")
    assert "the certificate was read again" in reached.log.read_text()
