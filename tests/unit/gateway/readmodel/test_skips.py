"""Which skips are remembered."""

from __future__ import annotations

from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.messages import SkipRecord
from fastflow_gateway.readmodel.skips import EACH_MAX, PLACES_MAX, Skips
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
