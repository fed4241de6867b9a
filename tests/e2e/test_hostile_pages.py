"""Pages of others in a real browser, open beside a node that asks for no token."""

import functools
import http.server
import json
import sys
import threading

import pytest
import requests
from conftest import ROOT, wait_for

sys.path.append(str(ROOT / "tests" / "page"))
import browser as window  # noqa: E402

# What a page tries, and what it learns of each.
TRIES = """
const [node, done] = arguments, found = {};
const image = (name, path) => new Promise((end) => {
  const one = new Image();
  one.onload = one.onerror = (event) => { found[name] = event.type; end(); };
  one.src = node + path;
});
const fetched = (name, path, how) => fetch(node + path, how).then(
  async (answer) => { found[name] = [answer.type, answer.status, await answer.text()]; },
  (wrong) => { found[name] = ['failed', 0, String(wrong)]; });
await image('drop by an image', '/query?q=DROP+DATABASE+plant');
await fetched('a row', '/write?db=plant', {method: 'POST', mode: 'no-cors', body: 'loot v=2i 2'});
await fetched('a question', '/api/v1/sql?q=SELECT+*+FROM+plant.loot', {});
await fetched('the tables', '/api/v1/tables', {});
await fetched('a table gone', '/api/v1/tables/loot?db=plant', {method: 'DELETE'});
await fetched('drop by a post', '/query', {method: 'POST', mode: 'no-cors', body: new URLSearchParams({q: 'DROP DATABASE plant'})});
done(found);
"""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """Another server of this machine, whose pages a browser takes for those of the same site."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "index.html").write_text("<title>prizes</title>")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture(scope="module")
def opened():
    """A browser in which the names of strangers lead to this machine."""
    before = window.ARGUMENTS
    window.ARGUMENTS = [one for one in before if "host-resolver" not in one] + ["--host-resolver-rules=MAP *.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"]
    try:
        with window.Browser("http://127.0.0.1", None) as browser:
            browser.driver.set_script_timeout(60)
            yield browser.driver
    finally:
        window.ARGUMENTS = before


@pytest.fixture(scope="module")
def node(shared):
    assert shared.write("loot v=1i 1", db="plant").status_code == 204
    return shared


def try_all(driver, page, node):
    driver.get(page)
    script = f"const end = arguments[arguments.length - 1]; (async (...arguments) => {{ {TRIES} }})(arguments[0], end);"
    found = driver.execute_async_script(script, node)
    assert len(found) == 6, found
    return found


def unharmed(node):
    rows = requests.get(f"{node.url}/api/v1/query", params={"db": "plant", "table": "loot", "select": "count(*)"}, timeout=30).json()["rows"]
    return rows[0][-1] == 1


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "evil.example"])
def test_a_page_of_another_server_gets_nothing(opened, elsewhere, node, name):
    found = try_all(opened, f"http://{name}:{elsewhere}/", node.url)
    assert found["drop by an image"] == "error"
    for what in ("a question", "the tables", "a table gone"):
        assert found[what][0] == "failed", (what, found)
    assert "loot" not in json.dumps(found)
    assert unharmed(node)


def test_a_name_that_was_led_here_gets_nothing(opened, node):
    """The page of a stranger whose name has come to lead to the node: all it asks is of its own origin."""
    origin = f"http://evil.example:{node.http_port}"
    found = try_all(opened, f"{origin}/health", origin)
    for what in ("drop by a post", "a row", "a question", "the tables", "a table gone"):
        assert found[what][1] in (403, 421), (what, found)
    assert found["drop by an image"] == "error" and "loot" not in json.dumps(found)
    assert unharmed(node)


def test_its_own_page_goes_on(opened, node):
    found = try_all(opened, f"{node.url}/", node.url)
    assert found["the tables"][1] == 200 and "loot" in found["the tables"][2]
    # All of it was possible, but for changes by a GET.
    assert found["drop by an image"] == "error" and found["drop by a post"][1] == 200
    wait_for(lambda: requests.get(f"{node.url}/api/v1/query", params={"db": "plant", "table": "loot", "select": "count(*)"}, timeout=30).status_code == 404,
             "the database to be gone")


def test_no_page_shows_the_node_in_a_frame(opened, elsewhere, node):
    opened.get(f"http://127.0.0.1:{elsewhere}/")
    framed = opened.execute_async_script(
        "const end = arguments[arguments.length - 1], frame = document.createElement('iframe');"
        "frame.onload = () => { let inside = null; try { inside = frame.contentDocument && frame.contentDocument.title; } catch (wrong) { inside = null; } end([frame.contentWindow.length, inside]); };"
        "frame.src = arguments[0]; document.body.append(frame);", f"{node.url}/")
    assert framed[1] != "Oribi", framed
    refused = [line["message"] for line in opened.get_log("browser") if "frame" in line["message"].lower()]
    assert refused, "the browser tells of no frame that it refused"
