"""Random questions over random rows: windows against plain loops over a model, SQL against DuckDB. They are asked of one node that has
all rows, and of three of which each has some.

`DIFFERENTIAL=5000 DIFFERENTIAL_SEED=7 pytest tests/e2e/test_differential.py` asks more; each failure
names its seed and its question."""

import datetime
import fractions
import json
import math
import os
import random

import duckdb
import pytest
import requests
from cluster import Member, put_table, until_together
from conftest import Oribi

QUESTIONS = int(os.environ.get("DIFFERENTIAL", "150"))
SEED = int(os.environ.get("DIFFERENTIAL_SEED", "1"))
UTC = datetime.timezone.utc
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=UTC)
HOUR = 3_600_000_000_000
TAGS = {"host": ["a", "ab", "b", "Ö", "x y", "q'q", 'c"d', "7", "null"], "site": ["n", "s", None], "rack": ["1", "2", None]}
FIELDS = {"f": "float", "g": "float", "i": "int", "k": "int", "big": "int", "ok": "bool", "s": "text"}
# Clusters of rows, so that windows are dense and ranges wide.
CLUSTERS = [datetime.datetime(*at, tzinfo=UTC) for at in [(1968, 12, 31, 22), (1999, 12, 31, 12), (2024, 2, 28, 6), (2024, 3, 30, 20)]]


def ns_of(moment):
    return (moment - EPOCH) // datetime.timedelta(microseconds=1) * 1000


def iso(ns):
    """As answers write times."""
    seconds, nanos = divmod(ns, 10**9)
    text = (EPOCH + datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    return text + (f".{nanos:09d}".rstrip("0") if nanos else "") + "Z"


class Model:
    """What the table should hold: rows by key, the last cell written winning."""

    def __init__(self):
        self.rows = {}

    def write(self, key, cells):
        self.rows.setdefault(key, {}).update({name: value for name, value in cells.items() if value is not None})

    def delete(self, keep):
        self.rows = {key: cells for key, cells in self.rows.items() if keep(key)}


def some_value(rng, kind):
    if kind == "float":
        return rng.choice([0.0, -0.0, rng.uniform(-50, 50), round(rng.uniform(-50, 50), 1), rng.uniform(-1e-9, 1e12)])
    if kind == "int":
        return rng.randrange(-40, 40)
    return rng.random() < 0.5 if kind == "bool" else rng.choice(["", "a", "B", "ä,ö", 'q"', "zz", "12"])


def some_row(rng):
    tags = tuple(rng.choice(values) for values in TAGS.values())
    step = rng.choice([1, 1_000_000, 1_000_000_000, 60_000_000_000])
    time = ns_of(rng.choice(CLUSTERS)) + rng.randrange(0, 400) * step
    empty = rng.choice([0.15, 0.5])
    cells = {name: None if rng.random() < empty else some_value(rng, kind) for name, kind in FIELDS.items()}
    if cells["big"] is not None:
        cells["big"] = rng.choice([2**53 + 1, -(2**53) - 3, 2**60 + rng.randrange(99), 5])
    return (tags, time), cells


def line_of(key, cells):
    escape = lambda text: text.replace(",", "\\,").replace(" ", "\\ ").replace("=", "\\=")
    (tags, time) = key
    tag_text = "".join(f",{name}={escape(value)}" for name, value in zip(TAGS, tags) if value is not None)
    quote = lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    show = {"float": repr, "int": lambda v: f"{v}i", "bool": lambda v: "true" if v else "false", "text": quote}
    fields = ",".join(f"{name}={show[FIELDS[name]](value)}" for name, value in cells.items() if value is not None)
    return f"d{tag_text} {fields} {time}" if fields else None


@pytest.fixture(scope="module", params=["one", "three"])
def nodes(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("nodes")
    made = [Oribi(folder)] if request.param == "one" else [Member(folder / "1")]
    if request.param == "three":
        made += [Member(folder / str(number), [made[0].address]) for number in (2, 3)]
    for node in made:
        node.start()
    if len(made) > 1:
        until_together(made)
    yield made
    for node in made:
        node.close()


@pytest.fixture(scope="module")
def filled(nodes):
    rng = random.Random(SEED)
    model = Model()
    span = rng.choice(["1h", "6h", "1d", "32d"])
    put_table(nodes[0], "d", range=span, replication=1)
    batches = 6
    for batch in range(batches):
        rows = [some_row(rng) for _ in range(400)]
        known = list(model.rows)
        # Parts of rows that are there already.
        rows += [(rng.choice(known), some_row(rng)[1]) for _ in range(100) if known]
        lines = [(key, cells, line_of(key, cells)) for key, cells in rows]
        for key, cells, line in lines:
            if line:
                model.write(key, cells)
        answer = rng.choice(nodes).write("\n".join(line for *_, line in lines if line))
        assert answer.status_code == 204, answer.text
        if batch in (1, 3):
            for node in nodes:
                assert requests.post(f"{node.url}/api/v1/compact").status_code == 200
        if batch == 2:
            answer = requests.post(f"{nodes[-1].url}/api/v1/tables/d/delete", json={"where": "host = 'b' AND rack IS NULL"})
            assert answer.status_code in (200, 204), answer.text
            model.delete(lambda key: not (key[0][0] == "b" and key[0][2] is None))
    return nodes, model


@pytest.fixture(scope="module")
def duck(filled):
    _, model = filled
    db = duckdb.connect()
    kinds = {"float": "DOUBLE", "int": "BIGINT", "bool": "BOOLEAN", "text": "VARCHAR"}
    columns = ["time BIGINT"] + [f"{tag} VARCHAR" for tag in TAGS] + [f"{name} {kinds[kind]}" for name, kind in FIELDS.items()]
    db.execute(f"CREATE TABLE d ({', '.join(columns)})")
    rows = [[time, *tags, *(cells.get(name) for name in FIELDS)] for (tags, time), cells in model.rows.items()]
    db.executemany(f"INSERT INTO d VALUES ({', '.join('?' * len(columns))})", rows)
    return db


# -- predicates, written for both -----------------------------------------------------------------


def some_predicate(rng, depth=0):
    quote = lambda text: "'" + text.replace("'", "''") + "'"
    if depth < 2 and rng.random() < 0.5:
        left, right = some_predicate(rng, depth + 1), some_predicate(rng, depth + 1)
        return rng.choice([f"({left}) AND ({right})", f"({left}) OR ({right})", f"NOT ({left})", f"{left} AND {right}"])
    tag = rng.choice(list(TAGS))
    value = lambda: quote(rng.choice([v for v in TAGS[tag] if v is not None]))
    number = lambda: rng.choice(["0", "0.0", "-3", "12.5", "40"])
    listed = ", ".join(value() for _ in range(rng.randrange(1, 5))) + rng.choice(["", "", ", NULL"])
    numbers = ", ".join(str(rng.randrange(-9, 9)) for _ in range(rng.randrange(1, 7))) + rng.choice(["", "", ", NULL"])
    return rng.choice([
        f"{tag} = {value()}", f"{tag} <> {value()}", f"{tag} IN ({listed})", f"{tag} NOT IN ({listed})",
        f"{tag} IS NULL", f"{tag} IS NOT NULL", f"{tag} LIKE 'a%'", f"{tag} IS DISTINCT FROM {value()}",
        f"f > {number()}", f"f IN ({numbers})", f"f = 0", f"i NOT IN ({numbers})", f"i % 3 = 1", f"i BETWEEN -5 AND 20",
        f"f < g", f"ok", f"NOT ok", f"ok IS NOT DISTINCT FROM true", f"ok IS DISTINCT FROM false", f"s = 'zz'", f"s IS NULL",
        f"coalesce(i, 0) > k", f"big > 9007199254740992", f"length(s) > 1 OR i > 3",
    ])


# -- windows ----------------------------------------------------------------------------------------


def exact_mean(values):
    return math.fsum(values) / len(values)


def figure(function, by_series):
    samples = [(time, series, value) for series, rows in by_series.items() for time, value in rows]
    values = [value for *_, value in samples]
    if function == "count":
        return len(values)
    if not values:
        return None
    if function in ("sum", "mean"):
        total = sum(values) if isinstance(values[0], int) else math.fsum(values)
        return total if function == "sum" else total / len(values)
    if function in ("min", "max"):
        return min(values) if function == "min" else max(values)
    if function == "stddev":
        if len(values) < 2:
            return None
        numbers = [fractions.Fraction(value) for value in values]
        mean = sum(numbers) / len(numbers)
        return math.sqrt(sum((number - mean) ** 2 for number in numbers) / (len(numbers) - 1))
    if function == "median":
        ordered = sorted(map(float, values))
        place = (len(ordered) - 1) / 2
        low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
        return low + (high - low) * (place % 1)
    pairs = [sorted(rows) for rows in by_series.values() if len(rows) > 1]
    if function == "delta":
        ends = [rows[-1][1] - rows[0][1] for rows in pairs]
        return (sum(ends) if isinstance(values[0], int) else math.fsum(ends)) if pairs else None
    rates = []
    for rows in pairs:
        rises = [b if b < a else b - a for (_, a), (_, b) in zip(rows, rows[1:])]
        rates.append(math.fsum(rises) / ((rows[-1][0] - rows[0][0]) / 1e9))
    return math.fsum(rates) if pairs else None


def close(a, b):
    if a is None or b is None or isinstance(a, (str, bool)) or isinstance(b, (str, bool)):
        return a == b
    if isinstance(a, int) and isinstance(b, int):
        return a == b
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)


@pytest.mark.parametrize("part", range(3))
def test_windows_agree_with_plain_loops(filled, duck, part):
    nodes, model = filled
    rng = random.Random(f"{SEED} windows {part}")
    functions = ["count", "sum", "mean", "min", "max", "stddev", "median", "delta", "rate"]
    for _ in range(QUESTIONS // (3 * len(nodes))):
        predicate = some_predicate(rng) if rng.random() < 0.7 else None
        field = rng.choice(["f", "g", "i", "k"])
        asked = rng.sample(functions, rng.randrange(1, 5))
        length = rng.choice([HOUR // 60, HOUR, 24 * HOUR, 7 * HOUR, None])
        group = rng.choice([[], ["host"], ["site", "rack"]])
        start = ns_of(rng.choice(CLUSTERS)) - rng.randrange(0, 2 * HOUR) if rng.random() < 0.5 else None
        end = None
        if length and length < HOUR:
            # Decades have too many minutes.
            start = ns_of(rng.choice(CLUSTERS)) - rng.randrange(0, HOUR)
            end = start + rng.randrange(1, 9 * HOUR)
        question = {
            "table": "d",
            "select": ", ".join(f"{function}({field}) as {function}_" for function in asked),
            "group_by": ",".join(group),
            "where": predicate or "",
            "window": f"{length}ns" if length else "",
            "start": iso(start) if start is not None else "",
            "end": iso(end) if end is not None else "",
            "order": rng.choice(["asc", "desc"]),
        }
        text = json.dumps(question)
        wanted = {key for key in model.rows}
        if predicate:
            picked = duck.execute(f"SELECT time, host, site, rack FROM d WHERE {predicate}").fetchall()
            wanted = {((host, site, rack), time) for time, host, site, rack in picked}
        cells = {}
        for (tags, time) in wanted:
            value = model.rows[(tags, time)].get(field)
            if value is None or (start is not None and time < start) or (end is not None and time >= end):
                continue
            place = (time // length if length else None, tuple(dict(zip(TAGS, tags))[name] for name in group))
            cells.setdefault(place, {}).setdefault(tags, []).append((time, value))
        figures = {place: [figure(function, by_series) for function in asked] for place, by_series in cells.items()}
        kept = {place: row for place, row in figures.items() if any(v not in (None,) for v in row)}
        last = lambda value: (value is None, value or "")
        order = sorted(kept, key=lambda place: (place[0] or 0, [last(tag) for tag in place[1]]))
        if question["order"] == "desc":
            order.sort(key=lambda place: -(place[0] or 0))
        answer = requests.get(f"{rng.choice(nodes).url}/api/v1/query", params=question, timeout=60)
        assert answer.status_code == 200, f"{text}: {answer.text}"
        found = answer.json()["rows"]
        assert len(found) == len(order), f"{text}: {len(found)} rows, expected {len(order)}"
        for place, row in zip(order, found):
            if length:
                begins = max(place[0] * length, -(2**63))
                assert row[0] == iso(begins), f"{text}: {row}, expected {place}"
            assert tuple(row[1 : 1 + len(group)]) == place[1], f"{text}: {row}, expected {place}"
            for function, a, b in zip(asked, row[1 + len(group) :], kept[place]):
                assert close(a, b), f"{text}: {function} is {a!r}, expected {b!r} at {place}"


# -- SQL ----------------------------------------------------------------------------------------------


def some_select(rng):
    where = f" WHERE {some_predicate(rng)}" if rng.random() < 0.8 else ""
    tag = rng.choice(list(TAGS))
    number = rng.choice(["i", "k", "f", "i + k", "i * 2 - k", "abs(i)", "coalesce(f, g, 0)"])
    shapes = [
        lambda: f"SELECT host, site, i, s, ok FROM d{where}",
        lambda: f"SELECT {tag}, count(*), sum({number}), min({number}), max({number}) FROM d{where} GROUP BY {tag}",
        lambda: f"SELECT {tag}, avg({number}) FROM d{where} GROUP BY {tag} HAVING count(*) > 3",
        lambda: f"SELECT count(*) FILTER (WHERE ok), sum(i) FILTER (WHERE {some_predicate(rng)}), count(DISTINCT {tag}) FROM d{where}",
        lambda: f"SELECT CASE WHEN {some_predicate(rng)} THEN 1 WHEN i > 0 THEN 2 ELSE 3 END AS c, count(*) FROM d{where} GROUP BY c",
        lambda: f"SELECT host, i, sum(i) OVER (PARTITION BY host ORDER BY time, site NULLS FIRST, rack NULLS FIRST ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) FROM d{where}",
        lambda: f"SELECT a.host, a.i, b.k FROM d a JOIN d b ON a.time = b.time AND a.host = b.host AND a.site = b.site WHERE a.i > b.k",
        lambda: f"SELECT a.host, a.i, b.n FROM d a LEFT JOIN (SELECT host, max(k) AS n FROM d{where} GROUP BY host) b ON a.host = b.host WHERE b.n IS NULL OR a.i > b.n",
        lambda: f"SELECT a.i, b.host FROM (SELECT * FROM d{where}) a RIGHT JOIN (SELECT DISTINCT host FROM d) b ON a.host = b.host WHERE a.i IS NULL OR a.f > 0",
        lambda: f"SELECT host FROM d{where} UNION SELECT site FROM d WHERE i > 0",
        lambda: f"SELECT host FROM d{where} EXCEPT SELECT host FROM d WHERE i < -30",
        lambda: f"SELECT i, host FROM d WHERE i IN (SELECT k FROM d{where})",
        lambda: f"SELECT i, host FROM d WHERE i NOT IN (SELECT k FROM d WHERE k IS NOT NULL AND k > 0)",
        lambda: f"SELECT host, i FROM d a WHERE EXISTS (SELECT 1 FROM d b WHERE b.host = a.host AND b.k = a.i)",
        lambda: f"WITH t AS (SELECT host, sum(i) AS n FROM d{where} GROUP BY host) SELECT host, n FROM t WHERE n > (SELECT avg(n) FROM t)",
    ]
    return rng.choice(shapes)()


def comparable(row):
    return tuple((value is None, isinstance(value, str), round(value, 6) if isinstance(value, float) else value) for value in row)


def sort_key(row):
    return [(value is None, str(type(value)) if isinstance(value, str) else "", str(value) if isinstance(value, str) else float(value or 0)) for value in row]


@pytest.mark.parametrize("part", range(3))
def test_sql_agrees_with_duckdb(filled, duck, part):
    nodes, _ = filled
    rng = random.Random(f"{SEED} sql {part}")
    for _ in range(QUESTIONS // (3 * len(nodes))):
        text = some_select(rng)
        expected = [list(row) for row in duck.execute(text).fetchall()]
        answer = requests.post(f"{rng.choice(nodes).url}/api/v1/sql", json={"q": text}, timeout=60)
        assert answer.status_code == 200, f"{text}: {answer.text}"
        found = answer.json()["rows"]
        assert len(found) == len(expected), f"{text}: {len(found)} rows, expected {len(expected)}"
        plain = lambda row: [int(v) if isinstance(v, int) and not isinstance(v, bool) else v for v in row]
        found = sorted(map(plain, found), key=sort_key)
        expected = sorted(map(plain, expected), key=sort_key)
        for a, b in zip(found, expected):
            assert all(close(x, y) for x, y in zip(a, b)), f"{text}: {a}, expected {b}"
