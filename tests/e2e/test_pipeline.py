"""The pipeline of docker-compose.yml, run from its own files against real brokers, without containers."""

import json
import os
import re
import shutil
import subprocess

import pytest
import requests
import yaml

from conftest import BINARY, ROOT, wait_for
from parts import kafka, mosquitto  # noqa: F401  fixtures


def test_devices_brokers_oribi_and_back(kafka, mosquitto, make_oribi):
    broker = mosquitto().start()
    for name in ("readings", "sensors-rows", "dead-letters"):
        kafka.topic(name=name)
    config = (ROOT / "deploy" / "oribi.toml").read_text()
    config = config.replace("mqtt://mosquitto:1883", f"mqtt://127.0.0.1:{broker.port}")
    config = config.replace("kafka://kafka:9092", f"kafka://{kafka.address}")
    node = make_oribi(config).start()
    states = lambda: {c["name"]: c["state"] for c in requests.get(f"{node.url}/api/v1/connectors", timeout=10).json()["connectors"]}
    wait_for(lambda: set(states().values()) == {"running"}, f"all connectors to run, {states()}")
    command = [str(BINARY), "simulate", "--mqtt", f"127.0.0.1:{broker.port}", "--kafka", kafka.address]
    done = subprocess.run([*command, "--rate", "500", "--for", "4s"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    rows = int(re.match(r"(\d+) rows published", done.stdout).group(1))
    assert rows > 500
    wait_for(lambda: node.count("readings") == rows, f"{rows} rows through kafka, {node.count('readings')}")
    # The last publishes may have been on their way when the simulator ended.
    wait_for(lambda: node.count("sensors") >= rows - 50, f"{rows} rows through mqtt, {node.count('sensors')}")
    sensors = node.count("sensors")
    records = [json.loads(record.value()) for record in kafka.read("sensors-rows", sensors)]
    assert len({record["id"] for record in records}) == sensors
    window = node.rows(table="readings", select="count(*) as n", window="1h", group_by="site")
    assert sum(row["n"] for row in window) == rows and len({row["site"] for row in window}) > 3
    assert node.count("_dead_letters") == 0


def test_the_compose_file_says_what_it_should(tmp_path):
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert set(services) == {"oribi", "mosquitto", "kafka", "simulator"}
    # Nothing is published beyond this machine.
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert len(ports) == 4 and all(port.startswith("127.0.0.1:") for port in ports)
    # The node's own check comes with its image.
    assert all("healthcheck" in services[name] for name in ("mosquitto", "kafka"))
    assert "HEALTHCHECK" in (ROOT / "Dockerfile").read_text() and "USER oribi" in (ROOT / "Dockerfile").read_text()
    command = services["oribi"]["command"].split()
    assert command[0] == "serve" and "--insecure" in command
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
