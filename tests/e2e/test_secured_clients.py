"""Clients of others against a node with tokens and TLS: let in, refused, and back after a restart."""

import json
import os
import queue
import subprocess
import threading

import pytest
import requests

from conftest import ROOT, program
from parts import script
from test_access import grant
from test_client_certificates import rows, token
from test_tls import Reached

WRONG = "oribi_" + "A1" * 12
DENIED = {"4": None, "5": "135"}


class Spoken:
    """A client that takes lines and says in lines what came of them."""

    def __init__(self, *command, **environment):
        self.process = subprocess.Popen([str(one) for one in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True, env={**os.environ, **environment})
        self.said, self.heard = [], queue.Queue()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            self.heard.put(line.strip())

    def tell(self, line):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def until(self, beginning, timeout_s=60):
        """The next line that begins so; what comes before is kept too."""
        while True:
            line = self.heard.get(timeout=timeout_s)
            self.said.append(line)
            if line.startswith(beginning):
                return line

    def end(self):
        self.process.stdin.close()
        return self.process.wait(timeout=60)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()


@pytest.fixture(scope="module")
def modules():
    return script("mqttjs", part="clients")[-1]


@pytest.fixture(scope="module")
def paho_go():
    return script("paho-go", part="clients")[-1]


@pytest.fixture
def node(tmp_path):
    node = Reached(tmp_path).start()
    node.device = token(node, "dev", grants=[grant("write", table="sensors"), grant("write", table="m")], topics=["sensors/+/%u"])
    node.reader = token(node, "reader", grants=[grant("read", table="m")])
    yield node
    node.close()


@pytest.fixture
def spoken():
    made = []

    def speak(*command, **environment):
        made.append(Spoken(*command, **environment))
        return made[-1]

    yield speak
    for one in made:
        one.close()


def mqttjs(speak, modules, node, password, topic="sensors/north/dev", version=5):
    return speak("node", ROOT / "tests" / "clients" / "mqttjs.js", f"mqtts://localhost:{node.mqtts_port}", node.authority, password, topic, version,
                 NODE_PATH=modules)


def go(speak, paho_go, node, password, topic="sensors/north/dev"):
    return speak(paho_go, f"ssl://localhost:{node.mqtts_port}", node.authority, password, topic)


def metrics(node):
    admin = {"Authorization": f"Bearer {(node.data_dir / 'admin.token').read_text().strip()}"}
    return requests.get(f"{node.url}/metrics", headers=admin, timeout=60).text


def message(at):
    return json.dumps({"t": at})


@pytest.mark.parametrize("version", ["4", "5"])
def test_mqttjs_is_let_in_denied_and_refused(node, spoken, modules, version):
    client = mqttjs(spoken, modules, node, node.device, version=version)
    client.until("connected")
    client.tell(message(1))
    client.until("acked")
    client.tell("")
    assert client.process.wait(timeout=60) == 0
    assert rows(node, "sensors") == 1
    # Denied: it is told so by version 5 alone, and the connection stays in both.
    denied = mqttjs(spoken, modules, node, node.device, topic="sensors/north/other", version=version)
    denied.until("connected")
    for at in range(3):
        denied.tell(message(at))
        line = denied.until(("failed", "acked"))
        assert line.startswith("acked") if version == "4" else line.endswith(DENIED[version]), line
    assert "closed" not in denied.said
    assert rows(node, "sensors") == 1
    refused = mqttjs(spoken, modules, node, WRONG, version=version)
    assert refused.until("error").split()[1] == {"4": "4", "5": "134"}[version]


def test_gos_paho_is_let_in_and_refused(node, spoken, paho_go):
    client = go(spoken, paho_go, node, node.device)
    client.until("connected")
    client.tell(message(1))
    client.until("acked")
    assert client.end() == 0 and rows(node, "sensors") == 1
    refused = go(spoken, paho_go, node, WRONG)
    refused.until("refused")
    # After 3.1.1 it tries 3.1 and tells of that; the first answer was that the token is not known.
    assert refused.end() == 1 and 'oribi_auth_failures_total{via="mqtt",reason="unknown"} 1' in metrics(node)


def survives(node, client):
    """Messages before, while and after the node is away: all that are acked are stored, and all are acked in the end."""
    client.until("connected")
    for at in range(200):
        client.tell(message(at))
        if at == 50:
            client.until("acked")
            node.kill()
        if at == 150:
            node.start()
    for _ in range(200 - sum(line.startswith("acked") for line in client.said)):
        client.until("acked")
    assert len({line for line in client.said if line.startswith("acked")}) == 200
    admin = {"Authorization": f"Bearer {(node.data_dir / 'admin.token').read_text().strip()}"}
    counted = {"q": "SELECT count(DISTINCT t) AS n FROM sensors"}
    assert requests.get(f"{node.url}/api/v1/sql", params=counted, headers=admin, timeout=60).json()["rows"] == [[200]]


def test_mqttjs_comes_back_after_a_restart(node, spoken, modules):
    survives(node, mqttjs(spoken, modules, node, node.device))


def test_gos_paho_comes_back_after_a_restart(node, spoken, paho_go):
    survives(node, go(spoken, paho_go, node, node.device))


def test_programs_that_wait_to_be_asked_show_their_password(node):
    """wget and curl --anyauth send nothing before they are asked by Basic."""
    assert requests.post(f"{node.url}/write", data="m v=1i 1700000000000000000", headers={"Authorization": f"Token {node.device}"}, timeout=60).status_code == 204
    url = f"{node.secure_url}/api/v1/query?table=m&select=count(*)"
    commands = {
        "wget": [program("wget"), "-q", "-S", "-O", "-", "--tries=1", f"--ca-certificate={node.authority}", "--user=u"],
        "curl": [program("curl"), "-s", "-i", "--anyauth", "--cacert", str(node.authority)],
    }
    for name, command in commands.items():
        def ask(secret):
            login = [f"--password={secret}"] if name == "wget" else ["-u", f"u:{secret}"]
            return subprocess.run([*command, *login, url], capture_output=True, text=True, timeout=60)

        right = ask(node.reader)
        assert "401" in right.stdout + right.stderr and '"rows"' in right.stdout, (name, right)
        wrong = ask(WRONG)
        assert '"rows"' not in wrong.stdout and "401" in wrong.stdout + wrong.stderr, (name, wrong)
        other = ask(node.device)
        assert "403" in other.stdout + other.stderr, (name, other)


def test_influxdbs_and_questdbs_clients_over_tls(node):
    from influxdb import InfluxDBClient as First
    from influxdb.exceptions import InfluxDBClientError
    from influxdb_client import InfluxDBClient as Second
    from influxdb_client.client.write_api import SYNCHRONOUS
    from influxdb_client.rest import ApiException
    from questdb.ingress import IngressError, Sender, TimestampNanos

    def first(secret):
        client = First("localhost", node.http_port, "u", secret, "default", ssl=True, verify_ssl=str(node.authority))
        return client.write_points([{"measurement": "m", "fields": {"v": 1}, "time": 1}])

    def second(secret):
        with Second(node.secure_url, token=secret, org="o", ssl_ca_cert=str(node.authority)) as client:
            client.write_api(write_options=SYNCHRONOUS).write("default", record="m v=2i 2")

    def questdb(secret):
        configuration = f"https::addr=localhost:{node.http_port};token={secret};tls_roots={node.authority};protocol_version=1;auto_flush=off;"
        with Sender.from_conf(configuration) as sender:
            sender.row("m", columns={"v": 3}, at=TimestampNanos(3))
            sender.flush()

    for write, refusal in ((first, InfluxDBClientError), (second, ApiException), (questdb, IngressError)):
        before = rows(node, "m")
        write(node.device)
        assert rows(node, "m") == before + 1, write
        for secret in (WRONG, node.reader):
            with pytest.raises(refusal):
                write(secret)
        assert rows(node, "m") == before + 1, write
