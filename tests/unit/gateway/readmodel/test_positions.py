"""Positions beside a plain sorted list."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from fastflow_contracts.ids import RunId
from fastflow_gateway.readmodel import positions
from fastflow_gateway.readmodel.positions import Position, Positions

POSITION = st.tuples(st.integers(0, 30), st.sampled_from("abc").map(RunId))


@given(st.lists(POSITION, max_size=120), st.none() | POSITION, st.none() | POSITION)
def test_any_changes_leave_it_sorted(
    changes: list[Position], at_least: Position | None, below: Position | None
) -> None:
    """A position that comes again is removed. Blocks are so small here that they split and vanish."""
    known, wanted = Positions(), set[Position]()
    with patch.object(positions, "BLOCK", 2):
        for position in changes:
            (known.remove if position in wanted else known.add)(position)
            wanted ^= {position}
            assert len(known) == len(wanted)
            assert list(known.oldest_first()) == sorted(wanted)
            if wanted:
                assert known.oldest == min(wanted)
    between = [
        each
        for each in sorted(wanted, reverse=True)
        if (at_least is None or each >= at_least) and (below is None or each < below)
    ]
    assert list(known.newest_first(at_least=at_least, below=below)) == between


def test_many_are_held_in_blocks() -> None:
    """Added in any order, and removed from the oldest on."""
    known = Positions()
    for number in range(5_000):
        known.add((number * 7_919 % 5_000, RunId("r")))
    assert [at for at, _ in known.oldest_first()] == list(range(5_000))
    for number in range(5_000):
        assert known.oldest == (number, "r")
        known.remove((number, RunId("r")))
    assert len(known) == 0
    assert list(known.newest_first()) == []
