"""Which node of this machine a connection comes from: what nodes say to each other cannot be read on the way."""

import os
import pathlib
import re


def node_port_of(port):
    """The port for nodes of the process whose socket is bound to `port`; none where no node's is."""
    inodes = set()
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].split(":")[1], 16) == port:
            inodes.add(f"socket:[{fields[9]}]")
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if "--node-listen" not in words:
                continue
            if any(os.readlink(held) in inodes for held in (process / "fd").iterdir()):
                return int(re.search(r":(\d+)$", words[words.index("--node-listen") + 1])[1])
        except OSError:
            # It has ended, or has closed something meanwhile.
            continue
    return None
