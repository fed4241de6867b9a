"""Which node of this machine a connection comes from: what nodes say to each other cannot be read on the way."""

import os
import pathlib
import re
import time

SETTLED_NS = 10_000_000_000
PROCESSES = {}
"""Of each process that was looked at: when it started, and its port for nodes, if it is a node."""


def node_port_of(port):
    """The port for nodes of the process whose socket is bound to `port`; none where no node's is."""
    # Of a line: local address, remote address, state, queues, timer, retransmissions, user, timeout, inode.
    table = pathlib.Path("/proc/net/tcp").read_text()
    found = re.findall(rf"^ *\d+: [0-9A-F]{{8}}:{port:04X} \S+ \S+ \S+ \S+ \S+ +\d+ +\d+ (\d+) ", table, re.MULTILINE)
    sockets = {f"socket:[{inode}]" for inode in found if inode != "0"}
    for process in os.listdir("/proc"):
        if not process.isdigit():
            continue
        try:
            node_port = node_of(process)
            if node_port and any(os.readlink(f"/proc/{process}/fd/{held}") in sockets for held in os.listdir(f"/proc/{process}/fd")):
                return node_port
        except OSError:
            # It has ended, or has closed something meanwhile.
            continue
    return None


def node_of(process):
    started = os.stat(f"/proc/{process}").st_ctime_ns
    known = PROCESSES.get(process)
    if known and known[0] == started:
        return known[1]
    words = pathlib.Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace").split("\0")
    node_port = None
    if "--node-listen" in words:
        node_port = int(re.search(r":(\d+)$", words[words.index("--node-listen") + 1])[1])
    # Between fork and exec a process has the words of its parent.
    if node_port or time.time_ns() - started > SETTLED_NS:
        PROCESSES[process] = (started, node_port)
    return node_port
