"""The demo, without a terminal."""

import re
import subprocess

from conftest import BINARY, free_port


def test_the_demo_ends_with_equal_counts(tmp_path):
    ports = [f"127.0.0.1:{free_port()}" for _ in range(3)]
    command = [str(BINARY), "demo", "--for", "3s", "--data-dir", str(tmp_path / "d"), "--http-listen", ports[0], "--mqtt-listen", ports[1], "--node-listen", ports[2]]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = re.search(r"sent (\d+) rows, acked (\d+), counted (\d+), .* on disk", ended.stdout)
    assert found and len(set(found.groups())) == 1 and int(found[1]) > 10_000, ended.stdout


def test_a_demo_of_three_nodes_goes_on_when_one_is_killed():
    command = [str(BINARY), "demo", "--nodes", "3", "--for", "8s", "--kill-after", "4s", "--devices", "3"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "was killed" in ended.stdout + ended.stderr
    found = re.search(r"sent (\d+) rows, acked (\d+), counted (\d+), .* longest pause between two acks", ended.stdout)
    assert found and len(set(found.groups())) == 1, ended.stdout


def test_a_node_is_not_killed_where_there_is_no_other():
    command = [str(BINARY), "demo", "--kill-after", "4s"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode != 0 and "--nodes 3" in ended.stderr, ended.stderr
