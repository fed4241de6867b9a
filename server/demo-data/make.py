#!/usr/bin/env python3
"""Makes the recordings of the demo from the sources that README.md names.

usage: make.py NAB_DATA_FOLDER NYCFLIGHTS13_WEATHER_CSV

Each recording is a gzipped CSV. `step_s` is the time since the row before, in seconds; in the first row it
counts from midnight. An empty cell is a value that was not recorded. Rows out of order or of the same time as
the one before are left out, and so are digits that the sensor did not have.
"""

import csv
import gzip
import io
import sys
from datetime import datetime
from pathlib import Path


def nab(folder, name, digits):
    """The rows of a file of the Numenta Anomaly Benchmark: time and value."""
    rows = {}
    with open(folder / name, newline="") as file:
        last = None
        for row in csv.DictReader(file):
            at = datetime.fromisoformat(row["timestamp"])
            if last is None or at > last:
                rows[at] = round(float(row["value"]), digits)
                last = at
    return rows


def joined(columns):
    """Rows that have a value in every column; their times lie within a minute of each other."""
    first, *others = [{at.replace(second=0): value for at, value in rows.items()} for rows in columns]
    return {at: [first[at]] + [rows[at] for rows in others] for at in first if all(at in rows for rows in others)}


def weather(path, origin):
    """The hourly rows of an airport."""
    columns = {"temp": 2, "humid": 2, "wind_speed": 2, "pressure": 1}
    rows = {}
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            if row["origin"] == origin:
                at = datetime.fromisoformat(row["time_hour"].replace("Z", ""))
                rows[at] = [None if row[name] == "NA" else round(float(row[name]), digits) for name, digits in columns.items()]
    return {at: values for at, values in sorted(rows.items()) if any(value is not None for value in values)}


def text(value):
    if value is None:
        return ""
    return str(int(value)) if float(value).is_integer() else str(value)


def write(name, fields, rows):
    out = io.StringIO()
    out.write(",".join(["step_s", *fields]) + "\n")
    first = next(iter(rows))
    last = first.replace(hour=0, minute=0, second=0)
    for at, values in rows.items():
        step_s = int((at - last).total_seconds())
        last = at
        values = values if isinstance(values, list) else [values]
        out.write(",".join([str(step_s), *map(text, values)]) + "\n")
    data = gzip.compress(out.getvalue().encode(), compresslevel=9, mtime=0)
    (Path(__file__).parent / f"{name}.csv.gz").write_bytes(data)
    print(f"{name}: {len(rows)} rows from {first}, {len(data)} bytes")


def main():
    folder, weather_csv = Path(sys.argv[1]), Path(sys.argv[2])
    for origin in ["JFK", "LGA", "EWR"]:
        fields = ["temperature", "humidity", "wind_speed", "pressure"]
        write(f"newyork-{origin.lower()}", fields, weather(weather_csv, origin))
    write("newyork-taxis", ["passengers"], nab(folder, "realKnownCause/nyc_taxi.csv", 0))
    for sensor in ["t4013", "6005"]:
        columns = [nab(folder, f"realTraffic/{what}_{sensor}.csv", 2) for what in ["speed", "occupancy"]]
        write(f"twincities-{sensor}", ["speed", "occupancy"], joined(columns))
    write("plant-machine1", ["temperature"], nab(folder, "realKnownCause/machine_temperature_system_failure.csv", 2))
    write("office-room1", ["temperature"], nab(folder, "realKnownCause/ambient_temperature_system_failure.csv", 2))
    write("datacenter-web1", ["cpu"], nab(folder, "realAWSCloudwatch/ec2_cpu_utilization_5f5533.csv", 3))
    write("datacenter-db1", ["cpu"], nab(folder, "realAWSCloudwatch/rds_cpu_utilization_cc0c53.csv", 3))


if __name__ == "__main__":
    main()
