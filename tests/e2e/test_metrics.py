"""/metrics as scrapers read it: the rules of Prometheus's text format, and `promtool check metrics` where there is one."""

import re
import shutil
import subprocess

import requests

from conftest import wait_for

CONFIG = """
[[connectors]]
name = "nowhere"
kind = "mqtt"
url = "mqtt://127.0.0.1:1"
[[connectors.routes]]
topics = ["a"]

[[connectors]]
name = "odd \\"name\\""
kind = "kafka_sink"
url = "kafka://127.0.0.1:1"
[[connectors.feeds]]
table = "t"
topic = "t"
"""
SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{.*\})? (\S+)$")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')


def families(text):
    """Samples by the family that HELP and TYPE announced right before them."""
    found, family, announced = {}, None, {}
    for line in text.splitlines():
        assert line == line.strip() and line, repr(line)
        if line.startswith("# "):
            _, word, name, rest = line.split(" ", 3)
            assert word in ("HELP", "TYPE") and rest, line
            assert (word, name) not in announced, f"twice: {line}"
            announced[word, name] = rest
            family = name
            continue
        name, labels, value = SAMPLE.match(line).groups()
        base = re.sub(r"_(bucket|sum|count)$", "", name) if announced["TYPE", family] == "histogram" else name
        assert base == family, f"{line} stands under {family}"
        found.setdefault(family, []).append((name, labels or "", float(value)))
    assert {name for _, name in announced} >= set(found)
    return found, announced


def labels_of(text):
    inner = text[1:-1]
    pairs = LABEL.findall(inner)
    assert "".join(f'{name}="{value}",' for name, value in pairs) in (inner, inner + ","), text
    assert len({name for name, _ in pairs}) == len(pairs), text
    return dict(pairs)


def test_the_text_format_is_kept_to(make_oribi):
    node = make_oribi(CONFIG).start()
    node.write("m,host=a v=1 1\nm,host=b v=x")
    requests.get(f"{node.url}/api/v1/tables", timeout=10)
    failing = lambda: all(one["last_error"] for one in requests.get(f"{node.url}/api/v1/connectors", timeout=10).json()["connectors"])
    wait_for(failing, "connectors that fail")
    answer = requests.get(f"{node.url}/metrics", timeout=10)
    guarded = {"x-content-type-options": "nosniff", "x-frame-options": "DENY", "cross-origin-resource-policy": "same-origin"}
    for path in ("/metrics", "/", "/page/nothing", "/api/v1/tables"):
        headers = requests.get(f"{node.url}{path}", timeout=10).headers
        assert {name: headers.get(name) for name in guarded} == guarded, path
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert answer.text.endswith("\n")
    found, announced = families(answer.text)
    assert len(found) > 20 and "oribi_connector_restarts_total" in found, sorted(found)
    for family, samples in found.items():
        kind = announced["TYPE", family]
        assert kind in ("counter", "gauge", "histogram")
        assert (kind == "counter") == family.endswith("_total"), f"{family} is a {kind}"
        assert not re.search(r"_(ms|us|minutes|mib|kib)$", family), f"{family} has no base unit"
        series = [(name, tuple(sorted(labels_of(labels).items()))) for name, labels, _ in samples]
        assert len(set(series)) == len(series), f"{family} has a series twice"
        assert all(value == value and (kind == "gauge" or value >= 0) for *_, value in samples), family
        if kind == "histogram":
            check_histogram(family, samples)
    names = {labels_of(labels)["connector"] for _, labels, _ in found["oribi_connector_restarts_total"]}
    assert names == {"nowhere", 'odd \\"name\\"'}
    if promtool := shutil.which("promtool"):
        checked = subprocess.run([promtool, "check", "metrics"], input=answer.text, text=True, capture_output=True)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def check_histogram(family, samples):
    buckets, sums, counts = {}, {}, {}
    for name, labels, value in samples:
        labels = labels_of(labels) if labels else {}
        bound = labels.pop("le", None)
        key = tuple(sorted(labels.items()))
        if name == f"{family}_bucket":
            buckets.setdefault(key, []).append((float(bound), value))
        else:
            {f"{family}_sum": sums, f"{family}_count": counts}[name][key] = value
    assert set(buckets) == set(sums) == set(counts), family
    for key, found in buckets.items():
        assert found == sorted(found) and found[-1][0] == float("inf"), family
        values = [value for _, value in found]
        assert values == sorted(values) and values[-1] == counts[key], family
