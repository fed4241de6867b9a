"""MQTT sources and sinks at another broker than Mosquitto: HiveMQ Community Edition, which starts slowly.

Run by name: target/venv/bin/python -m pytest tests/e2e/slow_hivemq.py
"""

import pytest

from conftest import free_port, wait_for
from parts import Mosquitto, script  # noqa: F401  fixtures
from test_mqtt_source import (  # noqa: F401  tests
    test_a_broker_that_comes_late_and_goes_is_a_state,
    test_a_session_with_tens_of_thousands_of_messages_is_drained,
    test_messages_become_rows_in_both_versions_and_all_qualities,
    test_nothing_is_lost_while_away_or_killed,
    test_poison_and_packets_that_are_too_large_are_dead_letters,
    test_retained_messages_are_skipped_or_taken,
    message,
    running,
    source,
)


class HiveMQ(Mosquitto):
    """A broker whose sessions lie in its folder."""

    def __init__(self, folder):
        folder.mkdir()
        self.folder, self.port = folder, free_port()
        (folder / "port").write_text(str(self.port))

    def start(self):
        script("up", self.folder, part="hivemq")
        return self

    def stop(self):
        script("down", self.folder, part="hivemq")


@pytest.fixture
def mosquitto(tmp_path):
    """Makes brokers that end with the test; what is said to Mosquitto's configuration holds here anyway."""
    made = []

    def make(*_, name="hivemq"):
        made.append(HiveMQ(tmp_path / name))
        return made[-1]

    yield make
    for broker in made:
        broker.stop()


def test_a_shared_subscription_goes_on_where_a_member_is_killed(mosquitto, make_oribi):
    """HiveMQ may give all messages to one member as long as that one takes them."""
    broker = mosquitto().start()
    topics = ["$share/oribi/site/+/dev/+"]
    nodes = [make_oribi(source(broker.port, topics, more=f'client_id = "c{at}"'), f"n{at}").start() for at in range(2)]
    for node in nodes:
        running(node)
    seen = lambda: {row["v"] for node in nodes if node.count("sensors") for row in node.sql("SELECT v FROM sensors")}
    broker.send([message(at) for at in range(1_000)])
    wait_for(lambda: len(seen()) == 1_000, "all rows")
    for node in nodes:
        node.kill()
        broker.send([message(at) for at in range(1_000, 2_000)])
        node.start()
    wait_for(lambda: len(seen()) == 2_000, "all rows, some at both")
