"""Parts of bench/cluster in which nodes come, go and lose their disks under load."""

import base64
import hashlib
import http.client
import json
import random
import subprocess
import threading
import time

import requests

TABLES = 8
SUMMED_ROWS = 10_000
"""Rows that one checksum is of."""


class Steady:
    """Clients that write a row each, one after the other, to whichever node; a row that is not taken is sent once more, to another."""

    def __init__(self, nodes, clients=4):
        self.nodes, self.over, self.lock = list(nodes), threading.Event(), threading.Lock()
        # When each row was begun and acknowledged, s; and those that were not after one more try.
        self.acks, self.failed = [[] for _ in range(clients)], []
        self.threads = [threading.Thread(target=self.run, args=[number]) for number in range(clients)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def run(self, number):
        doors, turn = {}, number
        while not self.over.is_set():
            turn += 1
            row = f"steady{turn % TABLES},c=c{number} v={turn}i {1_700_000_000_000 + turn}"
            began, said = time.perf_counter(), []
            for attempt in range(2):
                said.append(self.send(doors, self.nodes[(turn + attempt) % len(self.nodes)], row))
                if said[-1] == 204:
                    break
            if said[-1] == 204:
                self.acks[number].append((began, time.perf_counter()))
            else:
                with self.lock:
                    self.failed.append((began, said))
            time.sleep(0.002)

    def send(self, doors, node, row):
        connection = doors.pop(node.http_port, None) or http.client.HTTPConnection("127.0.0.1", node.http_port, timeout=30)
        try:
            connection.request("POST", "/write?precision=ms", row)
            answer = connection.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return repr(error)
        doors[node.http_port] = connection
        return answer.status if answer.status == 204 else f"{answer.status} {said[:120]}"

    def pause_s(self, since=0.0, until=float("inf")):
        """The longest time in which one client had nothing acknowledged."""
        def longest(acks):
            times = [acked for began, acked in acks if since <= acked and began <= until]
            return max((later - earlier for earlier, later in zip(times, times[1:])), default=0)

        return max(longest(acks) for acks in self.acks)

    def p99_ms(self, since, until):
        took = sorted(acked - began for acks in self.acks for began, acked in acks if since <= began and acked <= until)
        return took[int(len(took) * 0.99)] * 1000 if took else float("nan")


def tables_of(cluster):
    for table in range(TABLES):
        for node in cluster.nodes:
            node.write(f"steady{table},c=first v=0i 1")
    cluster.together()


def rolling(cluster, say):
    """Stops and starts one node after the other."""
    tables_of(cluster)
    with Steady(cluster.nodes) as steady:
        time.sleep(2)
        for node in cluster.nodes:
            began = time.perf_counter()
            assert node.stop() == 0
            node.start()
            cluster.together()
            say(f"  stopped and started within {time.perf_counter() - began:.1f} s, longest pause so far {steady.pause_s():.2f} s")
    say(f"rolling restart of three nodes: {sum(map(len, steady.acks)):,} rows acknowledged, {len(steady.failed)} failed after one retry (goal 0), "
        f"longest pause {steady.pause_s():.2f} s (goal <= 0.3)")
    for _, said in steady.failed[:3]:
        say(f"  failed: {said}")


def incompressible(mib, node, first=0, step=1):
    """Writes about so many MiB that do not get smaller, a row of 1 KB each, or of these one of `step`; gives how many rows all are."""
    at_once, count = 2_000, int(mib * 1024 * 4 / 3)
    for begin in range(0, count, at_once * step):
        lines = []
        for at in range(begin, min(begin + at_once * step, count), step):
            text = base64.b64encode(random.randbytes(768)).decode()
            lines.append(f'bulk,h=h{at % 7} t="{text}" {1_700_000_000_000 + first + at}')
        while (answer := node.write("\n".join(lines), precision="ms")).status_code == 503:
            time.sleep(0.1)
        assert answer.status_code == 204, answer.text
    return count


def folder_mib(node):
    files = (path for path in (node.data_dir / "tablets").rglob("*") if path.is_file())
    return sum(path.stat().st_size for path in files) / (1 << 20)


def backup(cluster, mib, oribi, say):
    """Backups of one node: of all, after a hundredth of the rows was written anew all over, and after as many were added; then of that a node."""
    node = cluster.nodes[0]
    rows = incompressible(mib, node)
    # Merges of what was loaded are over before the first backup, and are none of the second's.
    assert requests.post(f"{node.url}/api/v1/compact", timeout=120).status_code == 200
    vault, took = cluster.folder / "vault", []

    def back_up(what):
        before, began = bytes_of(vault), time.perf_counter()
        subprocess.run([oribi, "backup", "--url", node.url, "--to", vault], check=True, capture_output=True)
        took.append(bytes_of(vault) - before)
        say(f"backup {what}: {took[-1] / (1 << 20):,.1f} MiB new in {time.perf_counter() - began:.1f} s, {took[-1] / took[0]:.2%} of the first")

    back_up(f"of {rows:,} rows of 1 KB")
    incompressible(mib, node, step=100)
    back_up("after each hundredth row was written anew (goal <= 3 %)")
    more = incompressible(mib / 100, node, first=rows)
    back_up("after a hundredth was added")
    rows += more
    expected, restored = sums_of(node, rows), cluster.folder / "restored"
    began = time.perf_counter()
    subprocess.run([oribi, "restore", "--from", vault, "--data-dir", restored], check=True, capture_output=True)
    say(f"restored in {time.perf_counter() - began:.1f} s")
    node.stop()
    node.data_dir = restored
    node.start()
    found = sums_of(node, rows)
    wrong = sum(one != other for one, other in zip(found, expected))
    assert sum(count for count, _ in expected) == rows and wrong == 0, f"{wrong} of {len(expected)} parts are others than were backed up"
    say(f"all {rows:,} rows are the same, by checksums of {len(expected)} parts")


def sums_of(node, count):
    """Of each so many rows in order of their times, how many there are and the checksum of all of them."""
    found = []
    for first in range(0, count, SUMMED_ROWS):
        start, end = (f"to_timestamp_millis({1_700_000_000_000 + at})" for at in (first, first + SUMMED_ROWS))
        rows = node.sql(f"SELECT * FROM bulk WHERE time >= {start} AND time < {end} ORDER BY time")
        found.append((len(rows), hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()))
    return found


def bytes_of(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def replacement(cluster, mib, add, say):
    """A node dies for good, and a new one takes its place."""
    tables_of(cluster)
    incompressible(mib, cluster.nodes[0])
    cluster.together()
    dead, others = cluster.nodes[2], cluster.nodes[:2]
    with Steady(others) as steady:
        calm = time.perf_counter()
        time.sleep(5)
        killed = time.perf_counter()
        dead.kill()
        spare = add()
        first, done = None, None
        deadline = killed + 600
        while done is None and time.perf_counter() < deadline:
            held = folder_mib(spare)
            first = first or (time.perf_counter() if held > 1 else None)
            tablets = others[0].cluster()["tablets"]
            if first and tablets["healthy"] == tablets["total"] and held >= 0.95 * folder_mib(others[0]):
                done = time.perf_counter()
            time.sleep(0.1)
    assert done, f"not replaced: {others[0].cluster()}"
    held = folder_mib(spare)
    before, meanwhile = steady.p99_ms(calm, killed), steady.p99_ms(first, done)
    say(f"replacement of a node with {held:,.0f} MiB: {done - first:.1f} s of copying, {held / (done - first):.0f} MiB/s (goal >= 60; "
        f"storage.copy_bytes_per_s_max is 64 MiB/s), all well {done - killed:.1f} s after the kill")
    say(f"ack p99 meanwhile / before: {meanwhile:.1f} / {before:.1f} ms = {meanwhile / before:.2f} (goal <= 1.5); "
        f"{len(steady.failed)} failed after one retry, longest pause {steady.pause_s():.2f} s")


def full_disks(cluster, say):
    """The disk of one node runs full, then those of all, each an ext4 file system of its own."""
    tables_of(cluster)
    with Steady(cluster.nodes) as steady:
        time.sleep(2)
        began = time.perf_counter()
        cluster.nodes[0].disk.fill()
        time.sleep(5)
        one_s, one_failed = steady.pause_s(began), len(steady.failed)
        cluster.nodes[0].disk.free()
        cluster.together()
        time.sleep(2)
        for node in cluster.nodes:
            node.disk.fill()
        time.sleep(3)
        freed = time.perf_counter()
        for node in cluster.nodes:
            node.disk.free()
        while not all(any(began > freed for began, _ in list(acks)) for acks in steady.acks):
            time.sleep(0.02)
        resumed = [min(acked for began, acked in list(acks) if began > freed) - freed for acks in steady.acks]
    say(f"disk of one of three full: longest pause {one_s:.2f} s (goal <= 1), {one_failed} failed after one retry")
    say(f"disks of all full: each client has a row acknowledged {max(resumed):.2f} s after they are freed (goal <= 5, without a restart)")
