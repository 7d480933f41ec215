"""Which skips are remembered."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.messages import SkipRecord
from fastflow_gateway.readmodel import skips
from fastflow_gateway.readmodel.skips import EACH_MAX, PLACES_MAX, BadSkipCursor, SkipFilter, Skips
from tests.support.ids import fresh_run_id
from tests.support.records import at


def test_a_pipeline_with_many_skips_pushes_out_only_its_own() -> None:
    """Skips of other pipelines, and those of a run's followups, stay."""
    refusals, run_id = Skips(), fresh_run_id()
    after = SkipRecord(at=at(0), pipeline="busy", reason="after a run", triggered_by="downstream", parent_run_id=run_id)
    other = SkipRecord(at=at(0), pipeline="other", reason="disabled")
    refusals.put(after)
    refusals.put(other)
    for n in range(10 * EACH_MAX):
        refusals.put(SkipRecord(at=at(n), pipeline="busy", reason=f"full {n}"))
    busy = refusals.of(PipelineName("busy"), EACH_MAX)
    assert [skip.reason for skip in busy[:2]] == [f"full {10 * EACH_MAX - 1}", f"full {10 * EACH_MAX - 2}"]
    assert len(busy) == EACH_MAX
    assert refusals.after(run_id, EACH_MAX) == [after]
    assert refusals.of(PipelineName("other"), EACH_MAX) == [other]
    assert refusals.of(PipelineName("nobody"), EACH_MAX) == []


def test_memory_is_bounded() -> None:
    """With any number of pipelines and runs, the latest skips are known."""
    refusals = Skips()
    runs = [fresh_run_id() for _ in range(PLACES_MAX)]
    for run_id in runs:
        refusals.put(SkipRecord(at=at(0), pipeline="p", reason="r", parent_run_id=run_id))
    assert len(refusals._places) == PLACES_MAX
    assert refusals.after(runs[0], 1) == []
    assert len(refusals.after(runs[-1], 1)) == len(refusals.of(PipelineName("p"), 1)) == 1


def a_skip(n: int, **fields: Any) -> SkipRecord:
    given = {"id": fresh_run_id(), "at": at(n), "pipeline": "demo", "reason": f"reason {n}"} | fields
    return SkipRecord(**given)


def test_a_redriven_skip_keeps_its_place_and_is_no_longer_open() -> None:
    """Whether its record says so, or a run with its id appears."""
    known, listed = Skips(), [a_skip(n) for n in range(3 * EACH_MAX)]
    for skip in listed:
        known.put(skip)
    assert known.open == len(listed)
    run_id = fresh_run_id()
    known.put(replace(listed[0], redriven_as=run_id))
    ids = [skip.id for skip in listed]
    assert ids[1] is not None
    known.started(ids[1])
    known.started(ids[1])
    known.started(fresh_run_id())
    assert known.open == len(listed) - 2
    assert [skip.id for skip in known.listed(SkipFilter())] == ids[::-1]
    assert [skip.redriven_as for skip in known.listed(SkipFilter(is_open=False))] == [ids[1], run_id]
    assert known.of(PipelineName("demo"), 1) == [listed[-1]]


def test_filters_match_all_that_they_name() -> None:
    """A part of the reason is enough, in any case."""
    known, wanted = Skips(), a_skip(0, pipeline="other", reason="Max_instances: 1", triggered_by="webhook")
    known.put(wanted)
    known.put(a_skip(1, pipeline="other"))
    known.put(a_skip(2, reason="max_instances: 1"))
    found = SkipFilter(pipeline="other", reason="max_INSTANCES", triggered_by="webhook", is_open=True)
    assert list(known.listed(found)) == [wanted]


def test_pages_hold_each_skip_once_while_skips_are_redriven() -> None:
    """The cursor is the last skip of a page; it may be redriven, but not forgotten."""
    known, listed = Skips(), [a_skip(n) for n in range(7)]
    for skip in listed:
        known.put(skip)
    seen: list[SkipRecord] = []
    cursor: str | None = None
    while True:
        page, cursor = known.page(SkipFilter(is_open=True), limit=3, cursor=cursor)
        seen += page
        if cursor is None:
            break
        known.put(replace(page[-1], redriven_as=fresh_run_id()))
    assert seen == listed[::-1]
    with pytest.raises(BadSkipCursor):
        known.page(SkipFilter(), limit=3, cursor="nonsense")


def test_the_list_of_all_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest leave first, also from the count of open ones."""
    monkeypatch.setattr(skips, "SKIPS_MAX", 5)
    known, listed = Skips(), [a_skip(n) for n in range(9)]
    for skip in listed:
        known.put(skip)
    assert list(known.listed(SkipFilter())) == listed[:3:-1]
    assert known.open == 5
    known.clear()
    assert (known.open, list(known.listed(SkipFilter()))) == (0, [])
