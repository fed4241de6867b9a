"""What becomes of nodes for good, and of files under them: wiped disks, nodes that are emptied and forgotten, flipped bits,
and tables that get more or fewer replicas. Each begins when all is well, so that the others have what is lost."""

import collections
import contextlib
import os
import shutil
import subprocess

import requests
from cluster import put_table
from conftest import BINARY, wait_for

MENDED_S = 120
"""Within this others have made good what was lost for good."""


class Changes:
    """Faults of this kind; a part of `Faults`."""

    def kinds_of_changes(self):
        kinds = [self.wipe_one, self.flip_one, self.flip_one, self.cut_one, self.swap_two, self.damage_log]
        kinds += [self.change_replication, self.back_up, self.stale_manifests, self.stale_segment]
        if all(node.orders and hasattr(node.disk, "cut_power") for node in self.nodes):
            kinds += [self.lying_disk]
        return [*kinds, self.empty_one] if len(self.nodes) > 3 else kinds

    def alone(self, change):
        """Nothing else is wrong before, and all is well afterwards. Whether that came to be."""
        self.until_calm()
        is_calm = self.is_calm_now()
        if is_calm:
            change()
            self.until_calm()
        return is_calm

    def another(self, node):
        return self.chance.choice([other for other in self.nodes if other is not node])

    # -- nodes --------------------------------------------------------------------------------

    def wipe_one(self):
        """A disk is lost; the node that comes back is a new one, and the old one is replaced or forgotten by hand."""
        return self.alone(lambda: self.replace(self.one()))

    def replace(self, node):
        before, helper = node.id, self.another(node)
        if node.process.poll() is None:
            node.kill()
        wipe(node.data_dir)
        self.hold(0)
        node.start()
        self.is_new(node)
        if self.chance.random() < 0.5:
            gone = lambda: state_of(helper, before) in ("down", None) and replicas_of(helper, before) == 0
            wait_for(gone, f"node {before} to be replaced", MENDED_S)
        wait_for(lambda: forget(helper, before), f"node {before} to be forgotten", MENDED_S)

    def empty_one(self):
        """A node is emptied while it serves, forgotten, and joins anew."""

        def change():
            node = self.one()
            before, helper = node.id, self.another(node)
            drain = f"{helper.url}/api/v1/nodes/{before}/drain"
            emptied = lambda: told(lambda: requests.post(drain, data="{}", timeout=10)).get("replicas") == 0
            wait_for(emptied, f"node {before} to be empty", MENDED_S)
            wait_for(lambda: forget(helper, before), f"node {before} to be forgotten", MENDED_S)
            node.kill()
            wipe(node.data_dir)
            node.start()
            self.is_new(node)

        return self.alone(change)

    def is_new(self, node):
        node.id = node.cluster()["self"]

    # -- files --------------------------------------------------------------------------------

    def flip_one(self):
        """A bit of a segment of one node, which runs or does not."""

        def change():
            node = self.one()
            is_down = self.chance.random() < 0.5
            if is_down:
                node.kill()
            segments = [path for path in node.data_dir.glob("tablets/*/*.seg") if path.parent.name.isdigit()]
            known = set(node.data_dir.glob("tablets/*.damaged-*"))
            path = self.chance.choice(sorted(segments)) if segments else None
            if path:
                try:
                    flip(path, self.chance.random(), self.chance.randrange(8))
                except FileNotFoundError:
                    path = None
            if is_down:
                node.start()
            if path:
                # A merge may have let the file go meanwhile, or read it before.
                found = lambda: not path.exists() or set(node.data_dir.glob("tablets/*.damaged-*")) - known
                wait_for(found, f"damage in {path} to be found", MENDED_S)

        return self.alone(change)

    def cut_one(self):
        """The end of a segment of a node that is down is gone."""
        return self.alone(lambda: self.harm(self.any_one, lambda path: os.truncate(path, path.stat().st_size // 2)))

    def swap_two(self):
        """Two segments of a node that is down have each other's names."""

        def swap(one, other):
            one.rename(aside := one.with_suffix(".aside"))
            other.rename(one)
            aside.rename(other)

        return self.alone(lambda: self.harm(self.any_two, swap))

    def any_one(self, segments):
        return self.chance.sample(segments, min(1, len(segments)))

    def any_two(self, segments):
        return self.chance.sample(segments, 2) if len(segments) > 1 else []

    def two_of_one_tablet(self, segments):
        """The two newest ones, the older first."""
        of_tablets = collections.defaultdict(list)
        for path in segments:
            of_tablets[path.parent].append(path)
        several = [paths[-2:] for paths in of_tablets.values() if len(paths) > 1]
        return self.chance.choice(several) if several else []

    def harm(self, choose, harm):
        """What is done to some segments of a node that is down is found, where there are any."""
        node = self.one()
        node.kill()
        known = set(node.data_dir.glob("tablets/*.damaged-*"))
        segments = [path for path in node.data_dir.glob("tablets/*/*.seg") if path.parent.name.isdigit()]
        chosen = choose(sorted(segments))
        if chosen:
            harm(*chosen)
        node.start()
        if chosen:
            # Of what no manifest names nothing is read: it goes to the trash.
            is_let_go = lambda: not any(path.exists() for path in chosen[1:] or chosen)
            found = lambda: is_let_go() or set(node.data_dir.glob("tablets/*.damaged-*")) - known
            wait_for(found, f"damaged segments of {node.url} to be found", MENDED_S)

    def damage_log(self):
        """The log of a node that is down, in the middle: it begins anew as another one."""

        def change():
            node = self.one()
            before = node.id
            node.kill()
            logs = sorted(node.data_dir.glob("log/*.log"))
            written = len(logs[-1].read_bytes().rstrip(b"\0"))
            flip(logs[-1], self.chance.uniform(0.1, 0.5), 3, written)
            node.start()
            self.is_new(node)
            if node.id != before:
                self.until_forgotten(node, before)

        return self.alone(change)

    def until_forgotten(self, node, before):
        """The others have let go of what a node was before its log was found damaged."""
        helper = self.another(node)
        wait_for(lambda: state_of(helper, before) is None, f"node {before} to be forgotten", MENDED_S)
        for folder in node.data_dir.glob("ORIBI.damaged-*"):
            shutil.rmtree(folder)

    def stale_manifests(self):
        """A node that is down has manifests of before, where there are newer ones."""

        def change():
            node = self.one()
            flush(node)
            before = contents_of(node.data_dir.glob("tablets/*/MANIFEST"))
            newer = lambda: [path for path, content in before.items() if contents_of([path]).get(path, content) != content]
            self.until_acked()
            flush(node)
            wait_for(newer, f"a flush at {node.url}", MENDED_S)
            node.kill()
            for path in newer():
                path.write_bytes(before[path])
            node.start()

        return self.alone(change)

    def stale_segment(self):
        """The newest segment of a tablet of a node that is down is an older one."""
        return self.alone(lambda: self.harm(self.two_of_one_tablet, shutil.copyfile))

    def lying_disk(self):
        """Syncs of a node say that they are done and are not, and then its power goes."""

        def change():
            node = self.one()
            before = node.id
            node.orders.give(syncs_lie=1)
            self.until_acked()
            self.hold(0.5)
            self.power([node])
            wait_for(node.healthy, f"{node.url} to be back", MENDED_S)
            self.is_new(node)
            if node.id != before:
                self.until_forgotten(node, before)

        return self.alone(change)

    # -- tables -------------------------------------------------------------------------------

    def back_up(self):
        """All is backed up while it is written to; later ones bring what is new to the same folder."""

        def change():
            node = self.one()
            command = [BINARY, "backup", "--url", node.url, "--to", node.folder.parent / "vault"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=MENDED_S)
            assert done.returncode == 0, f"no backup: {done.stderr}"

        return self.alone(change)

    def change_replication(self):
        """A table has fewer replicas for a while, or more where there are nodes for that, and then three again."""

        def change():
            table = self.chance.choice(self.tables)
            for count in (self.chance.choice([1, 5]), 3):
                wait_for(lambda count=count: is_put(self.one(), table, count), f"{table} to be changed", MENDED_S)
                self.until_acked()
                self.until_calm()

        return self.alone(change)


def wipe(path):
    for one in path.iterdir():
        shutil.rmtree(one) if one.is_dir() else one.unlink()


def flush(node):
    """What a node holds in memory goes to segments."""

    def is_done():
        with contextlib.suppress(requests.RequestException):
            return requests.post(f"{node.url}/api/v1/compact", timeout=60).status_code == 200

    wait_for(is_done, f"a flush at {node.url}", MENDED_S)


def contents_of(paths):
    """What is in those files that are there."""
    found = {}
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            found[path] = path.read_bytes()
    return found


def flip(path, where, bit, length=None):
    with path.open("r+b") as file:
        at = int((length or path.stat().st_size) * where)
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1 << bit]))


def told(ask):
    """What a node answers, nothing where it does not now."""
    try:
        return ask().json()
    except (requests.RequestException, ValueError):
        return {}


def is_put(node, table, count):
    try:
        put_table(node, table, replication=count)
    except (requests.RequestException, AssertionError):
        return False
    return True


def node_of(helper, number):
    try:
        nodes = helper.cluster()["nodes"]
    except (requests.RequestException, KeyError, ValueError):
        return {"state": "?"}
    return next((node for node in nodes if node["id"] == number), None)


def state_of(helper, number):
    node = node_of(helper, number)
    return node and node["state"]


def replicas_of(helper, number):
    node = node_of(helper, number)
    return node.get("replicas") if node else 0


def forget(helper, number):
    try:
        return requests.delete(f"{helper.url}/api/v1/nodes/{number}", timeout=10).status_code == 204
    except requests.RequestException:
        return False
