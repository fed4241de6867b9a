"""The audit log: who did what is in it, nothing secret is, and a flood of refusals fills no disk."""

import json
import os
import subprocess

import paho.mqtt.client as mqtt
import pytest
import requests

from conftest import BINARY, Oribi, wait_for

PLANTED = "planted-password-9f3a"


class Guarded(Oribi):
    """A node with tokens on."""

    def __init__(self, folder):
        super().__init__(folder, "[auth]\nmode = 'on'\n")

    @property
    def admin(self):
        return (self.data_dir / "admin.token").read_text().strip()

    def ask(self, method, path, token=None, **more):
        headers = {"Authorization": f"Bearer {token or self.admin}", **more.pop("headers", {})}
        return requests.request(method, f"{self.url}{path}", headers=headers, timeout=60, **more)

    def entries(self, **params):
        answer = self.ask("GET", "/api/v1/audit", params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()["entries"]

    def files(self):
        return b"".join(path.read_bytes() for path in sorted((self.data_dir / "audit").iterdir()))


@pytest.fixture
def node(tmp_path):
    made = Guarded(tmp_path).start()
    yield made
    made.close()


def test_who_did_what_is_noted_and_nothing_secret(node):
    made = node.ask("POST", "/api/v1/tokens", json={"name": "dev", "grants": [{"may": ["write", "read"], "db": "default", "table": "m"}]},
                    headers={"X-Request-Id": "deploy-17"})
    assert made.status_code == 201 and made.headers["x-request-id"] == "deploy-17"
    secret = made.json()["token"]
    rotated = node.ask("POST", "/api/v1/tokens/dev/rotate", json={"keep_old": "0s"}).json()["token"]
    assert node.ask("POST", "/write", rotated, data="m v=1i 1700000000000000000").status_code == 204
    assert node.ask("GET", "/api/v1/query", rotated, params={"table": "m", "select": "count(*)"}).status_code == 200
    assert node.ask("PUT", "/api/v1/tables/m", json={"retention": "30d"}).status_code == 200
    assert node.ask("POST", "/query", params={"q": "CREATE DATABASE plant"}).status_code == 200
    assert node.ask("POST", "/query", params={"q": "DROP DATABASE plant"}).status_code == 200
    connector = {"name": "far", "kind": "mqtt", "url": "mqtt://127.0.0.1:9", "username": "u", "password": PLANTED,
                 "topics": [{"filter": "a/#", "table": "m"}]}
    put = node.ask("POST", "/api/v1/connectors", json=connector)
    refused = node.ask("DELETE", "/api/v1/tables/m", rotated)
    assert refused.status_code == 403
    assert node.ask("DELETE", "/api/v1/tables/none").status_code == 404
    assert node.ask("DELETE", "/api/v1/tokens/dev").status_code == 200

    entries = node.entries()
    seen = [(one["event"], one.get("object"), one["result"], one.get("who")) for one in entries]
    admin = "admin-file@1"
    expected = [
        ("started", "tokens on, tls off", "ok", None),
        ("token_made", "dev", "ok", admin),
        ("token_rotated", "/api/v1/tokens/dev/rotate", "ok", admin),
        ("table_altered", "/api/v1/tables/m", "ok", admin),
        ("database_made", "plant", "ok", admin),
        ("database_dropped", "plant", "ok", admin),
        ("connector_made", "far" if put.ok else "/api/v1/connectors", "ok" if put.ok else "refused", admin),
        ("table_dropped", "/api/v1/tables/m", "refused", "dev"),
        ("table_dropped", "/api/v1/tables/none", "refused", admin),
        ("token_revoked", "/api/v1/tokens/dev", "ok", admin),
    ]
    assert seen == expected
    first = entries[1]
    assert first["request_id"] == "deploy-17" and first["from"] == "127.0.0.1" and first["via"] == "http" and first["node"] == 1
    assert entries == sorted(entries, key=lambda one: one["time"])
    assert entries[7]["reason"].startswith("403") and entries[7]["token_id"] > 0
    assert node.entries(limit=2) == entries[-2:]
    files = node.files() + node.log.read_bytes()
    for hidden in (secret, rotated, node.admin, PLANTED):
        assert hidden.encode() not in files
    folder = node.data_dir / "audit"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_the_log_is_for_who_may_do_all_and_comes_over_the_command_line(node):
    made = node.ask("POST", "/api/v1/tokens", json={"name": "ops", "ops": True}).json()["token"]
    assert node.ask("GET", "/api/v1/audit", made).status_code == 403
    for params in ({"since": "soon"}, {"limit": "0"}, {"limit": "10001"}, {"until": "1h"}):
        assert node.ask("GET", "/api/v1/audit", params=params).status_code == 400, params
    environment = {**os.environ, "ORIBI_URL": node.url, "ORIBI_TOKEN": node.admin}
    shown = subprocess.run([str(BINARY), "audit", "--since", "1h"], env=environment, capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0, shown.stderr
    assert [json.loads(line) for line in shown.stdout.splitlines()] == node.entries()
    # What was before is kept, and so is the end.
    assert node.stop() == 0
    node.start()
    events = [one["event"] for one in node.entries()]
    assert events == ["started", "token_made", "stopped", "started"]


def test_refused_logins_are_joined(node):
    for _ in range(40):
        assert node.ask("GET", "/api/v1/tables", "oribi_" + "x" * 24).status_code == 401
    assert node.ask("GET", "/api/v1/tables", "oribi_short").status_code == 401
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5, reconnect_on_failure=False)
    client.username_pw_set("dev", "oribi_" + "y" * 24)
    client.connect("127.0.0.1", node.mqtt_port)
    client.loop_start()
    refused = lambda: [one for one in node.entries() if one["event"] == "login_refused"]
    wait_for(lambda: len(refused()) >= 3, "the refusals")
    client.loop_stop()
    assert {(one["via"], one["reason"], one["from"]) for one in refused()} == {
        ("http", "unknown", "127.0.0.1"), ("http", "cut", "127.0.0.1"), ("mqtt", "unknown", "127.0.0.1")}
    # What was joined is told at the end, whether or not a minute has passed in between.
    assert node.stop() == 0
    node.start()
    of_http = [one["count"] for one in refused() if (one["via"], one["reason"]) == ("http", "unknown")]
    assert sum(of_http) == 40 and len(of_http) <= 4


def test_a_change_that_cannot_be_noted_is_refused_and_rows_go_on(node):
    assert node.ask("POST", "/write", data="m v=1i 1700000000000000000").status_code == 204
    assert node.stop() == 0
    folder = node.data_dir / "audit"
    folder.rename(folder.with_name("kept"))
    folder.write_text("a file is in the way")
    node.start()
    refused = node.ask("DELETE", "/api/v1/tables/m")
    assert refused.status_code == 507 and "nothing was changed" in refused.json()["detail"], refused.text
    assert node.ask("POST", "/write", data="m v=2i 1700000000000000001").status_code == 204
    rows = node.ask("GET", "/api/v1/query", params={"table": "m", "select": "count(*) as n"}).json()["rows"]
    assert rows[0][-1] == 2
    folder.unlink()
    folder.with_name("kept").rename(folder)
    assert node.ask("DELETE", "/api/v1/tables/m").status_code in (200, 204)
