"""What the command asks of a real bus, with a real scheduler and no runner: starting, finding, following."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from fastflow.errors import NotFound
from fastflow.local import bus_client
from fastflow.terminal.follow import follow, show
from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.subjects import RunRef
from fastflow_contracts.clock import now
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.records import PIPELINE, PipelineRecord, Version
from fastflow_contracts.pipelines.spec import PipelineSpec
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.logs import CHUNK, Chunk, LogLine, Piece
from fastflow_contracts.runs.messages import Trigger
from fastflow_contracts.runs.run import ErrorType, Run, Running, Status
from fastflow_contracts.runs.state_machine import Claim, Finish, Outcome, Prepare
from fastflow_contracts.runs.store import RunStore
from fastflow_contracts.runs.triggers import BadTrigger
from fastflow_scheduler.app import serve
from fastflow_scheduler.settings import Settings

ETL = PipelineName("etl")


class Seen:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, str, str]] = []
        self.states: list[Status] = []
        self.line_came = asyncio.Event()

    def lines(self, attempt: int, lines: list[LogLine]) -> None:
        self.seen += [(attempt, line.stream, line.text) for line in lines]
        self.line_came.set()

    def changed(self, run: Run) -> None:
        self.states.append(run.status)


@pytest.fixture
async def scheduler(bus: Bus) -> AsyncIterator[None]:
    """A scheduler, and one pipeline it may start."""
    version = Version(bundle="0" * 64, spec=PipelineSpec(), live_since=now())
    record = PipelineRecord(name=ETL, live=version, seen_at=now())
    await bus.put(subjects.PIPELINES, subjects.pipeline_key(ETL), PIPELINE.encode(record))
    stop, is_ready = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(serve(Settings(), bus, stop, is_ready.set))
        await is_ready.wait()
        yield
        stop.set()


async def write(bus: Bus, ref: RunRef, attempt: int, text: str) -> None:
    chunk = Chunk(at=now().timestamp(), lines=(Piece(0, 1, text),), end=(len(text), 0))
    await bus.publish(subjects.log(ref, attempt), CHUNK.encode(chunk))


async def finish(bus: Bus, ref: RunRef, error: ErrorType | None = None) -> None:
    """Claim the run as a runner would, and end it."""
    store = RunStore(bus)
    run = (await store.change(ref, Claim(attempt=1, runner="r"))).run
    assert isinstance(run.state, Running)
    await store.change(ref, Prepare(epoch=run.state.epoch))
    outcome = Outcome(finished_at=now() + timedelta(seconds=1), exit_code=1 if error else 0, error_type=error)
    await store.change(ref, Finish(epoch=run.state.epoch, outcome=outcome))


@pytest.mark.usefixtures("scheduler")
async def test_a_started_run_is_recorded_when_start_returns(bus: Bus) -> None:
    """It is pending, and carries what was asked for."""
    accepted = await bus_client.start(bus, ETL, Trigger(triggered_by="manual", env_vars={"A": "1"}))
    assert accepted.decided
    run = (await RunStore(bus).load(accepted.run)).run
    assert (run.status, run.order.triggered_by, run.order.env_names) == (Status.PENDING, "manual", ("A",))


@pytest.mark.usefixtures("scheduler")
async def test_a_pipeline_that_is_not_there_is_not_found(bus: Bus) -> None:
    """Once the scheduler has said so: the error says what to do, with the exit code for what is missing."""
    with pytest.raises(NotFound, match="no pipeline nosuch") as refused:
        await bus_client.start(bus, PipelineName("nosuch"), Trigger())
    assert refused.value.exit_code == 3


async def test_without_a_scheduler_the_trigger_waits_and_its_run_is_known(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is lost: the id is the one the run will have."""
    monkeypatch.setattr(bus_client, "DECISION_S", 0.2)
    accepted = await bus_client.start(bus, ETL, Trigger())
    assert not accepted.decided
    stored = await bus.js.get_last_msg("FF_TRIGGERS", subjects.trigger(ETL))
    key = messages.TRIGGER.decode(stored.data or b"").key
    assert key is not None
    assert bus_client.run_id_for_key(ETL, key) == accepted.run.run_id


@pytest.mark.usefixtures("scheduler")
async def test_the_same_key_is_the_same_run(bus: Bus) -> None:
    """An event that is sent twice starts one run, and the second sender learns which."""
    first = await bus_client.publish(bus, ETL, b"any bytes", key="order-7", media_type=None)
    again = await bus_client.publish(bus, ETL, b"any bytes", key="order-7", media_type=None)
    other = await bus_client.publish(bus, ETL, b"any bytes", key=None, media_type=None)
    assert first == again != other
    assert len(await bus_client.runs(bus)) == 2


async def test_an_event_that_can_start_nothing_is_refused_before_it_is_sent(bus: Bus) -> None:
    """A CloudEvent without its identity is the sender's mistake."""
    with pytest.raises(BadTrigger, match="source and an id"):
        await bus_client.publish(bus, ETL, b"{}", key=None, media_type="application/cloudevents+json")


@pytest.mark.usefixtures("scheduler")
async def test_a_run_is_found_by_id_by_its_beginning_and_by_its_pipeline(bus: Bus) -> None:
    """The pipeline's name means its newest run."""
    first = (await bus_client.start(bus, ETL, Trigger())).run
    second = (await bus_client.start(bus, ETL, Trigger())).run
    assert (await bus_client.find(bus, first.run_id)).id == first.run_id
    assert (await bus_client.find(bus, first.run_id[:8])).id == first.run_id
    assert (await bus_client.find(bus, "etl")).id == second.run_id


@pytest.mark.usefixtures("scheduler")
async def test_what_is_not_found_is_said_helpfully(bus: Bus) -> None:
    """Nothing of that name, a pipeline that never ran, and a beginning of several ids are three things."""
    with pytest.raises(NotFound, match=r"fastflow ps --all"):
        await bus_client.find(bus, "ffff")
    with pytest.raises(NotFound, match=r"fastflow run etl"):
        await bus_client.find(bus, "etl")
    store = RunStore(bus)
    known = await bus_client.start(bus, ETL, Trigger())
    template = (await store.load(known.run)).run
    for number in range(2):
        await store.create(bus_client.replace(template, id=f"abcd0000-0000-4000-8000-00000000000{number}"), None)
    with pytest.raises(NotFound, match="begins 2 run ids"):
        await bus_client.find(bus, "abcd")


@pytest.mark.usefixtures("scheduler")
async def test_a_cancelled_run_that_waits_is_over_at_once(bus: Bus) -> None:
    """The scheduler applies the command; whoever watches the run sees it end."""
    ref = (await bus_client.start(bus, ETL, Trigger())).run
    await bus_client.cancel(bus, ref, "enough")
    async with asyncio.timeout(30):
        states = [run.status async for run in bus_client.changes(bus, ref)]
    assert states[-1] is Status.INTERRUPTED


@pytest.mark.usefixtures("scheduler")
async def test_following_hands_on_every_line_and_ends_with_the_run(bus: Bus) -> None:
    """Lines come while it runs; what was written last is there although the end was seen first."""
    ref = (await bus_client.start(bus, ETL, Trigger())).run
    seen = Seen()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        following = group.create_task(follow(bus, ref, seen))
        await write(bus, ref, 1, "one\ntw")
        await seen.line_came.wait()
        assert seen.seen == [(1, "stdout", "one")]
        await write(bus, ref, 1, "o\nno newline")
        await finish(bus, ref)
    assert seen.seen == [(1, "stdout", "one"), (1, "stdout", "two"), (1, "stdout", "no newline")]
    assert (await following).status is Status.SUCCESS
    assert Status.SUCCESS not in seen.states


@pytest.mark.usefixtures("scheduler")
async def test_a_log_is_shown_as_far_as_it_goes(bus: Bus) -> None:
    """Showing does not wait for a run that still runs, nor for one that wrote nothing."""
    ref = (await bus_client.start(bus, ETL, Trigger())).run
    async with asyncio.timeout(30):
        await show(bus, ref, Seen())
        await write(bus, ref, 1, "half a li")
        seen = Seen()
        await show(bus, ref, seen)
    assert seen.seen == [(1, "stdout", "half a li")]
