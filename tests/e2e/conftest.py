"""Starts the real binary for each test that asks for it, and stops it whatever happens."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest
import requests

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("ORIBI_BINARY", ROOT / "target" / "debug" / "oribi"))
DATA = ROOT / "tests" / "data"
START_TIMEOUT_S = 60

sys.path.append(str(ROOT / "scripts" / "parts"))
from free_port import free_port  # noqa: E402


def wait_for(condition, what, timeout_s=30.0):
    """Asks until `condition` gives something true, and returns that."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"timed out waiting for {what}"
        time.sleep(0.02)


class Oribi:
    """One node: a process and its data directory."""

    def __init__(self, folder, config=""):
        self.folder = pathlib.Path(folder)
        self.data_dir = self.folder / "data"
        self.http_port, self.mqtt_port, self.node_port = free_port(), free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.http_port}"
        self.config = self.folder / "oribi.toml"
        self.config.write_text(config)
        self.log = self.folder / "oribi.log"
        self.process, self.env = None, {}

    def start(self, wait=True):
        command = [str(BINARY), "serve", "--data-dir", str(self.data_dir), "--config", str(self.config)]
        command += ["--http-listen", f"127.0.0.1:{self.http_port}"]
        command += ["--mqtt-listen", f"127.0.0.1:{self.mqtt_port}"]
        command += ["--node-listen", f"127.0.0.1:{self.node_port}"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env={**os.environ, **self.env})
        if wait:
            wait_for(self.healthy, "the node to be healthy", START_TIMEOUT_S)
        return self

    def healthy(self):
        assert self.process.poll() is None, f"the node ended:\n{self.log.read_text()}"
        try:
            return requests.get(f"{self.url}/health", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """Ends the node as an operator would; gives its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)

    def close(self):
        if self.process and self.process.poll() is None:
            self.kill()

    # -- asking -------------------------------------------------------------------------------

    def write(self, lines, **params):
        body = lines if isinstance(lines, bytes) else lines.encode()
        return requests.post(f"{self.url}/write", params=params, data=body, timeout=60)

    def query(self, **params):
        return requests.get(f"{self.url}/api/v1/query", params=params, timeout=60)

    def rows(self, **params):
        """Answer of a window question as a list of dicts."""
        return rows_of(self.query(**params))

    def sql(self, q, **params):
        return rows_of(requests.get(f"{self.url}/api/v1/sql", params={"q": q, **params}, timeout=60))

    def count(self, table, db="default"):
        answer = self.query(db=db, table=table, select="count(*) as n")
        if answer.status_code == 404:
            return 0
        return sum(row["n"] for row in rows_of(answer))


def rows_of(answer):
    assert answer.status_code == 200, answer.text
    body = answer.json()
    names = [column["name"] for column in body["columns"]]
    return [dict(zip(names, row)) for row in body["rows"]]


@pytest.fixture
def make_oribi(tmp_path):
    """Makes nodes that end with the test."""
    made = []

    def make(config="", name="node"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        node = Oribi(folder, config)
        made.append(node)
        return node

    yield make
    for node in made:
        node.close()


@pytest.fixture
def oribi(make_oribi):
    """A fresh node."""
    return make_oribi().start()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One node for all tests of a file; they use tables of their own."""
    node = Oribi(tmp_path_factory.mktemp("shared")).start()
    yield node
    node.close()


def program(name):
    """The path of a program that scripts/setup installs."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    assert found, f"{name} is missing; scripts/setup test installs it"
    return found
