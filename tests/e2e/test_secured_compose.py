"""deploy/secured.yml: its nodes run as it says, with other ports and without containers."""

import os
import re
import secrets
import subprocess

import requests
import yaml

from conftest import BINARY, ROOT, Oribi, free_port, program, wait_for
from test_pipeline import compose_reader

FILE = ROOT / "deploy" / "secured.yml"


class Contained(Oribi):
    """A service of the file."""

    def __init__(self, folder, command, environment):
        folder.mkdir()
        super().__init__(folder)
        self.command, self.environment = command, environment

    def start(self, wait=True):
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ORIBI_")}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([str(BINARY), *self.command], env={**inherited, **self.environment}, stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL)
        if wait:
            wait_for(self.healthy, "the node to be healthy", 60)
        return self


def services_of(file, folder):
    """What the services are started with, each address in its place: the ports of the first by what the file calls them."""
    file, ports, found = yaml.safe_load(file.read_text()), {}, {}
    for name, variable in file["secrets"].items():
        path = folder / name
        path.write_text({"ORIBI_ADMIN": "oribi_" + "A1b2" * 6, "ORIBI_JOIN": secrets.token_hex(32)}[variable["environment"]])
        path.chmod(0o444)
    for name, service in file["services"].items():
        here = lambda port, name=name: ports.setdefault((name, port), free_port())
        command = service["command"].replace("/data", str(folder / name / "data"))
        command = re.sub(r"0\.0\.0\.0:(\d+)", lambda match: f"0.0.0.0:{here(match[1])}", command)
        command = re.sub(r"(oribi(?:-\d)?):(\d+)", lambda match: f"127.0.0.1:{ports[match[1], match[2]]}", command)
        assert set(service["secrets"]) == set(file["secrets"])
        environment = {key: value.replace("/run/secrets", str(folder)) for key, value in service["environment"].items()}
        # The port for clear text is that of the machine's loopback, where another node may be.
        node = Contained(folder / name, [*command.split(), "--mqtt-listen", f"127.0.0.1:{free_port()}"], environment)
        node.http_port, node.mqtts_port = ports[name, "8640"], ports[name, "8883"]
        node.url = f"http://127.0.0.1:{node.http_port}"
        found[name] = node
    return found


def test_three_nodes_with_secrets(tmp_path):
    nodes = services_of(FILE, tmp_path)
    assert not any("--insecure" in node.command for node in nodes.values())
    try:
        for node in nodes.values():
            node.start()
        first, *others = nodes.values()
        admin = {"Authorization": f"Bearer {(tmp_path / 'oribi_admin').read_text()}"}
        ask = lambda node, path: requests.get(f"https://localhost:{node.http_port}{path}", headers=admin, verify=str(node.data_dir / "tls" / "ca.pem"), timeout=60)
        up = lambda node: [one["id"] for one in ask(node, "/api/v1/cluster").json()["nodes"] if one["state"] == "up"]
        wait_for(lambda: all(up(node) == [1, 2, 3] for node in nodes.values()), "three nodes that see each other", 60)
        made = requests.post(f"{first.url}/api/v1/tokens", headers=admin, timeout=60,
                             json={"name": "dev7", "grants": [{"may": "write", "db": "default", "table": "sensors"}], "topics": ["sensors/+/%u"]})
        assert made.status_code == 201, made.text
        for node in others:
            sent = subprocess.run([program("mosquitto_pub"), "-h", "localhost", "-p", str(node.mqtts_port), "--cafile", str(node.data_dir / "tls" / "ca.pem"),
                                   "-u", "dev7", "-P", made.json()["token"], "-q", "1", "-t", "sensors/north/dev7", "-m", '{"t":21.5}'],
                                  capture_output=True, text=True, timeout=120)
            assert sent.returncode == 0, sent.stderr
        count = lambda node: ask(node, "/api/v1/query?table=sensors&select=count(*)").json().get("rows", [[0]])[0][-1]
        wait_for(lambda: all(count(node) == 2 for node in nodes.values()), "both rows on every node")
        assert requests.get(f"{first.url}/api/v1/cluster", timeout=60).status_code == 401
    finally:
        for node in nodes.values():
            node.close()


def test_compose_reads_it():
    environment = {**os.environ, "ORIBI_ADMIN": "x", "ORIBI_JOIN": "x"}
    done = subprocess.run([compose_reader(), FILE], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
