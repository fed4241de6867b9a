"""The pipeline of docker-compose.yml, run out of its own files by scripts/pipeline, and the file itself."""

import json
import os
import re
import shutil
import signal
import subprocess

import pytest
import requests
import yaml

from conftest import BINARY, ROOT, rows_of, wait_for
from parts import Kafka


def test_devices_brokers_oribi_and_back():
    command = [str(ROOT / "scripts" / "pipeline"), "--rate", "500"]
    environment = {**os.environ, "ORIBI_BINARY": str(BINARY)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as pipeline:
        started = pipeline.stdout.readline()
        found = re.match(r"pipeline: oribi (\S+), mosquitto (\S+), kafka (\S+)$", started)
        assert found, started + pipeline.stderr.read()
        url, _, kafka = found.groups()
        try:
            look_at(url, kafka)
        finally:
            pipeline.send_signal(signal.SIGINT)
        # Its status is 0 only where all counts are equal.
        last = pipeline.stdout.read().splitlines()[-1]
        assert pipeline.wait(timeout=60) == 0, last + pipeline.stderr.read()
    counts = re.match(r"pipeline: (\d+) rows were published; (\d+) rows came over mqtt, (\d+) through kafka; (\d+) went on", last)
    assert counts and len(set(counts.groups())) == 1 and int(counts[1]) > 500, last


def look_at(url, kafka):
    ask = lambda q: rows_of(requests.get(f"{url}/api/v1/sql", params={"q": q}, timeout=10))
    tables = lambda: {table["name"] for table in requests.get(f"{url}/api/v1/tables", timeout=10).json()["tables"]}
    wait_for(lambda: {"sensors", "readings"} <= tables(), "both tables")
    by_site = lambda table: f"SELECT site, count(*) AS n FROM {table} GROUP BY site"
    wait_for(lambda: sum(row["n"] for row in ask(by_site("readings"))) > 500, "rows through kafka")
    assert len(ask(by_site("sensors"))) > 3
    assert tables() == {"sensors", "readings"}
    record = json.loads(Kafka(kafka).read("sensors-rows", 1)[0].value())
    assert record["table"] == "sensors" and set(record["tags"]) == {"site", "device"}


def test_the_compose_file_says_what_it_should(tmp_path):
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    nodes = {"oribi", "oribi-2", "oribi-3"}
    assert set(services) == nodes | {"mosquitto", "kafka", "simulator"}
    # Nothing is published beyond this machine.
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert len(ports) == 4 and all(port.startswith("127.0.0.1:") for port in ports)
    # The node's own check comes with its image.
    assert all("healthcheck" in services[name] for name in ("mosquitto", "kafka"))
    assert "HEALTHCHECK" in (ROOT / "Dockerfile").read_text() and "USER oribi" in (ROOT / "Dockerfile").read_text()
    for name in nodes:
        command = services[name]["command"].split()
        assert command[0] == "serve" and "--insecure" in command
        assert command[command.index("--advertise") + 1] == f"{name}:8641"
        assert (name == "oribi") or command[command.index("--join") + 1] == "oribi:8641"
    compose = ROOT / "docker-compose.yml"
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(compose.read_text().replace("depends_on", "depends_of"))
    reader = compose_reader()
    assert "depends_of" in subprocess.run([reader, wrong], capture_output=True, text=True).stderr
    done = subprocess.run([reader, compose], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def compose_reader():
    """The program that reads a file as `docker compose` does: Compose's own loader, which needs no engine, built by Go."""
    folder = ROOT / "target" / "compose-go"
    if not shutil.which("go"):
        pytest.skip("there is no go to build the loader of docker compose")
    command = ["go", "install", "github.com/compose-spec/compose-go/v2/cmd@v2.16.2"]
    built = subprocess.run(command, env={**os.environ, "GOBIN": str(folder)}, capture_output=True, text=True)
    if built.returncode != 0:
        pytest.skip(f"the loader of docker compose cannot be built: {built.stderr}")
    return folder / "cmd"
