"""Certificates of MQTT clients: whom they stand for, beside which tokens, and what becomes of revoked ones."""

import signal
import socket
import ssl
import subprocess
import threading

import paho.mqtt.client as mqtt
import pytest
import requests

from conftest import program, wait_for
from test_access import grant
from test_tls import Reached

REFUSED = {mqtt.MQTTv311: {"unknown": 4, "not allowed": 5}, mqtt.MQTTv5: {"unknown": 0x86, "not allowed": 0x87}}
VERSIONS = [mqtt.MQTTv311, mqtt.MQTTv5]


class Authority:
    """One that vouches for devices, and can revoke what it has given."""

    def __init__(self, folder, name="devices"):
        self.folder = folder / name
        self.folder.mkdir()
        self.cert, self.list = self.folder / "ca.pem", self.folder / "crl.pem"
        (self.folder / "index").write_text("")
        (self.folder / "number").write_text("01\n")
        (self.folder / "conf").write_text(
            "[ca]\ndefault_ca = own\n[own]\ndatabase = index\nserial = serial\ncrlnumber = number\nnew_certs_dir = .\ndefault_md = sha256\n"
            "policy = any\ndefault_days = 30\ndefault_crl_days = 30\ncopy_extensions = copy\nunique_subject = no\nx509_extensions = leaf\n"
            "[any]\ncommonName = supplied\n[leaf]\nbasicConstraints = CA:FALSE\n")
        self.openssl("req", "-x509", *self.key("ca"), "-days", "30", "-subj", f"/CN={name}", "-out", "ca.pem")
        self.renew_list()

    def openssl(self, *arguments):
        subprocess.run([program("openssl"), *arguments], cwd=self.folder, check=True, capture_output=True)

    def key(self, name):
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key"]

    def renew_list(self):
        self.openssl("ca", "-config", "conf", "-gencrl", "-keyfile", "ca.key", "-cert", "ca.pem", "-out", "new.pem")
        (self.folder / "new.pem").rename(self.list)

    def give(self, name, alternative=None, *dates):
        """A certificate with a common name, and an alternative one such as DNS:x where there is one; as of now unless it has dates."""
        extension = ["-addext", f"subjectAltName={alternative}"] if alternative else []
        self.openssl("req", *self.key(name), "-subj", f"/CN={name}", *extension, "-out", f"{name}.csr")
        self.openssl("ca", "-config", "conf", "-batch", "-rand_serial", "-keyfile", "ca.key", "-cert", "ca.pem", "-in", f"{name}.csr", "-out", f"{name}.pem", "-notext", *dates)
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def revoke(self, pair):
        self.openssl("ca", "-config", "conf", "-revoke", str(pair[0]), "-keyfile", "ca.key", "-cert", "ca.pem")
        self.renew_list()


class Client:
    """A device that connects once and tells what came of it."""

    def __init__(self, node, pair=None, password=None, name="u", version=mqtt.MQTTv5, client_id="device"):
        self.code, self.ended, self.published, self.connected = None, threading.Event(), {}, threading.Event()
        rest = {} if version == mqtt.MQTTv5 else {"clean_session": True}
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=version, reconnect_on_failure=False, **rest)
        self.client.tls_set(str(node.authority), *(map(str, pair) if pair else ()))
        if name or password:
            self.client.username_pw_set(name, password)
        self.version = version
        self.client.on_connect = self.on_connect
        self.client.on_disconnect = lambda *_: self.ended.set()
        self.client.on_publish = lambda _c, _u, mid, reason, _p: self.published.__setitem__(mid, reason)
        self.failed = None
        try:
            self.client.connect("localhost", node.mqtts_port)
            self.client.loop_start()
            wait_for(lambda: self.connected.is_set() or self.ended.is_set(), "an answer to CONNECT")
        except (ssl.SSLError, OSError) as wrong:
            self.failed = wrong

    def on_connect(self, _client, _data, _flags, reason, _properties):
        # paho gives codes of 3.1.1 the words of version 5.
        codes = {"Bad user name or password": 4, "Not authorized": 5}
        self.code = reason.value if self.version == mqtt.MQTTv5 else (codes[str(reason)] if reason.is_failure else 0)
        self.connected.set()

    def send(self, topic, payload='{"t":1}'):
        sent = self.client.publish(topic, payload, qos=1)
        return wait_for(lambda: self.published.get(sent.mid), "the ack")

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


def node_that(asks, folder, authority, more=""):
    return Reached(folder, f"[tls]\nclient_certificates = '{asks}'\nclient_ca_file = '{authority.cert}'\nclient_crl_file = '{authority.list}'\n{more}")


def token(node, name, **members):
    admin = {"Authorization": f"Bearer {(node.data_dir / 'admin.token').read_text().strip()}"}
    answer = requests.post(f"{node.url}/api/v1/tokens", json={"name": name, **members}, headers=admin, timeout=60)
    assert answer.status_code == 201, answer.text
    return answer.json()["token"]


def rows(node, table):
    admin = {"Authorization": f"Bearer {(node.data_dir / 'admin.token').read_text().strip()}"}
    answer = requests.get(f"{node.url}/api/v1/query", params={"table": table, "select": "count(*)"}, headers=admin, timeout=60)
    return 0 if answer.status_code == 404 else sum(row[-1] for row in answer.json()["rows"])


@pytest.fixture(scope="module")
def node(tmp_path_factory, authority):
    node = node_that("optional", tmp_path_factory.mktemp("optional"), authority).start()
    node.plant = token(node, "plant", grants=[grant("write", table="sensors")], topics=["sensors/+/%u"], certificate="*.plant")
    node.plain = token(node, "plain", grants=[grant("write", table="sensors")])
    yield node
    node.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_certificate_stands_for_its_token_and_names_the_device(node, authority, version):
    dev7 = authority.give("any", "DNS:dev7.plant,DNS:other.plant")
    before = rows(node, "sensors")
    for name in ("whoever", None):
        client = Client(node, dev7, name=name, version=version)
        assert client.code == 0, client.failed
        assert not client.send("sensors/north/dev7.plant").is_failure
        denied = client.send("sensors/north/dev8.plant")
        assert denied.value == (0x87 if version == mqtt.MQTTv5 else 0)
        client.close()
    assert rows(node, "sensors") == before + 2
    common = authority.give("dev9.plant")
    client = Client(node, common, version=version)
    assert client.code == 0 and not client.send("sensors/north/dev9.plant").is_failure
    client.close()


def test_mosquittos_client_shows_one(node, authority):
    cert, key = authority.give("mosquitto", "DNS:mosquitto.plant")
    before = rows(node, "sensors")
    command = [program("mosquitto_pub"), "-h", "localhost", "-p", str(node.mqtts_port), "--cafile", str(node.authority), "--cert", str(cert), "--key", str(key)]
    sent = subprocess.run([*command, "-q", "1", "-t", "sensors/x/mosquitto.plant", "-m", '{"t":1}'], capture_output=True, text=True, timeout=60)
    assert sent.returncode == 0, sent.stderr
    assert rows(node, "sensors") == before + 1


@pytest.mark.parametrize("version", VERSIONS)
def test_token_and_certificate_have_to_belong_together(node, authority, version):
    own, stranger = authority.give("own", "DNS:own.plant"), authority.give("stranger", "DNS:stranger.example")
    address = authority.give("address", "URI:oribi://line/7.plant")
    cases = [
        (None, None, "unknown"), (None, node.plain, None), (None, node.plant, "not allowed"),
        (own, None, None), (own, node.plant, None), (own, node.plain, "not allowed"), (own, "oribi_" + "A1" * 12, "unknown"),
        (stranger, None, "unknown"), (stranger, node.plain, None), (stranger, node.plant, "not allowed"),
        # Its name has levels, which the token's topics would take for such.
        (address, None, "not allowed"),
    ]
    for pair, password, refusal in cases:
        client = Client(node, pair, password, version=version)
        expected = REFUSED[version][refusal] if refusal else 0
        assert client.code == expected, (pair, password, client.code, client.failed)
        client.close()


def test_one_device_does_not_take_over_another_of_the_same_token(node, authority):
    first = Client(node, authority.give("first", "DNS:first.plant"), client_id="same")
    second = Client(node, authority.give("second", "DNS:second.plant"), client_id="same")
    assert (first.code, second.code) == (0, 0)
    assert not first.send("sensors/x/first.plant").is_failure and not second.send("sensors/x/second.plant").is_failure
    assert not first.ended.is_set()
    again = Client(node, (authority.folder / "first.pem", authority.folder / "first.key"), client_id="same")
    assert again.code == 0
    wait_for(first.ended.is_set, "the same device to take its session over")
    for client in (second, again):
        client.close()


def test_a_revoked_certificate_ends_what_it_has_begun(tmp_path):
    authority = Authority(tmp_path)
    node = node_that("required", tmp_path, authority).start()
    try:
        token(node, "plant", grants=[grant("write", table="sensors")], certificate="*.plant")
        stolen, kept = authority.give("stolen", "DNS:stolen.plant"), authority.give("kept", "DNS:kept.plant")
        clients = [Client(node, pair, client_id=name) for name, pair in (("stolen", stolen), ("kept", kept))]
        assert [client.code for client in clients] == [0, 0]
        sessions = {version: session_of(node, stolen, version) for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)}

        authority.list.write_text("nothing")
        node.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "the certificate stays as it is" in node.log.read_text(), "the broken list to be refused")
        assert Client(node, stolen, client_id="again").code == 0

        authority.revoke(stolen)
        node.process.send_signal(signal.SIGHUP)
        wait_for(clients[0].ended.is_set, "the connection to end")
        assert Client(node, stolen).code is None
        for version, (context, session) in sessions.items():
            assert not lets_in(node, context, session), version
        assert not clients[1].send("sensors/north").is_failure and not clients[1].ended.is_set()
        clients[1].close()

        elsewhere = Authority(tmp_path, "elsewhere")
        for pair in (None, elsewhere.give("dev", "DNS:dev.plant")):
            assert Client(node, pair).code is None
        # HTTP asks nobody for one.
        assert requests.get(f"{node.secure_url}/health", timeout=30, verify=str(node.authority)).status_code == 200
    finally:
        node.close()


def session_of(node, pair, version):
    context = ssl.create_default_context(cafile=node.authority)
    context.load_cert_chain(*map(str, pair))
    context.minimum_version = context.maximum_version = version
    return context, lets_in(node, context)


def lets_in(node, context, session=None):
    """The session that a connection leaves which is answered; nothing where it is not."""
    connect = b"\x10\x10\0\x04MQTT\x04\x02\0\x3c\0\x04raw1"
    try:
        with socket.create_connection(("127.0.0.1", node.mqtts_port), timeout=30) as plain:
            with context.wrap_socket(plain, server_hostname="localhost", session=session) as secured:
                secured.sendall(connect)
                return secured.session if secured.recv(4) == b"\x20\x02\0\0" else None
    except (ssl.SSLError, ConnectionError):
        return None


def test_what_a_start_refuses(tmp_path, authority):
    broken = tmp_path / "broken.pem"
    broken.write_text("nothing")
    cases = {
        "alone": ("[tls]\nclient_certificates = 'required'\n", "client_ca_file"),
        "useless": (f"[tls]\nclient_ca_file = '{authority.cert}'\n", "client_certificates"),
        "broken": (f"[tls]\nclient_certificates = 'required'\nclient_ca_file = '{broken}'\n", "broken.pem"),
        "list": (f"[tls]\nclient_certificates = 'optional'\nclient_ca_file = '{authority.cert}'\nclient_crl_file = '{broken}'\n", "broken.pem"),
        "word": ("[tls]\nclient_certificates = 'maybe'\n", "optional"),
    }
    for name, (config, word) in cases.items():
        (tmp_path / name).mkdir()
        node = Reached(tmp_path / name, config).start(wait=False)
        assert node.process.wait(timeout=60) == 2, name
        assert word in node.log.read_text(), node.log.read_text()
