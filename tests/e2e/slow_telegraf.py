"""Telegraf's outputs while their token is rotated: nothing is lost. Building them takes some minutes.

Run by name: target/venv/bin/python -m pytest tests/e2e/slow_telegraf.py
"""

import pytest
import requests

from parts import script
from test_access import grant
from test_client_certificates import rows, token
from test_secured_clients import Spoken
from test_tls import Reached

BATCHES, ROWS = 20, 50


@pytest.fixture(scope="session")
def telegraf():
    return script("telegraf", part="clients")[-1]


@pytest.fixture
def node(tmp_path):
    node = Reached(tmp_path).start()
    yield node
    node.close()


def output(node, version, secret):
    urls = f'urls = ["{node.secure_url}"]\ntls_ca = "{node.authority}"\n'
    if version == 1:
        return f'[[outputs.influxdb]]\n{urls}database = "default"\nskip_database_creation = true\nusername = "u"\npassword = "{secret}"\n'
    return f'[[outputs.influxdb_v2]]\n{urls}token = "{secret}"\norganization = "o"\nbucket = "default"\n'


class Agent:
    """Telegraf with one output."""

    def __init__(self, program, node, version, secret, folder):
        path = folder / "telegraf.toml"
        path.write_text(output(node, version, secret))
        self.spoken = Spoken(program, path)

    def write(self, start):
        for at in range(start, start + ROWS):
            self.spoken.tell(at)
        self.spoken.tell("write")
        # Its log comes in between.
        said = ""
        while not said.split(" ")[0].isdigit():
            said = self.spoken.heard.get(timeout=60)
        return said

    def end(self):
        assert self.spoken.end() == 0


def rotate(node, name, keep_old):
    admin = {"Authorization": f"Bearer {(node.data_dir / 'admin.token').read_text().strip()}"}
    answer = requests.post(f"{node.url}/api/v1/tokens/{name}/rotate", json={"keep_old": keep_old}, headers=admin, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()["token"]


@pytest.mark.parametrize("version", [1, 2])
def test_a_rotation_loses_no_row(telegraf, node, version, tmp_path):
    secret = token(node, "telegraf", grants=[grant("write", table="m")])
    agent = Agent(telegraf, node, version, secret, tmp_path)
    for batch in range(BATCHES):
        if batch == BATCHES // 4:
            secret = rotate(node, "telegraf", "1h")
        if batch == BATCHES // 2:
            # Within the hour the agent gets the new one.
            agent.end()
            agent = Agent(telegraf, node, version, secret, tmp_path)
        assert agent.write(batch * ROWS) == "0 <nil>", batch
    agent.end()
    assert rows(node, "m") == BATCHES * ROWS


@pytest.mark.parametrize("version", [1, 2])
def test_what_is_lost_without_an_overlap(telegraf, node, version, tmp_path):
    """Version 1 drops what is refused, version 2 keeps it."""
    secret = token(node, "telegraf", grants=[grant("write", table="m")])
    agent = Agent(telegraf, node, version, secret, tmp_path)
    assert agent.write(0) == "0 <nil>"
    rotate(node, "telegraf", "0")
    said = agent.write(ROWS)
    assert said.split()[0] == {1: "0", 2: str(ROWS)}[version], said
    assert rows(node, "m") == ROWS
