"""The state that an attempt begins with: read whole before its script starts, or a sentence. A real bus."""

from __future__ import annotations

import pytest

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.objects import ObjectStore
from fastflow_contracts.clock import now
from fastflow_contracts.runs.run import RunErrorType, RunRecord, RunStatus
from fastflow_contracts.runs.state.archive import StateFile
from fastflow_contracts.runs.state.head import StateHead, committed
from tests.support.ids import fresh_run_id
from tests.support.runner_bench import Bench


async def pending(bench: Bench, number: int = 3) -> RunRecord:
    """A run of a pipeline with so many versions of its state."""
    run = await bench.pending(keeps_state=True)
    states = bench.runs.states
    for each in range(number):
        head, revision = await states.heads.load(run.pipeline)
        left = await states.save([StateFile("n", str(each).encode())])
        after = committed(head or StateHead(), left, run_id=fresh_run_id(), attempt=1, at=now())
        await states.heads.put(run.pipeline, after, expect=revision)
    return run


async def refused(bench: Bench, run: RunRecord, error: RunErrorType) -> str:
    """Carry the run out: it fails before its script starts. Returns why."""
    await (await bench.claim(run)).carry_out()
    ended = await bench.record(run)
    assert bench.jobs == []
    assert ended.attempts[-1].error_type is error
    assert (ended.status is RunStatus.FAILED) is (error is RunErrorType.STATE_ERROR)
    return ended.attempts[-1].error_message or ""


async def test_a_job_brings_the_current_state(bench: Bench) -> None:
    run = await pending(bench)
    await (await bench.claim(run)).carry_out()
    (job,) = bench.jobs
    (folder,) = (each for each in job["folders"] if each["env"] == "FASTFLOW_STATE_DIR")
    assert [(file["path"], file["size_bytes"]) for file in folder["files"]] == [("n", 1)]
    assert (await bench.record(run)).attempts[-1].state_version == 3


@pytest.mark.parametrize("what", ["note", "chunks", "bytes"])
async def test_a_state_that_is_damaged_never_begins_as_an_empty_one(bench: Bench, what: str) -> None:
    """Its archive is gone, in part or whole, or it holds other bytes: the run fails and says how to go on."""
    run, bus = await pending(bench), bench.context.bus
    states, stream = bench.runs.states, streams.object_stream(subjects.STATES)
    name = (await states.head(run.pipeline)).versions[0].archive
    note = await ObjectStore(bus, subjects.STATES).note(name)
    assert note is not None
    chunks = subjects.object_chunks(subjects.STATES, note.upload)
    if what == "note":
        await states.discard([name])
    else:
        await bus.js.purge_stream(stream, subject=chunks)
    if what == "bytes":
        await bus.publish(chunks, b"x" * note.size)
    told = await refused(bench, run, RunErrorType.STATE_ERROR)
    assert told.startswith("version 3 of the state cannot be read: ")
    assert told.endswith(f"Reset it: `fastflow state {run.pipeline} --reset`.")


async def test_a_record_that_cannot_be_read_is_never_an_empty_state(bench: Bench) -> None:
    run = await pending(bench)
    await bench.context.bus.put(subjects.RUNS, subjects.state_key(run.pipeline), b"garbage")
    told = await refused(bench, run, RunErrorType.STATE_ERROR)
    assert told == f"the record of the state cannot be read. Reset it: `fastflow state {run.pipeline} --reset`."
