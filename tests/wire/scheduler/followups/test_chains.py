"""What the next run of a chain knows, and which routes are taken, on a real bus with two schedulers."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta

import pytest

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.clock import now
from fastflow_contracts.ids import run_id_for_child
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.run import ParentRun, Pending, RunErrorType, RunRecord, RunStatus
from fastflow_contracts.runs.state_machine import AttemptOutcome, Claim, Finish
from fastflow_contracts.runs.store import RunStore
from tests.support.chains import (
    CODE,
    a_runner,
    child,
    failure,
    finish,
    schedulers,
    started,
    success,
    to,
    until_quiet,
)
from tests.support.records import publish_pipeline


async def test_a_failed_run_tells_its_follower_how_it_ended(bus_url: str, bus: Bus) -> None:
    """Status, exit code and error as they were; the event names the same as the HTTP API."""
    await publish_pipeline(bus, "a", CODE, downstream_triggers=(to("b", on_failure=True),))
    await publish_pipeline(bus, "b", CODE)
    async with schedulers(bus_url, bus) as fast:
        run = await started(fast, "a")
        parent = await finish(bus, run, failure(run))
        run = await child(fast, parent, "b")
    given = await RunStore(bus).input(run)
    assert given.parent == ParentRun(
        run_id=parent.id,
        pipeline=PipelineName("a"),
        status=RunStatus.FAILED,
        exit_code=3,
        error_type=RunErrorType.SCRIPT_ERROR,
        error_message="boom (exit code 3)",
    )
    assert (run.order.root_run_id, given.event_type) == (parent.id, "application/cloudevents+json")
    event = json.loads(given.event or b"")
    assert (event["specversion"], event["type"], event["id"]) == ("1.0", "fastflow.run.finished", parent.id)
    told = event["data"]["run"]
    assert (told["id"], told["pipeline_name"], told["status"], told["exit_code"], told["error_type"]) == (
        parent.id,
        "a",
        "FAILED",
        3,
        "script_error",
    )
    assert told["root_run_id"] == parent.id


@pytest.mark.parametrize("result", [b'{"rows": 1.50, "of": [12345678901234567890123]}', b"null", None])
async def test_a_result_goes_to_what_follows(bus_url: str, bus: Bus, result: bytes | None) -> None:
    """As it was written; the event says null for none."""
    await publish_pipeline(bus, "a", CODE, downstream_triggers=(to("b"),))
    await publish_pipeline(bus, "b", CODE)
    async with schedulers(bus_url, bus) as fast:
        run = await started(fast, "a")
        parent = await finish(bus, run, success(run, result=result))
        run = await child(fast, parent, "b")
    given = await RunStore(bus).input(run)
    assert b'"result":%s}' % (result or b"null") in (given.event or b"")
    assert json.loads(given.event or b"")["data"]["result"] == json.loads(result or b"null")


async def test_a_grandchild_knows_the_first_run_and_a_retry_stays_in_its_chain(bus_url: str, bus: Bus) -> None:
    """The root of all is the first run; a retry by hand knows what the repeated run knew."""
    await publish_pipeline(bus, "a", CODE, downstream_triggers=(to("b"),))
    await publish_pipeline(bus, "b", CODE, downstream_triggers=(to("c"),))
    await publish_pipeline(bus, "c", CODE)
    async with schedulers(bus_url, bus) as fast:
        run = await started(fast, "a")
        first = await finish(bus, run, success(run))
        second = await finish(bus, await child(fast, first, "b"), success(first))
        third = await finish(bus, await child(fast, second, "c"), success(second))
        repeated = await started(fast, "c", retry_of=third.id, triggered_by="manual")
    assert (first.order.root_run_id, first.root_run_id) == (None, first.id)
    assert (third.root_run_id, third.order.parent_run_id, third.order.hops) == (first.id, second.id, 2)
    assert (repeated.root_run_id, repeated.order.hops) == (first.id, 2)
    former, given = await RunStore(bus).input(third), await RunStore(bus).input(repeated)
    assert given.parent == former.parent
    assert given.event == former.event


@pytest.mark.parametrize(
    ("route", "starts"),
    [("good", {"yes", "any"}), ("bad", {"no", "any"}), ("Good", {"any"}), (None, {"any"})],
)
async def test_a_route_picks_its_edges_and_leaves_the_others(
    bus_url: str, bus: Bus, route: str | None, starts: set[str]
) -> None:
    """Exactly its own label; an edge without a route is always taken."""
    links = (to("yes", on_route="good"), to("no", on_route="bad"), to("any"))
    await publish_pipeline(bus, "a", CODE, downstream_triggers=links)
    for name in ("yes", "no", "any"):
        await publish_pipeline(bus, name, CODE)
    async with schedulers(bus_url, bus) as fast, a_runner(bus, lambda run: success(run, route=route)):
        first = await started(fast, "a")
        runs = await until_quiet(bus, first.id)
    assert {run.pipeline for run in runs} == {"a"} | starts


async def test_a_target_starts_once_whichever_routes_lead_to_it(bus_url: str, bus: Bus) -> None:
    """Two edges to one target apply at once; another configuration is another target; failures take routes too."""
    links = (to("b", on_route="x"), to("b"), to("b", on_route="y"), to("c", on_route="x", on_failure=True))
    await publish_pipeline(bus, "a", CODE, downstream_triggers=links)
    await publish_pipeline(bus, "b", CODE)
    await publish_pipeline(bus, "c", CODE)
    async with schedulers(bus_url, bus) as fast:
        parent = await started(fast, "a")
        outcome = AttemptOutcome(finished_at=now(), exit_code=1, error_type=RunErrorType.SCRIPT_ERROR, route="x")
        failed = await finish(bus, parent, outcome)
        await child(fast, failed, "c")
        well = await finish(bus, await started(fast, "a"), success(parent, route="x"))
        await child(fast, well, "b")
        await child(fast, well, "c")
        stored = [each.value.pipeline for each in await RunStore(bus).records.items()]
    assert Counter(stored) == {"a": 2, "b": 1, "c": 2}


async def test_the_route_of_the_last_attempt_counts(bus_url: str, bus: Bus) -> None:
    """What a failed attempt wrote is forgotten."""
    links = (to("early", on_route="early"), to("late", on_route="late"))
    await publish_pipeline(bus, "a", CODE, downstream_triggers=links, retry_attempts=1, retry_strategy=None)
    for name in ("early", "late"):
        await publish_pipeline(bus, name, CODE)
    async with schedulers(bus_url, bus) as fast:
        run = await started(fast, "a")
        outcome = AttemptOutcome(finished_at=run.created_at, error_type=RunErrorType.OOM, route="early")
        waiting = await finish(bus, run, outcome)
        assert isinstance(waiting.state, Pending)
        parent = await finish_late(bus, waiting)
        await child(fast, parent, "late")
        assert not await RunStore(bus).exists(run_id_for_child(parent.id, "downstream/early"))


async def finish_late(bus: Bus, run: RunRecord) -> RunRecord:
    """End its second attempt now, as if the minute before it were over."""
    store = RunStore(bus, clock=lambda: now() + timedelta(minutes=5))
    held = (await store.change(run.ref, Claim(attempt=2, runner="r"))).run
    return (await store.change(run.ref, Finish(epoch=held.epoch, outcome=success(run, route="late")))).run
