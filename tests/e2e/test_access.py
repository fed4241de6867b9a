"""Tokens: who comes in, what each may do, and what is told to those who may not."""

import base64
import json
import os
import pathlib
import socket
import subprocess
import sys

import paho.mqtt.client as mqtt
import pytest
import requests

from cluster import Member, until_together
from conftest import BINARY, ROOT, Oribi, wait_for


class Guarded(Oribi):
    """A node on loopback that asks for tokens."""

    def __init__(self, folder, config=""):
        super().__init__(folder, "[auth]\nmode = 'on'\n" + config)

    @property
    def admin(self):
        return (self.data_dir / "admin.token").read_text().strip()

    def ask(self, method, path, token=None, **rest):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers.update(rest.pop("headers", {}))
        return requests.request(method, f"{self.url}{path}", headers=headers, timeout=60, **rest)

    def token(self, name, **members):
        answer = self.ask("POST", "/api/v1/tokens", self.admin, json={"name": name, **members})
        assert answer.status_code == 201, answer.text
        return answer.json()["token"]

    def cli(self, *args, token=None):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ORIBI_")}
        environment.update({"ORIBI_URL": self.url, "ORIBI_DATA_DIR": str(self.data_dir)})
        if token:
            environment["ORIBI_TOKEN"] = token
        return subprocess.run([str(BINARY), *args], env=environment, capture_output=True, text=True, timeout=60)


def grant(may, db="default", table="*"):
    return {"may": may, "db": db, "table": table}


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    node = Guarded(tmp_path_factory.mktemp("guarded")).start()
    assert node.ask("POST", "/write", node.admin, data="sensors t=1 1\nother t=1 1\n").status_code == 204
    yield node
    node.close()


# What each path needs: nothing, any token, a right on the table, ops or all.
PATHS = [
    ("GET", "/health", "nothing"), ("GET", "/ping", "nothing"), ("GET", "/ready", "nothing"),
    ("GET", "/openapi.json", "nothing"), ("GET", "/", "nothing"), ("GET", "/page/main.js", "nothing"),
    ("GET", "/api/v1/whoami", "token"), ("GET", "/api/v1/node", "token"), ("GET", "/api/v1/tables", "token"),
    ("GET", "/api/v2/buckets", "token"), ("GET", "/query?q=SHOW+DATABASES", "token"),
    ("GET", "/api/v1/query?table=TABLE&select=count(*)", "read"), ("GET", "/api/v1/sql?q=SELECT+*+FROM+TABLE", "read"),
    ("POST", "/write", "write"), ("POST", "/api/v2/write?bucket=default", "write"),
    ("POST", "/api/v1/write?table=TABLE&format=json", "write"),
    ("PUT", "/api/v1/tables/TABLE", "admin"), ("POST", "/api/v1/tables/TABLE/delete?end=1970-01-01T00:00:00Z", "admin"),
    ("GET", "/metrics", "ops"), ("POST", "/api/v1/compact", "ops"), ("GET", "/api/v1/connectors", "ops"),
    ("POST", "/api/v1/dead-letters/replay", "ops"), ("GET", "/api/v1/tokens", "all"), ("GET", "/api/v1/cluster", "all"),
    ("GET", "/api/v1/tablets", "all"), ("POST", "/api/v1/connectors", "all"), ("POST", "/api/v1/cluster/join-secret", "all"),
]
MAY = {"nobody": set(), "read": {"token", "read"}, "write": {"token", "write"}, "admin": {"token", "read", "write", "admin"},
       "other": {"token"}, "ops": {"token", "ops"}, "all": {"token", "read", "write", "admin", "ops", "all"}}


def test_each_path_with_each_credential(node):
    tokens = {"nobody": None, "all": node.admin}
    for may in ("read", "write", "admin"):
        tokens[may] = node.token(f"m-{may}", grants=[grant(may, table="sensors")])
    tokens["other"] = node.token("m-other", grants=[grant("admin", table="elsewhere")])
    tokens["ops"] = node.token("m-ops", ops=True)
    for who, token in tokens.items():
        for method, path, needs in PATHS:
            data = "sensors t=2 2\n" if path.startswith(("/write", "/api/v2/write")) else "[]" if "format=json" in path else "{}"
            data = data if method in ("POST", "PUT") and "tables" not in path and "compact" not in path and "replay" not in path else None
            answer = node.ask(method, path.replace("TABLE", "sensors"), token, data=data)
            told = f"{who} {method} {path}: {answer.status_code} {answer.text[:200]}"
            if needs == "nothing" or needs in MAY[who]:
                assert answer.status_code not in (401, 403), told
            elif who == "nobody":
                assert answer.status_code == 401, told
            else:
                assert answer.status_code == 403, told
            if "/api/" in path and token:
                assert answer.headers["cache-control"] == "no-store", told
    assert node.ask("GET", "/nowhere").status_code == 404


def test_refusals_are_the_same_whether_or_not_a_table_exists(node):
    token = node.token("blind", grants=[grant("read", table="nothing")])
    for method, path in [("GET", "/api/v1/query?table={}&select=count(*)"), ("GET", "/api/v1/sql?q=SELECT+*+FROM+{}"),
                         ("GET", "/api/v1/sql?q=SELECT+1+FROM+{}+UNION+SELECT+1"), ("DELETE", "/api/v1/tables/{}"),
                         ("GET", "/api/v1/sql?q=WITH+a+AS+(SELECT+*+FROM+{})+SELECT+*+FROM+a"),
                         ("POST", "/api/v1/write?table={}&format=json"), ("POST", "/api/v1/tables/{}/delete")]:
        bodies = []
        for table in ("sensors", "sensorz"):
            answer = node.ask(method, path.format(table), token, data="[]" if "format" in path else None)
            assert answer.status_code == 403, (path, answer.text)
            body = answer.json()
            assert body["needs"]["table"] == table and not body.get("near") and not body.get("columns"), body
            bodies.append(answer.text.replace(table, "T"))
        assert bodies[0] == bodies[1]
    names = node.ask("GET", "/api/v1/sql?q=SELECT+table_name+FROM+information_schema.tables", token).text
    assert "sensors" not in names
    assert node.ask("GET", "/api/v1/tables", token).json()["tables"] == []
    assert node.ask("GET", "/api/v1/query?table=nothin&select=count(*)", token).status_code == 403
    missing = node.ask("GET", "/api/v1/query?table=nothing&select=count(*)", token)
    assert missing.status_code == 404 and not missing.json().get("near")


def test_a_star_reaches_nothing_of_everybodys(node):
    every = node.token("every", grants=[grant("read", "*", "*")])
    assert node.ask("GET", "/api/v1/query?table=_dead_letters&select=count(*)", every).status_code == 403
    named = node.token("named", grants=[grant("read", "*", "_dead_letters")])
    assert node.ask("GET", "/api/v1/query?table=_dead_letters&select=count(*)", named).status_code in (200, 404)


def test_every_form_of_a_token_that_clients_have(node):
    token = node.token("forms", grants=[grant("write"), grant("read")])
    basic = base64.b64encode(f"anybody:{token}".encode()).decode()
    for value in (f"Bearer {token}", f"bearer {token}", f"Token {token}", f"Token anybody:{token}", f"Basic {basic}"):
        assert node.ask("GET", "/api/v1/whoami", headers={"Authorization": value}).json()["name"] == "forms"
    assert node.ask("POST", f"/write?u=x&p={token}", data="forms v=1 1").status_code == 204
    assert node.ask("GET", f"/api/v1/whoami?p={token}").status_code == 401
    differ = node.ask("POST", f"/write?p={token}x", token, data="forms v=1 1")
    assert differ.status_code == 400
    for wrong, reason in [("oribi_abc", "cut"), ("x", "malformed"), ("x" * 1_000, "malformed"), ("oribi_" + "x" * 24, "unknown")]:
        answer = node.ask("GET", "/api/v1/whoami", wrong)
        assert (answer.status_code, answer.json()["reason"]) == (401, reason)
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    for value in ("Digest x", "Basic !!!", "Basic " + base64.b64encode(b"nocolon").decode(), token):
        answer = node.ask("GET", "/api/v1/whoami", headers={"Authorization": value})
        assert (answer.status_code, answer.json()["reason"]) == (401, "malformed")


def raw(node, head):
    """What the node answers to `head`; as much of it as came before a reset, where it stopped listening."""
    answer = b""
    with socket.create_connection(("127.0.0.1", node.http_port), timeout=30) as stream:
        try:
            stream.sendall(head)
            stream.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # The node closed while the head was still being sent; its answer may be here all the same.
        try:
            while part := stream.recv(65_536):
                answer += part
        except ConnectionResetError:
            pass
    return answer.decode(errors="replace")


def test_hostile_headers(node):
    line = "GET /api/v1/whoami HTTP/1.1\r\nHost: x\r\n"
    twice = raw(node, f"{line}Authorization: Bearer {node.admin}\r\nAuthorization: Bearer {node.admin}\r\n\r\n".encode())
    assert twice.startswith("HTTP/1.1 400")
    for value in (b"Bearer \xff\xfe\xff", b"Bearer " + b"x" * 8_000):
        assert raw(node, line.encode() + b"Authorization: " + value + b"\r\n\r\n").startswith("HTTP/1.1 401")
    # A head beyond every bound is refused; whoever still sends it may see a reset in place of the answer.
    beyond = raw(node, line.encode() + b"Authorization: Bearer " + b"x" * 1_000_000 + b"\r\n\r\n")
    assert beyond == "" or beyond.split(" ")[1] in ("400", "431"), beyond[:200]
    assert node.ask("GET", "/api/v1/whoami", node.admin).status_code == 200


def test_challenges_are_for_programs_and_not_for_browsers(node):
    program = node.ask("GET", "/api/v1/whoami")
    assert "Basic" in program.headers["www-authenticate"] and program.json()["reason"] == "missing"
    for headers in ({"User-Agent": "Mozilla/5.0"}, {"Sec-Fetch-Site": "same-origin"}, {"Origin": node.url}):
        answer = node.ask("GET", "/api/v1/whoami", headers=headers)
        assert answer.status_code == 401 and "Basic" not in answer.headers["www-authenticate"]
    influx = node.ask("POST", "/write", data="x v=1 1")
    assert influx.status_code == 401 and influx.json()["code"] == "unauthorized" and influx.headers["x-influxdb-error"]


def test_a_write_of_which_some_tables_are_allowed(node):
    token = node.token("half", grants=[grant("write", table="mine")])
    answer = node.ask("POST", "/write", token, data="mine v=1 1\nyours v=1 1\nmine v=2 2\n")
    assert answer.status_code == 400 and answer.json()["line"] == 2, answer.text
    assert node.ask("GET", "/api/v1/query?table=mine&select=count(*)", node.admin).json()["rows"][0][-1] == 2
    assert node.ask("GET", "/api/v1/query?table=yours&select=count(*)", node.admin).status_code == 404
    none = node.ask("POST", "/write", token, data="yours v=1 1\n")
    assert none.status_code == 403 and none.json()["code"] == "forbidden", none.text
    assert node.ask("POST", "/write?db=elsewhere", token, data="mine v=1 1\n").status_code == 403


def test_databases_are_made_and_dropped_by_who_may(node):
    token = node.token("maker", grants=[grant("write", "made", "*")])
    assert node.ask("POST", "/query?q=CREATE+DATABASE+made", token).status_code == 200
    assert node.ask("POST", "/query?q=CREATE+DATABASE+elsewhere", token).status_code == 403
    assert node.ask("POST", "/query?q=DROP+DATABASE+made", token).status_code == 403
    shown = node.ask("GET", "/query?q=SHOW+DATABASES", token).json()
    assert shown["results"][0]["series"][0]["values"] == [["made"]]


def test_a_life_of_a_token(node):
    first = node.token("life", grants=[grant("read")], note="n")
    taken = node.ask("POST", "/api/v1/tokens", node.admin, json={"name": "life"})
    assert taken.status_code == 409
    shown = node.ask("GET", "/api/v1/tokens/life", node.admin).json()
    assert "token" not in shown and shown["note"] == "n" and shown["created_by"].startswith("admin-file@")
    assert first not in json.dumps(shown)
    second = node.ask("POST", "/api/v1/tokens/life/rotate", node.admin).json()["token"]
    assert all(node.ask("GET", "/api/v1/whoami", one).status_code == 200 for one in (first, second))
    third = node.ask("POST", "/api/v1/tokens/life/rotate", node.admin, json={"keep_old": "0"}).json()["token"]
    assert [node.ask("GET", "/api/v1/whoami", one).status_code for one in (first, second, third)] == [401, 401, 200]
    patched = node.ask("PATCH", "/api/v1/tokens/life", node.admin, json={"ops": True})
    assert patched.status_code == 200 and node.ask("GET", "/metrics", third).status_code == 200
    gone = node.ask("DELETE", "/api/v1/tokens/life", node.admin)
    assert gone.json() == {"nodes": 1, "confirmed": 1, "waiting": []}
    assert node.ask("GET", "/api/v1/whoami", third).json()["reason"] == "unknown"
    assert node.ask("DELETE", "/api/v1/tokens/life", node.admin).status_code == 404
    short = node.token("short", ops=True, expires="50ms")
    wait_for(lambda: node.ask("GET", "/api/v1/whoami", short).json().get("reason") == "expired", "the token to end")


def test_anonymous_is_whoever_shows_nothing(make_guarded):
    node = make_guarded().start()
    assert node.ask("GET", "/api/v1/whoami").status_code == 401
    rights = {"grants": [grant("read", table="open")]}
    assert node.ask("PATCH", "/api/v1/tokens/anonymous", node.admin, json=rights).status_code == 200
    assert node.ask("GET", "/api/v1/whoami").json()["via"] == "anonymous"
    assert node.ask("GET", "/api/v1/query?table=open&select=count(*)").status_code == 404
    assert node.ask("GET", "/api/v1/whoami", "oribi_" + "x" * 24).status_code == 401


@pytest.fixture
def make_guarded(tmp_path):
    made = []

    def make(config=""):
        made.append(Guarded(tmp_path, config))
        return made[-1]

    yield make
    for node in made:
        node.close()


def test_a_lost_admin_token_and_a_restart(make_guarded):
    node = make_guarded().start()
    first = node.admin
    assert (node.data_dir / "admin.token").stat().st_mode & 0o777 == 0o600
    device = node.token("kept", grants=[grant("write")])
    made = node.cli("token", "admin", "--data-dir", str(node.data_dir))
    assert made.returncode == 0 and made.stdout.strip().endswith("admin.token")
    assert node.admin != first
    wait_for(lambda: node.ask("GET", "/api/v1/whoami", node.admin).status_code == 200, "the new admin token")
    assert node.ask("GET", "/api/v1/whoami", first).status_code == 401
    assert node.stop() == 0
    node.start()
    assert node.ask("GET", "/api/v1/whoami", device).json()["name"] == "kept"
    log = node.log.read_text()
    assert first not in log and device not in log and node.admin not in log


def test_the_command_line(node, tmp_path):
    made = node.cli("token", "create", "cli", "--read", "default/sensors", "--topic", "a/%u", "--expires", "90d")
    secret = made.stdout.strip()
    assert made.returncode == 0 and len(secret) == 30, made.stderr
    assert json.loads(node.cli("whoami", token=secret).stdout)["name"] == "cli"
    refused = node.cli("token", "list", token=secret)
    assert refused.returncode == 1 and "all is needed" in refused.stderr
    assert "cli" in node.cli("token", "list").stdout and "cli" in node.cli("token", "list", "--expiring", "91d").stdout
    assert "cli" not in node.cli("token", "list", "--expiring", "1d").stdout
    assert secret not in node.cli("token", "show", "cli").stdout
    assert "sensors" in node.cli("sql", "SELECT * FROM sensors", token=secret).stdout or True
    assert node.cli("sql", "SELECT * FROM other", token=secret).returncode == 1
    assert len(node.cli("token", "rotate", "cli", "--keep-old", "1h").stdout.strip()) == 30
    assert "1 of 1" in node.cli("token", "revoke", "cli").stdout
    fleet = tmp_path / "devices.csv"
    fleet.write_text("name,write,topic\n" + "".join(f"dev{n},default/sensors,sensors/+/%u\n" for n in range(1_200)))
    out = tmp_path / "secrets.csv"
    imported = node.cli("token", "import", str(fleet), "--out", str(out))
    assert imported.returncode == 0, imported.stderr
    assert out.stat().st_mode & 0o777 == 0o600 and len(out.read_text().splitlines()) == 1_201
    token_file = tmp_path / "token"
    token_file.write_text(out.read_text().splitlines()[7].split(",")[1] + "\n")
    assert json.loads(node.cli("whoami", "--token-file", str(token_file)).stdout)["name"] == "dev6"
    assert node.cli("health").returncode == 0


def test_clients_of_others(node):
    token = node.token("others", grants=[grant("read"), grant("write")])
    influxdb = pytest.importorskip("influxdb_client")
    for secret, ok in ((token, True), ("oribi_" + "x" * 24, False)):
        client = influxdb.InfluxDBClient(url=node.url, token=secret, org="-")
        write = client.write_api(write_options=influxdb.client.write_api.SYNCHRONOUS)
        if ok:
            write.write(bucket="default", record="others v=1 1")
        else:
            with pytest.raises(Exception) as wrong:
                write.write(bucket="default", record="others v=1 1")
            assert "unauthorized" in str(wrong.value).lower()
    assert node.ask("GET", "/api/v1/query?table=others&select=count(*)", token).json()["rows"][0][-1] == 1


def published(node, name, secret, topic, payload, protocol=mqtt.MQTTv5, qos=1):
    """The reason of CONNACK, and of PUBACK where it came that far."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=f"{name}-1", protocol=protocol)
    client.username_pw_set(name, secret)
    came = {}
    client.on_connect = lambda c, u, f, reason, p: came.update(connect=reason)
    client.on_publish = lambda c, u, mid, reason, p: came.update(publish=reason)
    client.connect("127.0.0.1", node.mqtt_port)
    client.loop_start()
    try:
        wait_for(lambda: "connect" in came, "CONNACK")
        if came["connect"].is_failure:
            return came["connect"].value, None
        client.publish(topic, payload, qos=qos)
        wait_for(lambda: "publish" in came, "the ack")
        return came["connect"].value, came["publish"].value
    finally:
        client.disconnect()
        client.loop_stop()


def test_devices(node):
    secret = node.token("dev-a", grants=[grant("write", table="sensors")], topics=["sensors/+/%u"])
    assert published(node, "dev-a", secret, "sensors/north/dev-a", '{"t":1}') == (0, 0)
    assert published(node, "dev-a", secret, "sensors/north/dev-b", '{"t":1}') == (0, 0x87)
    assert published(node, "dev-a", secret, "sensors/north/dev-a", "other v=1 1") == (0, 0x87)
    assert published(node, "dev-a", secret, "sensors/north/dev-b", '{"t":1}', mqtt.MQTTv311)[1] == 0
    assert published(node, "dev-a", secret[:20], "sensors/north/dev-a", "1")[0] == 0x86
    assert node.ask("GET", "/api/v1/query?table=sensors&select=count(*)&where=device='dev-b'", node.admin).json()["rows"] in ([], [[None, 0]])
    shown = node.ask("GET", "/api/v1/tokens/dev-a", node.admin).json()
    assert shown["denied"] == 3 and shown["last_denied"]["client_id"] == "dev-a-1"
    figures = node.ask("GET", "/metrics", node.admin).text
    assert "oribi_mqtt_denied_total 3" in figures and 'oribi_auth_failures_total{via="mqtt",reason="cut"} 1' in figures


def test_a_device_is_cut_off_when_its_token_is_taken_back(node):
    secret = node.token("dev-r", grants=[grant("write", table="sensors")])
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="dev-r", protocol=mqtt.MQTTv5)
    client.username_pw_set("dev-r", secret)
    came = {}
    client.on_connect = lambda c, u, f, reason, p: came.update(connect=reason)
    client.on_disconnect = lambda c, u, f, reason, p: came.setdefault("disconnect", reason)
    client.connect("127.0.0.1", node.mqtt_port)
    client.loop_start()
    wait_for(lambda: "connect" in came, "CONNACK")
    assert node.ask("DELETE", "/api/v1/tokens/dev-r", node.admin).status_code == 200
    wait_for(lambda: "disconnect" in came, "the end of the connection")
    client.disconnect()
    client.loop_stop()
    assert came["disconnect"].value == 0x87


def test_nothing_asks_for_a_token_on_loopback(oribi):
    assert requests.get(f"{oribi.url}/api/v1/whoami", timeout=30).json()["via"] == "off"
    assert oribi.write("x v=1 1", u="a", p="b").status_code == 204
    assert not pathlib.Path(oribi.data_dir, "admin.token").exists()
    made = requests.get(f"{oribi.url}/api/v1/node", timeout=30, headers={"Authorization": "Bearer nonsense"}).json()
    assert (made["auth"], made["tls"]) == ("off", "off")


def test_the_page_asks_for_a_token_and_never_shows_it(node, tmp_path):
    sys.path.append(str(ROOT / "tests" / "page"))
    from browser import Browser

    token = node.token("page", grants=[grant("read", table="sensors")])
    with Browser(node.url, tmp_path) as browser:
        driver = browser.driver
        driver.get(node.url)
        wait_for(lambda: driver.execute_script("return document.querySelector('#login')?.open"), "the question for a token")
        driver.execute_script("document.querySelector('#login-token').value = arguments[0]; document.querySelector('#login form').requestSubmit()", token)
        wait_for(lambda: driver.execute_script("return document.querySelector('#curl')?.textContent.includes('curl')"), "the chart")
        assert driver.execute_script("return sessionStorage.getItem('oribi-token')") == token
        curl = driver.execute_script("return document.querySelector('#curl').textContent")
        assert '-H "Authorization: Bearer $ORIBI_TOKEN"' in curl and token not in curl
        assert token not in driver.current_url and token not in driver.execute_script("return document.body.innerText")
        wait_for(lambda: driver.execute_script("return document.querySelector('#rates').hidden"), "the rates to hide")
        driver.get(f"{node.url}/cluster")
        wait_for(lambda: "all is needed" in driver.execute_script("return document.body.innerText"), "the refusal")


class GuardedMember(Member):
    """A node of a cluster that asks for tokens."""

    def __init__(self, folder, join=()):
        super().__init__(folder, join)
        secret = folder.parent / "join.secret"
        if not join:
            secret.write_text("0123456789abcdef" * 2)
            secret.chmod(0o600)
        self.config.write_text(self.config.read_text() + f"join_secret_file = '{secret}'\n[auth]\nmode = 'on'\n")

    @property
    def bearer(self):
        return {"Authorization": f"Bearer {(self.data_dir / 'admin.token').read_text().strip()}"}

    def cluster(self):
        return requests.get(f"{self.url}/api/v1/cluster", timeout=10, headers=self.bearer).json()


def test_tokens_of_a_cluster(tmp_path):
    members = [GuardedMember(tmp_path / "one").start()]
    try:
        for name in ("two", "three"):
            members.append(GuardedMember(tmp_path / name, [members[0].address]).start())
        until_together(members)
        made = requests.post(f"{members[1].url}/api/v1/tokens", timeout=30, headers=members[1].bearer,
                             json={"name": "dev", "grants": [grant("write", table="sensors")]})
        assert made.status_code == 201, made.text
        secret = made.json()["token"]
        # At once on every node, though only one of them was told.
        for member in members:
            answer = requests.get(f"{member.url}/api/v1/whoami", timeout=30, headers={"Authorization": f"Bearer {secret}"})
            assert answer.status_code == 200 and answer.json()["name"] == "dev", answer.text
        # The admin's token is that of one node alone.
        other = requests.get(f"{members[1].url}/api/v1/whoami", timeout=30, headers=members[0].bearer)
        assert other.status_code == 401
        ends, clients = [], []
        for at, member in enumerate(members):
            client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=f"dev-{at}", protocol=mqtt.MQTTv5)
            client.username_pw_set("dev", secret)
            client.on_disconnect = lambda c, u, f, reason, p: (ends.append(reason.value), c.disconnect())
            client.connect("127.0.0.1", member.mqtt_port)
            client.loop_start()
            clients.append(client)
        for at, client in enumerate(clients):
            wait_for(client.is_connected, "CONNACK")
            sent = client.publish("sensors/s/d", json.dumps({"t": at}), qos=1)
            sent.wait_for_publish(30)
        gone = requests.delete(f"{members[2].url}/api/v1/tokens/dev", timeout=30, headers=members[2].bearer).json()
        assert gone == {"nodes": 3, "confirmed": 3, "waiting": []}
        for member in members:
            answer = requests.get(f"{member.url}/api/v1/whoami", timeout=30, headers={"Authorization": f"Bearer {secret}"})
            assert answer.status_code == 401
        wait_for(lambda: len(ends) >= 3, "the devices to be cut off")
        assert ends[:3] == [0x87] * 3
        for client in clients:
            client.loop_stop()
    finally:
        for member in members:
            member.close()


@pytest.mark.parametrize("protocol", [mqtt.MQTTv311, mqtt.MQTTv5])
def test_a_revocation_under_load(node, protocol):
    """What was acked is stored, and nothing is acked once the device was cut off."""
    name = f"load-{protocol}"
    table = f"load{protocol}"
    secret = node.token(name, grants=[grant("write", table=table)])
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=protocol)
    client.username_pw_set(name, secret)
    acked, refused = set(), []
    client.on_publish = lambda c, u, mid, reason, p: acked.add(mid)
    client.on_connect = lambda c, u, f, reason, p: refused.append(reason) if reason.is_failure else None
    client.connect("127.0.0.1", node.mqtt_port)
    client.loop_start()
    wait_for(client.is_connected, "CONNACK")
    sent = 0

    def publish():
        nonlocal sent
        for _ in range(20):
            sent += 1
            client.publish(f"{table}/x", f"{table} v={sent} {sent}\n", qos=1)
        return len(acked)

    wait_for(lambda: publish() > 200, "acks")
    assert node.ask("DELETE", f"/api/v1/tokens/{name}", node.admin).status_code == 200
    wait_for(lambda: publish() and refused, "the refusal of the next try")
    at_refusal = len(acked)
    client.disconnect()
    client.loop_stop()
    rows = node.ask("GET", f"/api/v1/query?table={table}&select=count(*)", node.admin).json()["rows"][0][-1]
    assert at_refusal == len(acked) <= rows <= sent
    # Some were stored whose ack was under way; none came in later.
    assert rows == node.ask("GET", f"/api/v1/query?table={table}&select=count(*)", node.admin).json()["rows"][0][-1]
