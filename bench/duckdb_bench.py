"""Asks DuckDB, inside this process, the questions that arrive on standard input.

Every line is a kind, a tab and SQL. Results are appended in the shape of `oribi-bench`:
step, system, name, value, with tabs between.
"""

import argparse
import os
import statistics
import sys
import time

import duckdb

TAGS = (
    "hostname region datacenter rack os arch team service service_version service_environment"
).split()
FIELDS = (
    "usage_user usage_system usage_idle usage_nice usage_iowait usage_irq usage_softirq "
    "usage_steal usage_guest usage_guest_nice"
).split()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--database", required=True)
    parser.add_argument("--csv", required=True)
    parser.add_argument("--results", required=True)
    parser.add_argument("--questions", type=int, default=20, help="of each kind, to warm up")
    parser.add_argument("--kind-s", type=float, default=40)
    options = parser.parse_args()

    connection = duckdb.connect(options.database)
    rows = load(connection, options.csv)
    stored = os.stat(options.database)
    metrics = rows * len(FIELDS)
    put(options.results, "disk", "bytes", stored.st_size)
    put(options.results, "disk", "bytes_per_metric", f"{stored.st_size / metrics:.4f}")
    put(options.results, "disk", "blocks_per_metric", f"{stored.st_blocks * 512 / metrics:.4f}")

    for kind, questions in read_questions().items():
        warm_up, measured = questions[: options.questions], questions[options.questions :]
        digests = [digest_of(connection, sql) for sql in warm_up]
        rows, total = (sum(column) for column in zip(*digests))
        put(options.results, f"answers-{len(warm_up)}", kind, f"{rows} {total!r}")
        median_ms = ask(connection, measured, options)
        put(options.results, "queries", kind, f"{median_ms:.4f}")
        print(f"{kind:<24} {median_ms:>10.3f}")


def load(connection, csv):
    tags = ", ".join(f"{tag} VARCHAR" for tag in TAGS)
    fields = ", ".join(f"{field} BIGINT" for field in FIELDS)
    connection.execute(f"CREATE TABLE cpu (time TIMESTAMP, {tags}, {fields})")
    columns = ["seconds", *TAGS, *FIELDS]
    types = {name: "VARCHAR" if name in TAGS else "BIGINT" for name in columns}
    start = time.monotonic()
    connection.execute(
        f"INSERT INTO cpu SELECT make_timestamp(seconds * 1000000), * EXCLUDE (seconds) "
        f"FROM read_csv(?, header = false, columns = {types})",
        [csv],
    )
    connection.execute("CHECKPOINT")
    (rows,) = connection.execute("SELECT count(*) FROM cpu").fetchone()
    print(f"duckdb {duckdb.__version__}: {rows} rows from CSV in {time.monotonic() - start:.1f} s")
    return rows


def read_questions():
    questions = {}
    for line in sys.stdin:
        kind, sql = line.rstrip("\n").split("\t")
        questions.setdefault(kind, []).append(sql)
    return questions


def ask(connection, questions, options):
    times = []
    start = time.perf_counter()
    for sql in questions:
        if len(times) >= options.questions and time.perf_counter() - start > options.kind_s:
            break
        asked = time.perf_counter()
        connection.sql(sql).to_arrow_table()
        times.append(time.perf_counter() - asked)
    return statistics.median(times) * 1e3


def digest_of(connection, sql):
    """Rows, and the sum of everything that is a number."""
    cursor = connection.execute(sql)
    types = [str(column[1]) for column in cursor.description]
    numbers = [place for place, name in enumerate(types) if name in ("BIGINT", "DOUBLE")]
    rows = cursor.fetchall()
    return len(rows), float(sum(row[i] for row in rows for i in numbers))


def put(path, step, name, value):
    with open(path, "a", encoding="utf-8") as results:
        results.write(f"{step}\tduckdb\t{name}\t{value}\n")


main()
