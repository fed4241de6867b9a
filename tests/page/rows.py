"""Rows that the checks write, over HTTP as any client would."""

import math
import time

import requests

NS = 1_000_000_000


class Rows:
    """Tables of one run of the checks on one node."""

    def __init__(self, url):
        self.url = url
        self.number = time.time_ns() // 1_000_000
        self.made = 0

    def has_tables(self):
        return bool(self.tables())

    def tables(self):
        answer = requests.get(f"{self.url}/api/v1/tables", timeout=10)
        answer.raise_for_status()
        return answer.json()["tables"]

    def write(self, lines):
        answer = requests.post(f"{self.url}/write?db=default", data="\n".join(lines).encode(), timeout=30)
        assert answer.status_code == 204, answer.text

    def name(self):
        """A table that does not exist yet."""
        self.made += 1
        return f"page_{self.number}_{self.made}"

    def table(self, devices=3, minutes=50, step_s=10):
        """A new table with waves of some devices up to now."""
        name = self.name()
        now_s = int(time.time())
        lines = []
        for device in range(devices):
            for at_s in range(now_s - 60 * minutes, now_s, step_s):
                temperature = 20 + 3 * device + 4 * math.sin(at_s / 400 + device)
                fields = f'temperature={temperature:.2f},humidity={50 + device}.5,starts={at_s % 7}i,note="calm"'
                lines.append(f"{name},site=site{device % 2},device=dev{device} {fields} {at_s * NS}")
        self.write(lines)
        return name

    def row(self, table, temperature, device="dev0"):
        """One row of now."""
        self.write([f"{table},site=site0,device={device} temperature={temperature} {time.time_ns()}"])
