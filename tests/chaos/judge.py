"""Reads everything from each node, and lays it beside the ledgers."""

import dataclasses

import requests
from ledger import ACKED, NOT_STORED, outcomes
from load import BROKER_TABLE, KAFKA_TABLE, KEYS, MQTT_TABLE, REGISTER_TABLE, ROWS_TABLE, START_MS

CHUNK_BATCHES = 100
ANSWER_S = 120


@dataclasses.dataclass
class Verdict:
    """What is wrong, in rows, and examples of it."""

    acked: int = 0
    unknown: int = 0
    refused: int = 0
    lost: int = 0
    repeated: int = 0
    phantom: int = 0
    corrupt: int = 0
    differing: int = 0
    registers: int = 0
    registers_wrong: int = 0
    registers_late: int = 0
    examples: list = dataclasses.field(default_factory=list)

    def is_good(self):
        wrong = (self.lost, self.repeated, self.phantom, self.corrupt, self.differing, self.registers_wrong)
        return not any(wrong)

    def example(self, text):
        if len(self.examples) < 20:
            self.examples.append(text)


def ask(node, question):
    answer = requests.get(f"{node.url}/api/v1/sql", params={"q": question}, timeout=ANSWER_S)
    assert answer.status_code == 200, f"{node.url}: {answer.text[:500]}"
    return [tuple(row) for row in answer.json()["rows"]]


def judge_rows(verdict, nodes, writers, table, tag, batch_rows):
    """Judges a table whose rows are batches of these writers."""
    became = {writer.number: outcomes(writer.ledger) for writer in writers}
    batches = max((int(item) for found in became.values() for item in found), default=-1) + 1
    totals = [0] * len(nodes)
    for first in range(0, batches, CHUNK_BATCHES):
        question = chunk_question(table, tag, batch_rows, first, first + CHUNK_BATCHES)
        answers = [ask(node, question) for node in nodes]
        for at, (node, answer) in enumerate(zip(nodes, answers)):
            totals[at] += sum(row[2] for row in answer)
            if sorted(answer) != sorted(answers[0]):
                verdict.differing += 1
                verdict.example(f"{table}, batches from {first}: {node.url} answers otherwise than {nodes[0].url}")
        lay_beside(verdict, nodes, answers, became, (table, batch_rows), (first, first + CHUNK_BATCHES))
    for node, total in zip(nodes, totals):
        ((count,),) = ask(node, f'SELECT count(*) FROM "{table}"')
        if count != total:
            verdict.phantom += abs(count - total)
            verdict.example(f"{table} at {node.url}: {count} rows, of which {total} lie where rows were written")


def chunk_question(table, tag, batch_rows, first, end):
    check = f'(v * 31 + CAST("{tag}" AS BIGINT) * 7) % 65521'
    start, until = (START_MS + batch * batch_rows for batch in (first, end))
    return (
        f'SELECT CAST("{tag}" AS BIGINT) AS w, v / {batch_rows} AS b, count(*) AS n, count(DISTINCT v) AS d, '
        f"sum(CASE WHEN c = {check} THEN 0 ELSE 1 END) AS bad "
        f'FROM "{table}" WHERE time >= {time_of(start)} AND time < {time_of(until)} GROUP BY w, b'
    )


def time_of(at_ms):
    return f"to_timestamp_millis({at_ms})"


def lay_beside(verdict, nodes, answers, became, table_of, of):
    """Each batch of a chunk at each node; what is wrong at several nodes counts once."""
    table, batch_rows = table_of
    worst = {}
    for node, answer in zip(nodes, answers):
        seen = {}
        for writer, batch, count, distinct, corrupt in answer:
            seen[writer, batch] = count, distinct, corrupt
        for writer, found in became.items():
            for item, what in found.items():
                if of[0] <= int(item) < of[1] and what == ACKED:
                    seen.setdefault((writer, int(item)), (0, 0, 0))
        for (writer, batch), (count, distinct, corrupt) in seen.items():
            what = became.get(writer, {}).get(str(batch))
            wrong = {
                "lost": max(0, batch_rows - distinct) if what == ACKED else 0,
                "repeated": count - distinct,
                "phantom": count if what in (None, NOT_STORED) else max(0, distinct - batch_rows),
                "corrupt": corrupt,
            }
            for name, rows in wrong.items():
                if rows:
                    verdict.example(f"{table} at {node.url}: writer {writer}, batch {batch} ({what}): {rows} rows {name}")
                    key = name, writer, batch
                    worst[key] = max(worst.get(key, 0), rows)
    for (name, _, _), rows in worst.items():
        setattr(verdict, name, getattr(verdict, name) + rows)


def count_outcomes(verdict, writers, batch_rows):
    for writer in writers:
        for what in outcomes(writer.ledger).values():
            name = {ACKED: "acked", NOT_STORED: "refused"}.get(what, "unknown")
            setattr(verdict, name, getattr(verdict, name) + batch_rows)


def judge_registers(verdict, nodes, writers):
    """Each key is the last value that was acknowledged, or one of which nobody knows what became of it."""
    for writer in writers:
        verdict.registers_wrong += len(writer.wrong)
        for text in writer.wrong:
            verdict.example(text)
        for key in range(KEYS):
            acked = writer.acked.get(key)
            found = {node.url: value_of(node, writer, key) for node in nodes}
            verdict.registers += 1
            verdict.registers_late += any(value != acked for value in found.values())
            may_be = writer.may_be.get(key, set()) | {acked}
            if not set(found.values()) <= may_be or len(set(found.values())) > 1:
                verdict.registers_wrong += 1
                verdict.example(f"{writer.name}: key {key} is {found}, acknowledged {acked}")


def value_of(node, writer, key):
    rows = ask(node, f"SELECT v FROM {REGISTER_TABLE} WHERE w = '{writer.number}' AND k = '{key}'")
    return rows[0][0] if rows else None


def judge(nodes, load, batch_rows):
    """Judges all of a load: rows by HTTP, by MQTT and by brokers, registers."""
    verdict = Verdict()
    for table in range(load.tables):
        of_table = f"{ROWS_TABLE}{table}"
        judge_rows(verdict, nodes, [OfTable(writer, table, load.tables) for writer in load.rows], of_table, "w", batch_rows)
    if load.mqtt:
        judge_rows(verdict, nodes, load.mqtt, MQTT_TABLE, "site", load.mqtt_rows)
    for writers, table in ((load.kafka, KAFKA_TABLE), (load.broker, BROKER_TABLE)):
        if writers:
            judge_rows(verdict, nodes, writers, table, "w", load.mqtt_rows)
        count_outcomes(verdict, writers, load.mqtt_rows)
    judge_registers(verdict, nodes, load.registers)
    count_outcomes(verdict, load.rows, batch_rows)
    count_outcomes(verdict, load.mqtt, load.mqtt_rows)
    return verdict


class OfTable:
    """A writer as one table has it: the batches that went there."""

    def __init__(self, writer, table, tables):
        self.number, self.ledger = writer.number, self
        self.of, self.table, self.tables = writer.ledger, table, tables

    def lines(self):
        return ((what, item) for what, item in self.of.lines() if int(item) % self.tables == self.table)
