"""Connectors and dead letters from the command line."""

import json
import subprocess

from conftest import BINARY, wait_for
from parts import mosquitto  # noqa: F401  fixture

ROUTE = """
[[connectors.routes]]
topics = ["plant/#"]
pattern = "plant/{device}"
decoder = "json"
table = "plant"
"""


def oribi(*arguments, node=None):
    environment = {"ORIBI_URL": node.url} if node else {}
    return subprocess.run([str(BINARY), *map(str, arguments)], capture_output=True, text=True, env=environment, timeout=60)


def test_a_payload_is_tried_without_a_node(tmp_path):
    file = tmp_path / "o.toml"
    file.write_text('[[connectors]]\nname = "p"\nkind = "mqtt"\nurl = "mqtt://h"\n' + ROUTE)
    payload = '{"time": 1700000000, "v": 1.5}'
    done = oribi("connectors", "test", file, "--topic", "plant/d1", "--payload", payload)
    (row,) = json.loads(done.stdout)["rows"]
    assert done.returncode == 0 and row["table"] == "plant" and row["tags"] == {"device": "d1"}
    assert row["fields"] == {"v": 1.5} and row["time"] == 1_700_000_000 * 10**9
    (tmp_path / "payload").write_text("{broken")
    done = oribi("connectors", "test", file, "--topic", "plant/d1", "--payload", f"@{tmp_path}/payload")
    assert done.returncode == 1 and json.loads(done.stdout)["reason"] == "syntax"
    file.write_text(file.read_text().replace("pattern", "patern"))
    done = oribi("connectors", "test", file, "--topic", "x", "--payload", "1")
    assert done.returncode != 0 and "connectors.routes.pattern" in done.stderr and "line 8" in done.stderr


def test_connectors_and_replay(mosquitto, make_oribi, tmp_path):
    broker = mosquitto().start()
    wrong = ROUTE.replace('"json"', '"line_protocol"')
    base = f'[[connectors]]\nname = "p"\nkind = "mqtt"\nurl = "mqtt://127.0.0.1:{broker.port}"\n'
    node = make_oribi(base + wrong).start()
    wait_for(lambda: "running" in oribi("connectors", node=node).stdout, "the connector to run")
    broker.send([("plant/d1", '{"v": 1}'), ("plant/d2", '{"v": 2}'), ("plant/d2", "{broken")])
    wait_for(lambda: node.count("_dead_letters") == 3, "letters")
    done = oribi("dead-letters", "replay", node=node)
    assert done.returncode == 1 and done.stdout.startswith("0 stored, 3 refused"), done.stdout + done.stderr
    assert node.stop() == 0
    node.config.write_text(base + ROUTE)
    node.start()
    done = oribi("dead-letters", "replay", "--source", "p", node=node)
    assert done.returncode == 1 and done.stdout.startswith("2 stored, 1 refused"), done.stdout + done.stderr
    assert [row["v"] for row in node.sql("SELECT v FROM plant ORDER BY v")] == [1, 2]
    assert [row["payload"] for row in node.sql("SELECT payload FROM _dead_letters")] == ["{broken"]
    spec = {"name": "q", "kind": "mqtt", "url": f"mqtt://127.0.0.1:{broker.port}", "routes": [{"topics": ["q/#"], "table": "q"}]}
    (tmp_path / "q.json").write_text(json.dumps(spec))
    assert oribi("connectors", "add", tmp_path / "q.json", node=node).returncode == 0
    assert json.loads(oribi("connectors", "pause", "q", node=node).stdout)["state"] == "paused"
    assert json.loads(oribi("connectors", "show", "q", node=node).stdout)["origin"] == "http"
    assert oribi("connectors", "resume", "q", node=node).returncode == 0
    assert oribi("connectors", "delete", "q", node=node).returncode == 0
    gone = oribi("connectors", "show", "q", node=node)
    assert gone.returncode == 1 and "no connector" in gone.stderr
