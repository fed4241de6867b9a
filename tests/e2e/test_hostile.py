"""One client alone neither fells the node nor holds up the others: what each of its messages costs, and what it leaves behind.

`bench/connectors hostile` prints the same in figures."""

import pytest

import hostile

GROWN_MIB_MAX = 192
"""Well above what is seen where the bounds hold, so that no allocator decides."""


@pytest.mark.parametrize("case", hostile.FELLING + hostile.LEAVING, ids=lambda case: case.__name__)
def test_one_client_neither_fells_the_node_nor_holds_up_the_others(make_oribi, case):
    node = make_oribi(hostile.CONFIG).start()
    seen = hostile.watched(node, case)
    others_were_served(node, seen)
    assert seen.grown_mib < GROWN_MIB_MAX


@pytest.mark.parametrize("case", hostile.CROWDING, ids=lambda case: case.__name__)
def test_many_rows_do_not_hold_up_a_device(make_oribi, case):
    node = make_oribi(hostile.CONFIG).start()
    others_were_served(node, hostile.watched(node, case))


def others_were_served(node, seen):
    assert not seen.faults
    assert seen.acks_s and seen.health_s
    assert node.healthy()
