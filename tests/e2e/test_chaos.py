"""scripts/chaos: a short run of it, and that its judge sees what is wrong."""

import subprocess
import sys
import types

import pytest
from conftest import BINARY, ROOT

sys.path.append(str(ROOT / "tests" / "chaos"))
from judge import judge  # noqa: E402
from ledger import ACKED, INTENT, NOT_STORED, Acks, Ledger  # noqa: E402
from load import REGISTER_TABLE, START_MS, check_of  # noqa: E402

BATCH_ROWS = 10


def chaos(*arguments):
    command = [ROOT / "scripts" / "chaos", "--oribi", BINARY, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


SMALL = ["--hold-s-max", 1, "--disks", "plain", "--rows-per-s-max", 5_000, "--batch-rows", 100, "--buckets", 2]
ALONE = ["--brokers", "none"]


@pytest.mark.parametrize("seed", [11])
def test_what_was_acked_is_there_whatever_befalls_three_nodes(seed, tmp_path):
    done = chaos("--seed", seed, "--faults", 8, "--rows", 20_000, "--minutes-max", 2, "--dir", tmp_path / "run", *SMALL, *ALONE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "are on each of 3 nodes" in done.stdout


def test_a_node_that_lived_alone_gets_company_under_load(tmp_path):
    few = ["--faults", 1, "--rows", 20_000, "--links", "plain", "--alone"]
    done = chaos("--seed", 5, "--dir", tmp_path / "run", *few, *SMALL, *ALONE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 nodes joined under load" in done.stdout


def test_a_run_in_which_nothing_happens_fails(tmp_path):
    done = chaos("--faults", 0, "--rows", 1, "--dir", tmp_path / "run", *SMALL, *ALONE)
    assert done.returncode == 1 and "nothing was tried" in done.stdout, done.stdout + done.stderr


def test_files_of_before_are_found_and_brokers_come_back(tmp_path):
    kinds = "stale_manifests,stale_segment,restart_mosquitto,restart_kafka,kill_connector"
    few = ["--only", kinds, "--faults", 4, "--rows", 10_000, "--links", "plain"]
    done = chaos("--seed", 3, "--minutes-max", 3, "--dir", tmp_path / "run", *few, *SMALL)
    assert "SKIPPED a broker" in done.stdout or done.returncode == 0, done.stdout + done.stderr


def lines_of(batch, check=check_of):
    rows = range(batch * BATCH_ROWS, (batch + 1) * BATCH_ROWS)
    return "\n".join(f"chaos0,w=0,s=0 v={at}i,c={check(0, at)}i {START_MS + at}" for at in rows)


def test_the_judge_sees_what_is_wrong(oribi, tmp_path):
    ledger = Ledger(tmp_path, "rows", Acks(1))
    writes = [
        # What is noted, and what is stored.
        ((INTENT, ACKED), lines_of(0)),
        ((INTENT, ACKED), ""),
        ((INTENT, NOT_STORED), lines_of(2)),
        ((), lines_of(3)),
        ((INTENT, ACKED), lines_of(4, lambda writer, at: check_of(writer, at) + 1)),
        ((INTENT,), lines_of(5)),
        ((INTENT,), ""),
    ]
    for batch, (noted, stored) in enumerate(writes):
        for what in noted:
            ledger.note(what, batch, BATCH_ROWS)
        if stored:
            assert oribi.write(stored, precision="ms").status_code == 204
    registers = [(0, 7, 7, set()), (1, 7, 8, set()), (2, 7, 8, {7}), (3, None, None, set()), (4, None, 3, set())]
    for key, stored, _, _ in registers:
        if stored is not None:
            line = f"{REGISTER_TABLE},w=1,k={key} v={stored}i {START_MS}"
            assert oribi.write(line, precision="ms").status_code == 204
    register = types.SimpleNamespace(
        name="register",
        number=1,
        wrong=[],
        acked={key: acked for key, _, acked, _ in registers if acked is not None},
        may_be={key: may_be for key, _, _, may_be in registers},
    )
    writer = types.SimpleNamespace(number=0, ledger=ledger)
    load = types.SimpleNamespace(tables=1, rows=[writer], mqtt=[], kafka=[], broker=[], mqtt_rows=1, registers=[register])
    verdict = judge([oribi], load, BATCH_ROWS)
    assert not verdict.is_good()
    assert (verdict.acked, verdict.refused, verdict.unknown) == (30, 10, 20)
    assert (verdict.lost, verdict.phantom, verdict.corrupt, verdict.repeated) == (10, 20, 10, 0), verdict
    assert (verdict.registers_wrong, verdict.registers_late) == (2, 3), verdict
