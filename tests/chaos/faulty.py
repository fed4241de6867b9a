"""Disks that are slow, fail or lie, writes that are cut short, and clocks that jump: a library between a node and its system, made by
the C compiler of this machine."""

import pathlib
import shutil
import struct
import subprocess

SOURCE = pathlib.Path(__file__).with_name("faulty.c")
FORM = struct.Struct("<IIIIIiI")
ORDERS = ("sync_ms", "syncs_fail", "syncs_lie", "writes_fail", "writes_are_short", "clock_s")


def library(folder):
    """The library, and None; or None, and why it cannot be had."""
    if shutil.which("cc") is None:
        return None, "there is no C compiler (cc)"
    path = folder / "faulty.so"
    done = subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", path, SOURCE, "-ldl"], capture_output=True, text=True)
    return (path, None) if done.returncode == 0 else (None, f"cc: {done.stderr.strip()[:300]}")


class Orders:
    """What is done to one node's disk and clock."""

    def __init__(self, folder, made):
        self.path = folder / "orders"
        self.path.write_bytes(bytes(FORM.size))
        self.env = {"LD_PRELOAD": str(made), "CHAOS_ORDERS": str(self.path)}

    def give(self, **wanted):
        """From now on this; all else is as usual."""
        with self.path.open("r+b") as file:
            file.write(FORM.pack(*(wanted.get(name, 0) for name in ORDERS), self.done())[: FORM.size - 4])

    def done(self):
        """How often anything was done because of it."""
        return FORM.unpack(self.path.read_bytes())[-1]
