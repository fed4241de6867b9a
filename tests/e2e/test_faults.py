"""One damaged file costs what it held, and nothing else; the real process, frozen, dropped upon and out of space."""

import signal
import socket
import subprocess
import threading
import time

import pytest
import requests

from conftest import BINARY, wait_for


def compact(node):
    return requests.post(f"{node.url}/api/v1/compact", timeout=60).status_code


def checks(node):
    answer = requests.get(f"{node.url}/health", timeout=10)
    return answer.status_code, {check["name"]: check["message"] for check in answer.json()["checks"]}


def check(node):
    return subprocess.run([BINARY, "check", str(node.data_dir)], capture_output=True, text=True, timeout=60)


def stored(make_oribi):
    """A stopped node with two tables, all of whose rows are in segments."""
    node = make_oribi().start()
    for table in ("one", "two"):
        rows = "\n".join(f"{table},d=a v={i} {1700000000 + i}" for i in range(1000))
        assert node.write(rows, precision="s").status_code == 204
    assert compact(node) == 200
    assert node.stop() == 0
    assert check(node).returncode == 0
    return node


@pytest.mark.parametrize("damage", ["manifest", "segment", "folder"])
def test_a_damaged_tablet_is_set_aside(make_oribi, damage):
    node = stored(make_oribi)
    tablet = sorted((node.data_dir / "tablets").iterdir())[0]
    segment = next(tablet.glob("*.seg"))
    if damage == "manifest":
        (tablet / "MANIFEST").unlink()
    elif damage == "segment":
        with segment.open("r+b") as file:
            file.seek(-30, 2)
            file.write(b"\xff\x00")
    else:
        tablet.rename(node.folder / "elsewhere")
    before = sorted(path.name for path in tablet.iterdir()) if tablet.exists() else None
    found = check(node)
    assert found.returncode == 1 and f"tablet {tablet.name}" in found.stdout, found
    for _ in range(2):
        node.start()
        status, failing = checks(node)
        assert status == 200 and f"tablet {tablet.name}" in failing, failing
        assert node.query(table="one", select="count(*)").status_code == 503
        assert node.write("one,d=a v=1 1700000000", precision="s").status_code == 503
        assert node.count("two") == 1000
        assert node.write("two,d=b v=1 1700000000", precision="s").status_code == 204
        shown = subprocess.run([BINARY, "status", "--url", node.url], capture_output=True, text=True, timeout=60)
        assert f"tablet {tablet.name}" in shown.stdout
        assert "oribi_damaged_tablets 1" in requests.get(f"{node.url}/metrics", timeout=10).text
        assert requests.post(
            f"{node.url}/api/v1/tables/two/delete", json={"where": "d = 'b'"}, timeout=60
        ).status_code == 204
        node.stop()
    if before:
        assert sorted(path.name for path in tablet.iterdir()) == before


@pytest.mark.parametrize("damage", ["lost", "garbled"])
def test_a_manifest_is_made_again(make_oribi, damage):
    node = stored(make_oribi)
    tablet = sorted((node.data_dir / "tablets").iterdir())[0]
    manifest = tablet / "MANIFEST"
    repair = [BINARY, "repair", str(node.data_dir), tablet.name]
    whole = subprocess.run(repair, capture_output=True, text=True, timeout=60)
    assert whole.returncode != 0 and "whole" in whole.stderr, whole
    if damage == "lost":
        manifest.unlink()
    else:
        manifest.write_bytes(manifest.read_bytes()[:-7] + b"\xff" * 7)
    assert check(node).returncode == 1
    done = subprocess.run(repair, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "1 segments, 1000 rows" in done.stdout, done
    assert check(node).returncode == 0
    node.start()
    assert checks(node) == (200, {})
    running = subprocess.run(repair, capture_output=True, text=True, timeout=60)
    assert running.returncode != 0, "a node runs on the directory"
    assert (node.count("one"), node.count("two")) == (1000, 1000)
    assert node.write("one,d=a v=1 1700009999", precision="s").status_code == 204
    assert compact(node) == 200 and node.count("one") == 1001


def test_a_lost_log_and_a_lost_catalog(make_oribi):
    node = stored(make_oribi)
    (node.data_dir / "catalog" / "CATALOG").rename(node.folder / "catalog")
    (node.data_dir / "log").rename(node.folder / "log")
    node.start()
    assert node.count("one") == node.count("two") == 1000
    assert "log" in checks(node)[1]
    node.stop()
    (node.data_dir / "catalog").rename(node.folder / "catalogs")
    for path in (node.data_dir / "log").iterdir():
        path.unlink()
    tablets = sorted((node.data_dir / "tablets").rglob("*"))
    node.start(wait=False)
    assert node.process.wait(timeout=60) == 1
    assert "neither catalog/ nor log/ knows any" in node.log.read_text()
    assert sorted((node.data_dir / "tablets").rglob("*")) == tablets


def test_tables_that_come_and_go_beside_flushes(make_oribi):
    node = make_oribi("[storage]\nmemtable_bytes_max = 2097152\nlog_bytes_max = 2097152\nlog_file_bytes = 262144\n")
    node.start()
    rows = "\n".join(
        f"big,d=d{i % 50} " + ",".join(f"f{k}={i}.5" for k in range(10)) + f" {1700000000 + i}" for i in range(4000)
    )
    ends = threading.Event()

    def churn():
        while not ends.is_set():
            requests.delete(f"{node.url}/api/v1/tables/big", timeout=60)
            time.sleep(0.05)

    dropper = threading.Thread(target=churn)
    dropper.start()

    def is_stored():
        # Whose table is dropped again and again may be told to come again, and nothing else.
        answer = node.write(rows, precision="s")
        assert answer.status_code in (204, 503), answer.text
        return answer.status_code == 204

    for _ in range(40):
        wait_for(is_stored, "a write to be stored", 60)
    ends.set()
    dropper.join()
    requests.delete(f"{node.url}/api/v1/tables/big", timeout=60)
    assert checks(node) == (200, {})
    assert node.write("kept v=1").status_code == 204
    assert compact(node) == 200
    stats = requests.get(f"{node.url}/api/v1/node", timeout=10).json()["stats"]
    assert stats["tablets"] == 1 and stats["memtable_bytes"] < 100_000, stats
    wait_for(lambda: len(list((node.data_dir / "tablets").iterdir())) == 1, "dropped folders to go")
    assert compact(node) == 200
    assert requests.get(f"{node.url}/api/v1/node", timeout=10).json()["stats"]["log_bytes"] < 262144


def test_a_frozen_process_goes_on(make_oribi):
    node = make_oribi("[storage]\nmemtable_bytes_max = 1048576\n").start()
    acked = 0
    for round in range(3):
        for _ in range(5):
            rows = "\n".join(f"m v={i}i {1700000000 + acked + i}" for i in range(3000))
            assert node.write(rows, precision="s").status_code == 204
            acked += 3000
        node.process.send_signal(signal.SIGSTOP)
        time.sleep(4)
        node.process.send_signal(signal.SIGCONT)
    assert node.count("m") == acked
    assert checks(node) == (200, {})


def start_limited(node, *limit):
    """Starts a node under a limit of the shell's `ulimit`."""
    command = [str(BINARY), "serve", "--data-dir", str(node.data_dir), "--config", str(node.config)]
    command += ["--http-listen", f"127.0.0.1:{node.http_port}", "--mqtt-listen", f"127.0.0.1:{node.mqtt_port}"]
    command += ["--node-listen", f"127.0.0.1:{node.node_port}"]
    shell = ["sh", "-c", f'ulimit {" ".join(limit)}; exec "$@"', "x"]
    with node.log.open("ab") as log:
        node.process = subprocess.Popen([*shell, *command], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    wait_for(node.healthy, "the node to be healthy", 60)
    return node


def test_a_file_size_limit_is_an_error_and_no_end(make_oribi):
    node = start_limited(make_oribi(), "-f", "2048")
    answer = node.write("m v=1")
    assert answer.status_code in (204, 503)
    if answer.status_code == 503:
        assert any("log" in name for name in checks(node)[1])
    assert node.process.poll() is None
    node.stop()


def test_few_descriptors_and_many_clients_stop_no_tablet(make_oribi):
    node = start_limited(make_oribi("[storage]\nidle_flush_s = 1\n"), "-n", "256")
    assert "the process may open 256 files" in node.log.read_text()
    tables = [f"t{at}" for at in range(160)]
    held = []
    try:
        for _ in range(400):
            try:
                held.append(socket.create_connection(("127.0.0.1", node.mqtt_port), 5))
            except OSError:
                break
        for round in range(2):
            for at in range(0, 160, 40):
                rows = "\n".join(f"{table} v={round}i {1700000000 + round}" for table in tables[at : at + 40])
                wait_for(lambda: node.write(rows, precision="s").status_code == 204, "rows to be taken", 60)
            assert compact(node) == 200
        assert checks(node) == (200, {})
    finally:
        for connection in held:
            connection.close()
    assert node.stop() == 0
    start_limited(node, "-n", "256")
    assert checks(node) == (200, {})
    assert all(node.count(table) == 2 for table in tables[::40])
