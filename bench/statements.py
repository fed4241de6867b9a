"""SQL asked of the node that leads a table's tablets and of others: what the way to the rows costs."""

import json
import statistics
import time

import requests

HOSTS = "hostname IN ('host_1', 'host_7', 'host_42')"
STATEMENTS = {
    "count": "SELECT count(*) FROM cpu",
    "aggregates": "SELECT count(usage_user), sum(usage_user), min(usage_user), max(usage_user), avg(usage_user) FROM cpu",
    "aggregates of a host": "SELECT sum(usage_user), max(usage_system) FROM cpu WHERE hostname = 'host_7'",
    "by hour": "SELECT date_bin(INTERVAL '1 hour', time) AS t, avg(usage_user), max(usage_system) FROM cpu GROUP BY t ORDER BY t",
    "by host": "SELECT hostname, count(*), avg(usage_user), max(usage_system) FROM cpu GROUP BY hostname ORDER BY hostname",
    "by hour and host": "SELECT date_bin(INTERVAL '1 hour', time) AS t, hostname, avg(usage_user) FROM cpu GROUP BY t, hostname ORDER BY t, hostname",
    "by minute, 3 hosts": f"SELECT date_bin(INTERVAL '1 minute', time) AS t, max(usage_user) FROM cpu WHERE {HOSTS} GROUP BY t ORDER BY t",
    "having": "SELECT hostname, max(usage_user) AS m FROM cpu WHERE usage_system > 50 GROUP BY hostname HAVING max(usage_user) > 99 ORDER BY hostname",
    "newest rows": "SELECT * FROM cpu ORDER BY time DESC LIMIT 10",
    "newest rows of a host": "SELECT time, usage_user FROM cpu WHERE hostname = 'host_7' ORDER BY time DESC LIMIT 10",
    "newest high": "SELECT time, hostname, usage_user FROM cpu WHERE usage_user > 90 ORDER BY time DESC LIMIT 10",
    "oldest rows": "SELECT * FROM cpu ORDER BY time LIMIT 10",
    "first rows": "SELECT * FROM cpu LIMIT 10",
    "last of each host": "SELECT hostname, last_value(usage_user ORDER BY time) AS v, max(time) AS t FROM cpu GROUP BY hostname ORDER BY hostname",
    "top hosts": "SELECT hostname, avg(usage_user) AS v FROM cpu GROUP BY hostname ORDER BY v DESC, hostname LIMIT 5",
}


def make_table(node, **options):
    answer = requests.put(f"{node.url}/api/v1/tables/cpu", json={"db": "benchmark", **options}, timeout=60)
    assert answer.status_code in (200, 201), answer.text


def ask(session, node, text):
    """The rows of the answer and how long they took, ms."""
    began = time.perf_counter()
    answer = session.get(f"{node.url}/api/v1/sql", params={"db": "benchmark", "q": text}, timeout=120)
    took_ms = (time.perf_counter() - began) * 1000
    assert answer.status_code == 200, answer.text
    return json.loads(answer.text), took_ms


def compare(nodes, count, say):
    """Prints medians at the first node and at the second one, asked in turns; gives the kinds that are over the goal."""
    over = []
    with requests.Session() as session:
        for kind, text in STATEMENTS.items():
            times_ms = [[], []]
            for turn in range(count + 2):
                answers = [ask(session, node, text) for node in nodes]
                rows = [answer["rows"] for answer, _ in answers]
                # Without an order any rows will do.
                assert kind == "first rows" or rows[0] == rows[1], kind
                for at, (_, took_ms) in enumerate(answers):
                    if turn >= 2:
                        times_ms[at].append(took_ms)
            first, second = map(statistics.median, times_ms)
            mark = "" if second <= first * 1.5 + 0.5 else "  over"
            over += [kind] if mark else []
            say(f"  {kind}: {first:.2f} / {second:.2f}{mark}")
    return over
