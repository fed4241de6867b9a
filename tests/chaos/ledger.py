"""What was tried and what was answered, on files outside of the nodes, synced before anything is sent.

Each writer has a file of its own: a line says what became of one thing that it wrote, `I` before it is sent the first time,
`A` once it was acknowledged, `N` where it surely was not stored and is not tried again. What has no last word may be stored or
not: nobody knows.
"""

import os
import threading
import time

INTENT, ACKED, NOT_STORED = "I", "A", "N"


class Acks:
    """When something was acknowledged last, by anybody, and the longest that nothing was."""

    def __init__(self, rows_per_s_max):
        self.lock, self.count, self.rows, self.last, self.longest_s = threading.Lock(), 0, 0, None, 0.0
        self.began, self.rows_per_s_max = time.monotonic(), rows_per_s_max

    def add(self, rows):
        now = time.monotonic()
        with self.lock:
            self.count, self.rows = self.count + 1, self.rows + rows
            if self.last is not None:
                self.longest_s = max(self.longest_s, now - self.last)
            self.last = now

    def pace(self, ending):
        """Waits while there are more rows than there may be by now."""
        while self.rows > (time.monotonic() - self.began) * self.rows_per_s_max and not ending.wait(0.01):
            pass

    def longest_since_asked_s(self):
        """The longest pause since the last call; one that goes on counts as far as it is."""
        with self.lock:
            going_s = 0.0 if self.last is None else time.monotonic() - self.last
            longest_s, self.longest_s = max(self.longest_s, going_s), 0.0
            return longest_s


class Ledger:
    """One writer's file. What is noted there is on the disk when `note` returns."""

    def __init__(self, folder, name, acks):
        self.name, self.acks = name, acks
        self.path = folder / f"{name}.ledger"
        self.file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def note(self, what, item, rows=0):
        os.write(self.file, f"{what} {item}\n".encode())
        os.fdatasync(self.file)
        if what == ACKED:
            self.acks.add(rows)

    def close(self):
        os.close(self.file)

    def lines(self):
        """What the file says: pairs of word and item, in order."""
        for line in self.path.read_text().splitlines():
            what, item = line.split(" ", 1)
            yield what, item


def outcomes(ledger):
    """What became of each item: ACKED, NOT_STORED, or INTENT where nobody knows."""
    found = {}
    for what, item in ledger.lines():
        if what != INTENT or item not in found:
            found[item] = what
    return found
