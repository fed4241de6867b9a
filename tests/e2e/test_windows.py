"""Windows over recorded series, against DuckDB and against Python's own calendar."""

import collections
import csv
import datetime
import math
import statistics
import zoneinfo

import duckdb
import pytest
import requests

from conftest import DATA

UTC = datetime.timezone.utc
FIELDS = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]


def seconds(text):
    return int(datetime.datetime.fromisoformat(text.replace(" ", "T")).replace(tzinfo=UTC).timestamp())


def parse(time):
    return int(datetime.datetime.fromisoformat(time.replace("Z", "+00:00")).timestamp())


@pytest.fixture(scope="module")
def machine():
    with (DATA / "machine_temperature.csv").open() as file:
        return [(seconds(row["timestamp"]), float(row["value"])) for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def weather():
    with (DATA / "weather.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def node(shared, machine, weather):
    lines = [f"machine,device=m1 value={value!r} {time}" for time, value in machine]
    assert shared.write("\n".join(lines), precision="s").status_code == 204
    body = (DATA / "weather.csv").read_text().replace("NA", "")
    answer = requests.post(f"{shared.url}/api/v1/write?table=weather&format=csv&tags=origin&time=time_hour", data=body)
    assert answer.status_code == 204, answer.text
    assert shared.write((DATA / "wind.lp").read_bytes(), precision="s").status_code == 204
    return shared


@pytest.fixture(scope="module")
def duck(machine, weather):
    db = duckdb.connect()
    db.execute("CREATE TABLE machine (time BIGINT, value DOUBLE)")
    # Of two rows with one key the later wins.
    db.executemany("INSERT INTO machine VALUES (?, ?)", list(dict(machine).items()))
    db.execute(f"CREATE TABLE weather (origin VARCHAR, time BIGINT, {', '.join(f + ' DOUBLE' for f in FIELDS)})")
    number = lambda text: None if text == "NA" else float(text)
    keyed = {(row["origin"], parse(row["time_hour"])): [number(row[f]) for f in FIELDS] for row in weather}
    db.executemany(f"INSERT INTO weather VALUES (?, ?{', ?' * len(FIELDS)})", [[*key, *values] for key, values in keyed.items()])
    return db


def same(a, b):
    if a is None or b is None or isinstance(a, str):
        return a == b
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)


def compare(ours, theirs):
    assert len(ours) == len(theirs) and ours
    for mine, other in zip(ours, theirs):
        assert all(same(a, b) for a, b in zip(mine, other)), (mine, other)


AGGREGATES = [
    ("count(value)", "count(value)"),
    ("sum(value)", "sum(value)"),
    ("mean(value)", "avg(value)"),
    ("min(value)", "min(value)"),
    ("max(value)", "max(value)"),
    ("first(value)", "arg_min(value, time)"),
    ("last(value)", "arg_max(value, time)"),
    ("stddev(value)", "stddev_samp(value)"),
    ("median(value)", "quantile_cont(value, 0.5)"),
    ("p90(value)", "quantile_cont(value, 0.9)"),
    ("p99(value)", "quantile_cont(value, 0.99)"),
]


@pytest.mark.parametrize("window, length", [("1m", 60), ("7m", 420), ("1h", 3600), ("1d", 86400), ("7d", 604800), ("10000s", 10000)])
def test_every_aggregate_agrees_with_duckdb(node, duck, window, length):
    ours = node.rows(table="machine", select=",".join(a for a, _ in AGGREGATES), window=window)
    theirs = duck.execute(
        f"SELECT time // {length} * {length} AS w, {', '.join(b for _, b in AGGREGATES)} FROM machine GROUP BY w ORDER BY w"
    ).fetchall()
    compare([(parse(row["time"]), *[row[a] for a, _ in AGGREGATES]) for row in ours], theirs)


def test_groups_nulls_and_conditions_agree_with_duckdb(node, duck):
    ours = node.rows(
        table="weather", select="mean(wind_gust) as gust,count(wind_gust) as n,max(temp) as t", window="6h",
        group_by="origin", where="temp > 40 AND origin <> 'LGA'", start="2013-02-01T00:00:00Z", end="2013-03-10T05:00:00Z",
    )
    theirs = duck.execute(
        "SELECT time // 21600 * 21600 AS w, origin, avg(wind_gust), count(wind_gust), max(temp) FROM weather "
        "WHERE temp > 40 AND origin <> 'LGA' AND time >= 1359676800 AND time < 1362891600 GROUP BY w, origin ORDER BY w, origin"
    ).fetchall()
    compare([(parse(r["time"]), r["origin"], r["gust"], r["n"], r["t"]) for r in ours], theirs)


def test_sql_agrees_with_duckdb(node, duck):
    query = (
        "WITH hot AS (SELECT origin, avg(temp) AS t FROM weather GROUP BY origin) "
        "SELECT w.origin AS origin, count(*) AS n, max(w.temp) AS top FROM weather w JOIN hot ON w.origin = hot.origin "
        "WHERE w.temp > hot.t GROUP BY w.origin ORDER BY w.origin"
    )
    compare([tuple(row.values()) for row in node.sql(query)], duck.execute(query).fetchall())
    ours = node.sql(
        "SELECT time_bucket(INTERVAL '1 day', time) AS d, approx_distinct(device) AS n, avg(value) AS m FROM machine GROUP BY d ORDER BY d LIMIT 5"
    )
    theirs = duck.execute("SELECT time // 86400 * 86400 AS d, avg(value) FROM machine GROUP BY d ORDER BY d LIMIT 5").fetchall()
    compare([(parse(row["d"] + ("" if row["d"].endswith("Z") else "Z")), row["m"]) for row in ours], theirs)


def zone_windows(rows, zone, start_of):
    groups = collections.defaultdict(list)
    for time, value in rows:
        local = datetime.datetime.fromtimestamp(time, zone)
        groups[start_of(local)].append(value)
    return sorted((int(start.timestamp()), len(values), statistics.fmean(values)) for start, values in groups.items())


@pytest.mark.parametrize("name", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"])
def test_calendar_windows_follow_the_zone(node, machine, weather, name):
    zone = zoneinfo.ZoneInfo(name)
    rows = {parse(row["time_hour"]): float(row["temp"]) for row in weather if row["origin"] == "JFK" and row["temp"] != "NA"}.items()
    day = lambda t: datetime.datetime(t.year, t.month, t.day, tzinfo=zone)
    month = lambda t: datetime.datetime(t.year, t.month, 1, tzinfo=zone)
    monday = lambda t: day(t - datetime.timedelta(days=t.weekday()))
    for window, start_of in (("1d", day), ("1mo", month), ("1w", monday)):
        ours = node.rows(table="weather", select="count(temp) as n,mean(temp) as m", where="origin = 'JFK'", window=window, timezone=name)
        compare([(parse(row["time"]), row["n"], row["m"]) for row in ours], zone_windows(rows, zone, start_of))


def test_fill_order_and_limit(node):
    question = {"table": "machine", "select": "mean(value) as m,count(*) as n", "window": "1m", "start": "2013-12-02T21:10:00Z", "end": "2013-12-02T21:30:00Z"}
    rows = node.rows(**question, fill="null")
    assert len(rows) == 20 and [row["n"] for row in rows].count(1) == 3
    assert rows[0] == {"time": "2013-12-02T21:10:00Z", "m": None, "n": 0}
    linear = node.rows(**question, fill="linear")
    assert same(linear[6]["m"], 73.96732207 + (74.93588199999998 - 73.96732207) / 5)
    previous = node.rows(**question, fill="previous", order="desc", limit=2)
    assert [row["time"] for row in previous] == ["2013-12-02T21:29:00Z", "2013-12-02T21:28:00Z"]
    assert previous[0]["m"] == previous[1]["m"] == node.rows(**question)[-1]["m"]


def test_rates_count_resets(node):
    lines = [f"counter,host={h} v={v}i {1700000000 + i * 10}" for h, values in {"a": [0, 10, 20, 5, 15], "b": [7, 7, 9, 9, 9]}.items() for i, v in enumerate(values)]
    assert node.write("\n".join(lines), precision="s").status_code == 204
    assert node.rows(table="counter", select="rate(v) as r,delta(v) as d", group_by="host") == [
        {"time": None, "host": "a", "r": 35 / 40, "d": 15}, {"time": None, "host": "b", "r": 2 / 40, "d": 2}]
    (both,) = node.rows(table="counter", select="rate(v) as r,delta(v) as d")
    assert same(both["r"], 37 / 40) and both["d"] == 17


def test_formats_agree(node):
    question = {"table": "weather", "select": "mean(temp) as t,count(wind_gust) as n", "window": "1d", "group_by": "origin", "limit": 50}
    rows = node.rows(**question)
    lines = node.query(**question, format="csv").text.splitlines()
    parsed = [{"time": r["time"], "origin": r["origin"], "t": float(r["t"]), "n": int(r["n"])} for r in csv.DictReader(lines)]
    assert parsed == rows
    import json

    import pyarrow

    assert [json.loads(line) for line in node.query(**question, format="ndjson").text.splitlines()] == rows
    table = pyarrow.ipc.open_stream(node.query(**question, format="arrow").content).read_all()
    assert table.column("t").to_pylist() == [row["t"] for row in rows]
    assert requests.get(f"{node.url}/api/v1/query", params=question, headers={"Accept": "text/csv"}).text.splitlines() == lines


def test_the_same_after_compaction_and_restart(node):
    question = {"table": "machine", "select": "mean(value),p99(value),last(value)", "window": "1h"}
    before = node.rows(**question)
    assert requests.post(f"{node.url}/api/v1/compact", timeout=120).status_code in (200, 204)
    assert node.rows(**question) == before
    node.kill()
    node.start()
    assert node.rows(**question) == before
