"""Programs that people already run, unchanged."""

import gzip
import socket
import subprocess
import time

import influxdb
import influxdb_client
import paho.mqtt.client as paho
import pytest
import questdb.ingress
import requests
from influxdb_client.client.write_api import SYNCHRONOUS, WriteOptions

from conftest import program, wait_for


def test_mosquitto_pub_works_out_of_the_box(shared):
    for version in ("mqttv311", "mqttv5"):
        for qos in ("0", "1", "2"):
            command = [program("mosquitto_pub"), "-h", "127.0.0.1", "-p", str(shared.mqtt_port), "-V", version]
            command += ["-q", qos, "-t", f"sensors/site1/dev{qos}", "-m", '{"temperature":21.5,"humidity":40}']
            subprocess.run(command, check=True, timeout=30)
    wait_for(lambda: shared.count("sensors") == 6, "six rows")
    rows = shared.rows(table="sensors", select="mean(temperature) as t,count(*) as n", group_by="site,device")
    assert [(row["device"], row["t"], row["n"]) for row in rows] == [(f"dev{qos}", 21.5, 2) for qos in range(3)]
    columns = {c["name"]: c["type"] for c in requests.get(f"{shared.url}/api/v1/tables").json()["tables"][0]["columns"]}
    assert columns == {"time": "time", "site": "string", "device": "string", "temperature": "float", "humidity": "integer"}


def test_influxdb_client_v2(shared):
    with influxdb_client.InfluxDBClient(shared.url, token="any", org="any", enable_gzip=True) as client:
        assert client.ping()
        assert client.health().status == "pass"
        points = [influxdb_client.Point("v2").tag("host", f"h{i % 3}").field("v", i).time(10**9 * (1700000000 + i)) for i in range(500)]
        client.write_api(write_options=SYNCHRONOUS).write(bucket="plant", record=points)
        assert shared.count("v2", db="plant") == 500
        with client.write_api(write_options=WriteOptions(batch_size=100, flush_interval=200)) as batching:
            for i in range(1000):
                batching.write("plant", record=f"v2b,host=a v={i}i {1700000000 + i}", write_precision="s")
        assert shared.count("v2b", db="plant") == 1000
        with pytest.raises(influxdb_client.rest.ApiException) as error:
            client.write_api(write_options=SYNCHRONOUS).write("plant", record="v2 v=1\nbroken\nv2 v=x")
        assert error.value.status == 400 and "unable to parse" in error.value.message
        assert [row["line_number"] for row in requests.post(f"{shared.url}/api/v2/write?bucket=plant", data="broken\nv2 v=2").json()["data"]] == [1]


def test_influxdb_client_v1(shared):
    client = influxdb.InfluxDBClient("127.0.0.1", shared.http_port, "root", "root", "old")
    assert client.ping()
    client.create_database("old")
    assert {"name": "old"} in client.get_list_database()
    points = [{"measurement": "v1", "tags": {"host": "a"}, "fields": {"v": i, "s": "x y"}, "time": 1700000000000 + i} for i in range(50)]
    assert client.write_points(points, time_precision="ms")
    assert shared.count("v1", db="old") == 50
    client.drop_database("old")
    assert {"name": "old"} not in client.get_list_database()
    assert shared.count("v1", db="old") == 0


def test_questdb_sender(shared):
    configuration = f"http::addr=127.0.0.1:{shared.http_port};"
    with questdb.ingress.Sender.from_conf(configuration) as sender:
        for i in range(100):
            sender.row("quest", symbols={"host": "a"}, columns={"v": i * 0.5, "n": i, "ok": True, "s": "é"}, at=questdb.ingress.TimestampNanos(10**18 + i))
        sender.flush()
    assert shared.count("quest") == 100
    assert shared.sql("SELECT sum(n) AS n, sum(v) AS v FROM quest") == [{"n": 4950, "v": 2475.0}]


def test_what_tsbs_and_home_assistant_ask(shared):
    url = shared.url
    databases = requests.get(f"{url}/query", params={"q": "show databases"}).json()
    assert "series" in databases["results"][0]
    assert requests.post(f"{url}/query?q=drop+database+benchmark", headers={"Content-Type": "text/plain"}).status_code == 200
    assert requests.get(f"{url}/query?consistency=all&q=CREATE+DATABASE+benchmark+WITH+REPLICATION+1").status_code == 200
    body = gzip.compress(b"cpu,hostname=host_0 usage_user=58i,usage_system=2i 1451606400000000000\n" * 3)
    headers = {"Content-Type": "text/plain", "Content-Encoding": "gzip"}
    answer = requests.post(f"{url}/write?consistency=all&db=benchmark", data=body, headers=headers)
    assert (answer.status_code, answer.content) == (204, b"")
    assert shared.count("cpu", db="benchmark") == 1
    for empty in (b"", b"\n"):
        assert requests.post(f"{url}/write?db=home", data=empty).status_code == 204
        assert requests.post(f"{url}/api/v2/write?bucket=home&org=", data=empty).status_code == 204
    chunked = requests.post(f"{url}/write?db=telegraf", data=iter([gzip.compress(b"m,host=a v=1\n")]), headers={"Content-Encoding": "gzip"})
    assert chunked.status_code == 204
    form = requests.post(f"{url}/query", data={"q": 'CREATE DATABASE "telegraf"'})
    assert form.status_code == 200 and "error" not in form.text


@pytest.mark.parametrize("version", [paho.MQTTv311, paho.MQTTv5])
def test_paho_with_defaults(shared, version):
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=f"paho{version}", protocol=version)
    acked = []
    client.on_publish = lambda *args: acked.append(args[2])
    client.connect("127.0.0.1", shared.mqtt_port)
    client.loop_start()
    for i in range(2000):
        client.publish(f"paho/{version}/dev", f'{{"v":{i},"time":{1700000000000 + i}}}', qos=1 + i % 2)
    wait_for(lambda: len(acked) == 2000, "2000 acks")
    client.disconnect()
    client.loop_stop()
    topic = f"paho/{version}/dev"
    assert shared.sql(f"SELECT count(*) AS n FROM paho WHERE topic = '{topic}'") == [{"n": 2000}]


def test_a_slow_client_is_cut_off(make_oribi):
    node = make_oribi().start()
    with socket.create_connection(("127.0.0.1", node.http_port)) as slow:
        slow.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n")
        started = time.monotonic()
        slow.settimeout(30)
        while slow.recv(4096):
            pass
        assert time.monotonic() - started < 25
