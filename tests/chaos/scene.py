"""A cluster, those who write to it, what befalls it, and what is said in the end."""

import collections
import contextlib
import time

import requests
from brokers import Brokers
from cluster import Member, put_table, until_together
from conftest import wait_for
from disks import Folder, Image, why_no_images
from faulty import Orders, library
from faults import CALM_S, Faults, until_calm
from judge import ask, judge
from ledger import ACKED, Acks, Ledger, outcomes
from links import Links
from load import BROKER_TABLE, KAFKA_TABLE, MQTT_TABLE, REGISTER_TABLE, ROWS_TABLE
from load import BrokerWriter, KafkaWriter, MqttWriter, RegisterWriter, RowWriter

MQTT_ROWS = 100
BROKERS_SHARE = 10
"""Through brokers come at most so many times fewer rows than otherwise."""
DRAINED_S = 120
FLUSH_OFTEN = """[storage]
memtable_bytes_max = 8388608
log_bytes_max = 4194304
log_file_bytes = 1048576
log_kept_bytes_max = 65536
idle_flush_s = 2
"""
SCRUB_OFTEN = "scrub_pause_s = 1\n"
REPLACE_AFTER_S = 20
FRESH_TABLE = "fresh"


class Node(Member):
    """A member with a number, an id, which is the number until its disk is lost, and a disk."""

    def __init__(self, folder, number, disk_of):
        super().__init__(folder)
        self.number, self.id, self.disk = number, number, disk_of(folder)
        self.data_dir, self.orders = self.disk.path / "data", None

    def is_told(self, advertise, join, more):
        text = f'{more}[cluster]\nreplace_after_s = {REPLACE_AFTER_S}\nadvertise = "127.0.0.1:{advertise}"\n'
        if join:
            text += f'join = "127.0.0.1:{join}"\n'
        self.config.write_text(text)

    def is_healthy(self):
        """Whether it says so in time."""
        try:
            return self.healthy()
        except requests.RequestException:
            return False


class Load:
    """Those who write."""

    def __init__(self, options, nodes, folder, acks, brokers):
        self.tables, self.mqtt_rows = options.tables, MQTT_ROWS
        # That a broker has a message says nothing of the nodes.
        apart = Acks(options.rows_per_s_max // BROKERS_SHARE)
        numbers = iter(range(1_000))

        def make(kind, count, acks=acks, **more):
            made = []
            for number, _ in zip(numbers, range(count)):
                ledger = Ledger(folder, f"{kind.__name__}-{number}", acks)
                made.append(kind(number, nodes, ledger, options.seed, **more))
            return made

        self.rows = make(RowWriter, options.writers, tables=options.tables, batch_rows=options.batch_rows)
        self.mqtt = make(MqttWriter, options.mqtt, batch_rows=MQTT_ROWS)
        self.registers = make(RegisterWriter, options.registers)
        kafka, mosquitto = brokers.kafka, brokers.mosquitto
        self.kafka = make(KafkaWriter, 1, apart, batch_rows=MQTT_ROWS, kafka=kafka, topic=brokers.topic) if kafka else []
        self.broker = make(BrokerWriter, 1, apart, batch_rows=MQTT_ROWS, mosquitto=mosquitto) if mosquitto else []
        self.all = [*self.rows, *self.mqtt, *self.registers, *self.kafka, *self.broker]

    def start(self):
        for writer in self.all:
            writer.start()

    def look(self):
        for writer in self.all:
            assert writer.failure is None, writer.failure

    def end(self):
        for writer in self.all:
            writer.ending.set()
        for writer in self.all:
            writer.join(60)
            assert not writer.is_alive(), f"{writer.name} does not end"
        self.look()

    def until_drained(self, node):
        """All that brokers have acknowledged is stored, or the judge says what is not."""
        for writers, table in ((self.kafka, KAFKA_TABLE), (self.broker, BROKER_TABLE)):
            acked = sum(what == ACKED for writer in writers for what in outcomes(writer.ledger).values()) * MQTT_ROWS
            with contextlib.suppress(AssertionError):
                wait_for(lambda: node.count(table) >= acked, f"{acked} rows of {table}", DRAINED_S)


class Scene:
    def __init__(self, options, folder, say):
        self.options, self.folder, self.say = options, folder, say
        self.acks, self.nodes, self.links, self.brokers = Acks(options.rows_per_s_max), [], None, Brokers()
        self.log = (folder / "faults.jsonl").open("a")

    # -- setting ------------------------------------------------------------------------------

    def make_nodes(self):
        options, disk_of = self.options, Folder
        why = None if options.disks == "plain" else why_no_images(self.folder)
        if why:
            self.say(f"SKIPPED faults of the disks: {why}")
            assert options.disks != "images", why
        elif options.disks != "plain":
            disk_of = lambda folder: Image(folder, options.disk_mib)
        made, why = library(self.folder)
        if why:
            self.say(f"SKIPPED slow and failed syncs, short writes, and clocks that jump: {why}")
        for number in range(1, options.nodes + 1):
            node = Node(self.folder / f"node{number}", number, disk_of)
            if made:
                node.orders = Orders(node.folder, made)
                node.env = node.orders.env
            self.nodes.append(node)
        if options.links == "proxies":
            self.links = Links({node.number: node.node_port for node in self.nodes})
        else:
            self.say("no faults of the network: asked for")
        port_of = lambda node: self.links.port(node.number) if self.links else node.node_port
        self.storage = (FLUSH_OFTEN if options.flush == "often" else "[storage]\n") + SCRUB_OFTEN
        for node in self.nodes:
            node.is_told(port_of(node), port_of(self.nodes[0]) if node.number > 1 else None, self.storage)

    def start_nodes(self, nodes):
        """One after the other, so that each is known by its number."""
        for node in nodes:
            node.start()
            wait_for(lambda node=node: node.cluster()["self"] == node.number, "the node to have its number")

    def tell_all_of_each_other(self):
        """Whoever loses its disk has somebody to ask, the first one too."""
        port_of = lambda node: self.links.port(node.number) if self.links else node.node_port
        for node, other in zip(self.nodes, [*self.nodes[1:], self.nodes[0]]):
            node.is_told(port_of(node), port_of(other), self.storage)

    def make_tables(self):
        options, first = self.options, self.nodes[0]
        integers = {"v": "integer", "c": "integer"}
        for table in range(options.tables):
            put_table(first, f"{ROWS_TABLE}{table}", buckets=options.buckets, tags=["w", "s"], columns=integers)
        put_table(first, MQTT_TABLE, buckets=options.buckets, tags=["site", "device"], columns=integers)
        put_table(first, REGISTER_TABLE, tags=["w", "k"], columns={"v": "integer"})
        for table in self.brokers.connectors():
            put_table(first, table, buckets=options.buckets, tags=["w", "s"], columns=integers)

    # -- playing ------------------------------------------------------------------------------

    def play(self):
        """Whether all was well."""
        options = self.options
        self.make_nodes()
        self.start_nodes(self.nodes[:1] if options.alone else self.nodes)
        if not options.alone:
            until_together(self.nodes)
        if options.brokers == "auto":
            self.brokers.start(self.folder, self.say)
        self.make_tables()
        self.brokers.connect(self.nodes[0])
        load = Load(options, self.nodes, self.folder, self.acks, self.brokers)
        load.start()
        if options.alone:
            self.let_others_join(load)
        self.tell_all_of_each_other()
        faults = Faults(options, self.nodes, self.acks, self.links, self.brokers, self.changing(), self.note)
        until = time.monotonic() + options.minutes_max * 60
        while self.is_more_to_do(faults) and time.monotonic() < until:
            load.look()
            if faults.counts.total() < options.faults:
                faults.next()
            else:
                time.sleep(0.1)
        faults.until_calm()
        load.end()
        load.until_drained(self.nodes[0])
        self.write_fresh()
        verdict = judge(self.nodes, load, options.batch_rows)
        if verdict.lost:
            self.tell_where(load)
        self.check_directories()
        return self.tell(verdict, faults, load)

    def changing(self):
        """The tables whose number of replicas may change; none where no node may change for good."""
        options = self.options
        return [] if options.changes == "none" else [f"{ROWS_TABLE}{table}" for table in range(options.tables)]

    def is_more_to_do(self, faults):
        return faults.counts.total() < self.options.faults or self.acks.rows < self.options.rows

    def let_others_join(self, load):
        """What lived alone gets its copies while rows come in."""
        goal = self.acks.rows + self.options.rows // 4
        wait_for(lambda: self.acks.rows >= goal, "rows at the node that is alone", CALM_S)
        self.start_nodes(self.nodes[1:])
        until_together(self.nodes)
        for node in self.nodes:
            until_calm(node, len(self.nodes))
        load.look()
        self.say(f"{len(self.nodes) - 1} nodes joined under load; the longest pause {self.acks.longest_since_asked_s():.2f} s")

    def write_fresh(self):
        """Each node takes a write, and each gives it at once."""
        for at, node in enumerate(self.nodes):
            answer = node.write(f"{FRESH_TABLE},w={at} v={at}i 1700000000", precision="s")
            assert answer.status_code == 204, f"{node.url}: {answer.text}"
            for other in self.nodes:
                count = other.count(FRESH_TABLE)
                assert count == at + 1, f"{other.url} gives {count} of {at + 1} rows that were just acknowledged"

    def check_directories(self):
        """Every node stops when it is asked to, and leaves a directory in which nothing is damaged."""
        for node in self.nodes:
            assert node.stop() == 0, f"{node.url} did not stop well"

    def note(self, text):
        self.log.write(text + "\n")
        self.log.flush()

    # -- telling ------------------------------------------------------------------------------

    def tell(self, verdict, faults, load):
        say = self.say
        say(f"faults: {faults.counts.total()}" + "".join(f"\n  {kind}: {n}" for kind, n in sorted(faults.counts.items())))
        say("longest pause between two acks of any client, by what befell the nodes meanwhile:")
        for kind, pause_s in sorted(faults.pauses_s.items()):
            say(f"  {kind}: {pause_s:.2f} s")
        say(f"rows acked {verdict.acked}, refused {verdict.refused}, of unknown outcome {verdict.unknown}")
        say(
            f"lost {verdict.lost}, repeated {verdict.repeated}, phantom {verdict.phantom}, corrupt {verdict.corrupt}; "
            f"answers that differ between nodes {verdict.differing}"
        )
        say(f"longest that one write waited, tries again included: {max(writer.longest_s for writer in load.all):.2f} s")
        reads = sum(writer.reads for writer in load.registers)
        unread = [text for writer in load.registers for text in writer.unread]
        say(
            f"registers {verdict.registers}, wrong {verdict.registers_wrong}, with a value of unknown outcome "
            f"{verdict.registers_late}; read {reads} times meanwhile, {len(unread)} times without an answer"
        )
        for text, count in collections.Counter(unread).most_common(5):
            say(f"  {count} x no answer: {text[:300]}")
        for example in verdict.examples:
            say(f"  {example}")
        for trouble in faults.troubles:
            say(f"  not well again in time: {trouble}")
        return self.conclude(verdict, faults)

    def tell_where(self, load):
        """Where what was lost may be: at the broker, or aside."""
        if self.brokers.kafka:
            values, size = self.brokers.values(), load.mqtt_rows
            for writer in load.kafka:
                acked = [int(item) for item, what in outcomes(writer.ledger).items() if what == ACKED]
                missing = sum(value not in values for item in acked for value in range(item * size, (item + 1) * size))
                self.say(f"the broker of Kafka has {len(values)} records; of {len(acked) * size} that it acknowledged it lacks {missing}")
        for letters in ask(self.nodes[0], 'SELECT source, reason, count(*), min(detail) FROM "_dead_letters" GROUP BY source, reason'):
            self.say(f"dead letters: {letters}")

    def conclude(self, verdict, faults):
        seed, nodes, count = self.options.seed, len(self.nodes), faults.counts.total()
        if not verdict.is_good():
            self.say(f"chaos: FAILED, seed {seed}: what was acknowledged is not what is there")
        elif faults.troubles:
            self.say(f"chaos: FAILED, seed {seed}: nothing is lost, but not all was well again in time")
        elif count == 0 or verdict.acked == 0:
            self.say(f"chaos: FAILED, seed {seed}: {count} faults, {verdict.acked} rows; nothing was tried")
        else:
            self.say(
                f"chaos: seed {seed}: all {verdict.acked} rows that were acknowledged are on each of {nodes} nodes, "
                f"after {count} faults"
            )
            return True
        return False

    def close(self):
        for node in self.nodes:
            node.close()
            node.disk.close()
        if self.links:
            self.links.close()
        self.brokers.close()
        self.log.close()

    def clear(self):
        """Once all is closed: what nobody wants to look into."""
        for node in self.nodes:
            node.disk.clear()
