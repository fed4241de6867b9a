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
