"""Ports of 127.0.0.1 for servers of the tests; run as a program it prints one."""

import pathlib
import random
import socket

EPHEMERAL = pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range")
LOWEST = 10_000
USUAL_END = 32_768
TRIES = 1_000

given = set()


def free_port():
    """A port never given before, on which a server can be started, and again after it ended.

    It lies below those that the system gives to connections, where these leave room: any client could have one of these
    by the time of the start.
    """
    end = int(EPHEMERAL.read_text().split()[0]) if EPHEMERAL.exists() else USUAL_END
    if end < LOWEST + TRIES:
        end = USUAL_END
    for port in random.sample(range(LOWEST, end), TRIES):
        if port in given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        given.add(port)
        return port
    raise OSError(f"none of {TRIES} ports from {LOWEST} to {end} is free")


if __name__ == "__main__":
    print(free_port())
