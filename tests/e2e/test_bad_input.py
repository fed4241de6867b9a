"""Malformed input gets a clear answer, and the node goes on."""

import gzip
import json
import random
import resource
import socket
import struct
import subprocess
import zlib

import pyarrow
import pytest
import requests

from conftest import BINARY, free_port, wait_for

# Far above what the allocator keeps for later, and far below what an input without a bound would take.
RSS_BYTES_MAX = 1 << 30


def rss_bytes(node):
    with open(f"/proc/{node.process.pid}/status") as status:
        (line,) = [line for line in status if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024


@pytest.fixture(autouse=True)
def still_fine(shared):
    """After each input: the same process, of a sane size, and a good request is answered."""
    shared.write("probe v=1 1")
    process = shared.process.pid
    yield
    assert shared.process.poll() is None and shared.process.pid == process
    assert shared.write("probe v=1 1").status_code == 204
    assert shared.count("probe") == 1
    assert rss_bytes(shared) < RSS_BYTES_MAX


def problem(answer, status):
    """Checks a problem document and gives it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json"), answer.headers
    body = answer.json()
    assert body["status"] == status and body["detail"] and body["title"] and body["type"]
    return body


def raw(node, data, timeout_s=20):
    with socket.create_connection(("127.0.0.1", node.http_port), timeout=timeout_s) as connection:
        connection.sendall(data)
        answer = b""
        try:
            while chunk := connection.recv(65536):
                answer += chunk
        except (ConnectionResetError, TimeoutError):
            pass
        return answer


LINES = [
    (b"m", "missing fields"),
    (b"m v=", "missing"),
    (b"m v=abc", ""),
    (b"m,=x v=1", ""),
    (b"m,a= v=1", ""),
    (b"m,a=1,a=2 v=1", ""),
    (b"m v=NaN", ""),
    (b"m v=inf", ""),
    (b"m v=1e999", ""),
    (b"m v=9223372036854775808i", ""),
    (b"m v=18446744073709551616u", ""),
    (b"m v=1 abc", ""),
    (b"m v=1 1.5", ""),
    (b"m v=1 99999999999999999999", ""),
    (b"m v=1 9223372036854775807", ""),
    (b"m v=\"never closed", ""),
    (b"m,a=b\\ v=1", ""),
    (b"m,a v=1", ""),
    (b"m\x00x v=1", ""),
    (b"m,t=a\x00b v=1", ""),
    (b"m v=\"\xff\xfe\"", ""),
    (b"../../etc/passwd v=1", ""),
    (b". v=1", ""),
    (b"_dead_letters v=1", ""),
    ("m\u202etxt v=1".encode(), ""),
    (b"x" * 300 + b" v=1", ""),
    (b"m,time=x v=1", ""),
    (b"m time=5", ""),
    (b"m," + b",".join(b"t%d=x" % i for i in range(10_000)) + b" v=1", ""),
    (b"m,t=" + b"y" * (64 * 1024 + 1) + b" v=1", ""),
    (b"m v=\"" + b"z" * (64 * 1024 + 1) + b"\"", ""),
]


@pytest.mark.parametrize("line, words", LINES, ids=range(len(LINES)))
def test_a_bad_line_beside_good_ones(shared, line, words):
    table = f"good{LINES.index((line, words))}"
    answer = shared.write(b"\n".join([f"{table} v=1 1".encode(), line, f"{table} v=2 2".encode()]))
    assert answer.status_code == 400, answer.text
    body = answer.json()
    assert body["error"] and body["message"] and body["code"] and words in body["message"]
    assert [one["line_number"] for one in body["data"]] == [2], body["data"]
    assert answer.headers["x-influxdb-error"]
    assert shared.count(table) == 2


def test_valid_line_protocol_that_looks_odd(shared):
    body = b"\xef\xbb\xbf# a comment\r\n\r\nodd,a=b v=-0,s=\"a\\\"b\",n=-5i -1000\r\nodd,a=b v=1,v=2 2000\r\na/b v=1\nCON v=1\n"
    assert shared.write(body).status_code == 204
    assert [row["v"] for row in shared.rows(table="odd", select="last(v) as v", window="1us")] == [0.0, 2.0]
    assert shared.count("a/b") == 1 and shared.count("CON") == 1
    extremes = f"edge v={-2**63}i 1\nedge v={2**63 - 1}i 2\n"
    assert shared.write(extremes).status_code == 204
    assert shared.sql("SELECT min(v) AS a, max(v) AS b FROM edge") == [{"a": -2**63, "b": 2**63 - 1}]
    assert shared.query(table="edge", select="sum(v)").status_code == 200
    assert shared.write("edge v=9223372036854775807i 3\nedge v=9223372036854775807i 4").status_code == 204
    problem(shared.query(table="edge", select="sum(v)"), 422)


def test_a_column_that_changes_type_within_a_batch(shared):
    answer = shared.write("flip v=1i 1\nflip v=\"x\" 2\nflip v=2.5 3\nflip v=true 4")
    assert answer.status_code == 400
    assert [one["line_number"] for one in answer.json()["data"]] == [2, 4]
    assert shared.rows(table="flip", select="sum(v) as s") == [{"time": None, "s": 3.5}]
    answer = shared.write("kind,a=x v=1\nkind a=5")
    assert answer.status_code == 400 and shared.count("kind") == 1


def test_parameters_of_writes(shared):
    url = shared.url
    for path in ("/write?precision=d", "/write?db=", "/api/v2/write?bucket=&precision=ns", "/write?db=a%00b", "/write?db=.."):
        answer = requests.post(url + path, data="m v=1")
        assert answer.status_code == 400 and answer.json()["error"], path
    assert requests.post(f"{url}/write", data="m v=1", headers={"Content-Encoding": "br"}).status_code == 415
    problem(requests.post(f"{url}/api/v1/write?table=t&format=xml", data=b"x"), 400)
    problem(requests.post(f"{url}/api/v1/write?table=t&format=json&colour=red", data=b"{}"), 400)
    problem(requests.post(f"{url}/api/v1/write?format=json", data=b"{}"), 400)
    problem(requests.post(f"{url}/api/v1/write?table=..%2f..%2fetc&format=json", data=b'{"v":1}'), 400)
    problem(requests.post(f"{url}/api/v1/write?table=_x&format=json", data=b'{"v":1}'), 400)
    assert requests.get(f"{url}/write").status_code == 405
    problem(requests.get(f"{url}/api/v1/nothing"), 404)


def test_bodies_that_lie(shared):
    url = shared.url
    bomb = gzip.compress(b"\n" * (200 << 20))
    assert requests.post(f"{url}/write", data=bomb, headers={"Content-Encoding": "gzip"}).status_code == 413
    nested = gzip.compress(gzip.compress(b"m v=1"))
    assert requests.post(f"{url}/write", data=nested, headers={"Content-Encoding": "gzip"}).status_code == 400
    cut = gzip.compress(b"cut v=1\n" * 1000)[:-9]
    assert requests.post(f"{url}/write", data=cut, headers={"Content-Encoding": "gzip"}).status_code == 400
    assert requests.post(f"{url}/write", data=b"m v=1", headers={"Content-Encoding": "gzip"}).status_code == 400
    assert requests.post(f"{url}/write", data=b"\n" * ((16 << 20) + 1)).status_code == 413
    assert requests.post(f"{url}/write", data=b"\n" * (16 << 20)).status_code == 204
    both = b"POST /write HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    assert raw(shared, both, 3).count(b"HTTP/1.1 200") == 0 or b"400" in raw(shared, both, 3)
    for _ in range(100):
        with socket.create_connection(("127.0.0.1", shared.http_port)) as connection:
            connection.sendall(b"POST /write HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nm v=1\nm ")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    huge_header = b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"y" * (64 << 10) + b"\r\n\r\n"
    assert raw(shared, huge_header, 5).startswith((b"HTTP/1.1 431", b"HTTP/1.1 400")) 


JSON_BODIES = [
    b"", b"{", b"[1,2", b"nonsense", b'{"v":"\\ud800"}', b'{"v":1,"v":2}', b'{"v":1e999}', b'{"v":NaN}', b'{"\xff":1}',
    b"[" * 100_000, b'{"a":' * 100_000, b'"text"', b"5", b"[[1]]", b"null", b'{"time":"not a time","v":1}', b'{"time":1e300,"v":1}',
    b'{"v":18446744073709551616}',
]


@pytest.mark.parametrize("body", JSON_BODIES, ids=range(len(JSON_BODIES)))
def test_bad_json(shared, body):
    for form in ("json", "ndjson"):
        answer = requests.post(f"{shared.url}/api/v1/write?table=bad_json&format={form}", data=body)
        if body == b"":
            assert answer.status_code in (204, 400)
        else:
            problem(answer, 400)
    assert shared.count("bad_json") == 0


def test_good_rows_beside_bad_ones_in_every_format(shared):
    def write(form, body, **params):
        return requests.post(f"{shared.url}/api/v1/write", params={"table": f"mixed_{form}", "format": form, **params}, data=body)

    answer = problem(write("json", b'[{"v":1,"time":1},{"v":"x","time":2},{"v":2,"time":3},5]', precision="s"), 400)
    assert [one["row"] for one in answer["rejected"]] == [2, 4] and answer["rows_written"] == 2
    answer = problem(write("ndjson", b'{"v":1,"time":1}\nbroken\n{"v":2,"time":3}\n', precision="s"), 400)
    assert [one["row"] for one in answer["rejected"]] == [2] and shared.count("mixed_ndjson") == 2
    answer = problem(write("csv", b"time,v\n1700000000,1\n1700000001,x\n1700000002,2,3\n1700000003,4\n"), 400)
    assert [one["row"] for one in answer["rejected"]] == [3, 4] and shared.count("mixed_csv") == 2


def arrow_stream():
    sink = pyarrow.BufferOutputStream()
    batch = pyarrow.record_batch({"time": pyarrow.array([1, 2, 3], pyarrow.timestamp("ns")), "host": ["a", "b", "a"], "v": [1.0, 2.0, 3.0]})
    with pyarrow.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def test_arrow_good_and_mutilated(shared):
    url = f"{shared.url}/api/v1/write?table=arrows&format=arrow&tags=host"
    good = arrow_stream()
    assert requests.post(url, data=good).status_code == 204
    assert shared.count("arrows") == 3
    chance = random.Random(7)
    for _ in range(300):
        bad = bytearray(good)
        for _ in range(chance.randrange(1, 5)):
            bad[chance.randrange(len(bad))] = chance.randrange(256)
        if chance.random() < 0.3:
            bad = bad[: chance.randrange(len(bad))]
        assert requests.post(url, data=bytes(bad)).status_code in (204, 400, 413)
    for lie in (struct.pack("<I", 0xFFFFFFFF) + struct.pack("<i", 0x7FFFFFFF), b"ARROW1\0\0", b"\0" * 64, good[:20]):
        problem(requests.post(url, data=lie), 400)


QUERIES = [
    {"select": "mean(v)"}, {"table": "probe"}, {"table": "", "select": "mean(v)"}, {"table": "probe", "select": ""},
    {"table": "probe", "select": "mean(nothing)"}, {"table": "probe", "select": "median()"}, {"table": "probe", "select": "foo(v)"},
    {"table": "probe", "select": "mean(v", "window": "1m"}, {"table": "probe", "select": "p101(v)"}, {"table": "probe", "select": "mean(time)"},
    {"table": "probe", "select": "mean(v)", "window": "5"}, {"table": "probe", "select": "mean(v)", "window": "0s"},
    {"table": "probe", "select": "mean(v)", "window": "-1m"}, {"table": "probe", "select": "mean(v)", "window": "1mon"},
    {"table": "probe", "select": "mean(v)", "window": "99999999999999999999d"}, {"table": "probe", "select": "mean(v)", "timezone": "Mars/Olympus"},
    {"table": "probe", "select": "mean(v)", "start": "yesterday"}, {"table": "probe", "select": "mean(v)", "start": "1700000000"},
    {"table": "probe", "select": "mean(v)", "start": "now", "end": "-1h"}, {"table": "probe", "select": "mean(v)", "where": "v >"},
    {"table": "probe", "select": "mean(v)", "where": "nothing = 1"}, {"table": "probe", "select": "mean(v)", "where": "1; DROP TABLE probe"},
    {"table": "probe", "select": "mean(v)", "group_by": "v"}, {"table": "probe", "select": "mean(v)", "fill": "sideways"},
    {"table": "probe", "select": "mean(v)", "order": "up"}, {"table": "probe", "select": "mean(v)", "limit": "-1"},
    {"table": "probe", "select": "mean(v)", "format": "xml"}, {"table": "probe", "select": "mean(v)", "colour": "red"},
    {"table": "probe", "select": "mean(v)", "window": "1ns", "start": "0s", "end": "100s", "fill": "0"},
    {"table": "probe", "select": "mean(v)", "where": " OR ".join(f"v = {i}" for i in range(1_000))},
    {"table": "probe", "select": "mean(v)", "where": "(" * 2_000 + "v > 1" + ")" * 2_000},
]


@pytest.mark.parametrize("params", QUERIES, ids=range(len(QUERIES)))
def test_bad_questions(shared, params):
    problem(shared.query(**params), 400)


def test_windows_are_bounded_and_the_limit_is_named(shared):
    body = problem(shared.query(table="probe", select="mean(v)", window="1ns", start="0s", end="100s", fill="null"), 400)
    assert "1000000" in body["detail"].replace(",", "")
    problem(shared.query(table="no_such_table", select="mean(v)"), 404)


SQL = [
    ("SELECT " + "+".join(["1"] * 5_000), 400), ("SELECT * FROM probe WHERE " + " OR ".join(["v=1"] * 10_000), 400), ("SELECT " + "(" * 5_000 + "1" + ")" * 5_000, 400),
    ("SELECT * FROM '/etc/passwd'", 400), ("COPY probe TO '/tmp/x'", 400), ("CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'", 400),
    ("SET datafusion.execution.batch_size = 1", 400), ("SELECT 1; SELECT 2", 400), ("", 400), ("SELEC 1", 400), ("DROP TABLE probe", 400),
    ("INSERT INTO probe VALUES (1)", 400), ("SELECT nothing FROM probe", 400), ("SELECT * FROM nothing", 400), ("SELECT repeat('x', 1000000000)", 400),
    ("SELECT 1/0", 400), ("SELECT CAST('x' AS INT)", 400), ("SELECT date_trunc('century of fire', now())", 400), ("x" * (300 << 10), 400),
]


@pytest.mark.parametrize("text, status", SQL, ids=range(len(SQL)))
def test_bad_sql(shared, text, status):
    answer = requests.post(f"{shared.url}/api/v1/sql", json={"q": text})
    assert answer.status_code in (status, 404, 422), answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")


def test_heavy_sql_is_stopped(make_oribi):
    node = make_oribi("[query]\ntime_ms_max = 2000\nmemory_bytes_max = 33554432\n").start()
    lines = "\n".join(f"big,host=h{i % 50} v={i} {i}" for i in range(5_000))
    assert node.write(lines).status_code == 204
    for text in (
        "SELECT count(*) FROM big a, big b, big c, big d WHERE a.v + b.v + c.v + d.v = 3",
        "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t",
        "SELECT * FROM big a, big b ORDER BY a.v + b.v",
    ):
        answer = requests.post(f"{node.url}/api/v1/sql", json={"q": text}, timeout=60)
        assert answer.status_code in (400, 422, 504), answer.text
    assert requests.post(f"{node.url}/api/v1/sql", json={"q": "SELECT 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!' ~ '(a+)+$' AS x"}).json()["rows"] == [[False]]
    assert node.count("big") == 5_000


def serve(*args, **environment):
    command = [str(BINARY), "serve", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env={"PATH": "/usr/bin", "RUST_BACKTRACE": "0", **environment})


def test_configuration_and_directories_that_cannot_be(shared, tmp_path):
    ports = ["--http-listen", "127.0.0.1:0", "--mqtt-listen", "127.0.0.1:0", "--node-listen", "127.0.0.1:0"]
    config = tmp_path / "c.toml"
    for text, words in [("colour = 1", "colour"), ("[mqtt]\nlinger = 5", "linger"), ("[query]\nwindows_max = 'x'", "windows_max"), ("a = [", "c.toml"),
                        ("[[mqtt.topics]]\npattern = 'a/#/b'\ntable = 't'", "pattern")]:
        config.write_text(text)
        ended = serve("--data-dir", tmp_path / "d", "--config", config, *ports)
        assert ended.returncode not in (0, 101) and words in ended.stderr, ended.stderr
    ended = serve("--data-dir", tmp_path / "d", "--http-listen", f"127.0.0.1:{shared.http_port}", *ports[2:])
    assert ended.returncode != 0 and str(shared.http_port) in ended.stderr and "--http-listen" in ended.stderr
    ended = serve("--data-dir", shared.data_dir, *ports)
    assert ended.returncode != 0 and "in use" in ended.stderr
    ended = serve("--data-dir", tmp_path / "d", *ports[:2], "--mqtt-listen", "0.0.0.0:0", *ports[4:])
    assert ended.returncode == 2 and "--insecure" in ended.stderr and "--mqtts-listen" in ended.stderr
    ended = serve("--data-dir", tmp_path / "d", "--http-listen", "0.0.0.0:0", *ports[2:], "--auth", "off")
    assert ended.returncode == 2 and "auth.mode" in ended.stderr
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "letter.txt").write_text("mine")
    ended = serve("--data-dir", foreign, *ports)
    assert ended.returncode != 0 and "letter.txt" in ended.stderr
    ended = serve("--data-dir", "/proc/oribi", *ports)
    assert ended.returncode not in (0, 101) and "/proc/oribi" in ended.stderr


def test_a_directory_of_a_later_version_is_left_alone(make_oribi, tmp_path):
    node = make_oribi().start()
    assert node.stop() == 0
    mark = node.data_dir / "ORIBI"
    later = bytearray(mark.read_bytes())
    later[8] = 99
    mark.write_bytes(bytes(later))
    ended = serve("--data-dir", node.data_dir, "--http-listen", "127.0.0.1:0", "--mqtt-listen", "127.0.0.1:0", "--node-listen", "127.0.0.1:0")
    assert ended.returncode != 0 and "version 99" in ended.stderr
    assert mark.read_bytes() == bytes(later)


def test_a_flipped_byte_is_reported_and_never_served(make_oribi):
    node = make_oribi().start()
    lines = "\n".join(f"m,host=h{i % 5} v={i * 0.37} {i}" for i in range(20_000))
    assert node.write(lines).status_code == 204
    assert requests.post(f"{node.url}/api/v1/compact", timeout=60).status_code in (200, 204)
    assert node.stop() == 0
    (segment,) = node.data_dir.glob("tablets/*/*.seg")
    bytes_ = bytearray(segment.read_bytes())
    bytes_[len(bytes_) // 2] ^= 0x10
    segment.write_bytes(bytes(bytes_))
    node.start()
    answer = node.query(table="m", select="sum(v),count(v),min(v)")
    assert answer.status_code >= 500 and "corrupt" in answer.json()["detail"]


def test_a_full_disk_refuses_writes_and_recovers(make_oribi):
    node = make_oribi("[storage]\ndisk_reserve_bytes = 1000000000000000\n").start()
    answer = node.write("m v=1")
    assert answer.status_code == 503 and answer.headers["retry-after"] and "disk" in answer.json()["message"]
    assert node.stop() == 0
    node.config.write_text("")
    node.start()
    assert node.write("m v=1").status_code == 204
