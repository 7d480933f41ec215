"""Rules of all pipelines apply to notebooks, except for retries: time, chains, daemons, webhooks, limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path

import pytest
import pytest_asyncio

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.feed import feed
from fastflow_contracts.names import check_name
from fastflow_contracts.pipelines.format.spec import DownstreamRule
from fastflow_contracts.runs.run import RUN, RunErrorType, RunRecord, RunStatus
from tests.support.gateway import running_gateway
from tests.support.notebooks import events_of, publish_notebook, statuses
from tests.support.system import RUN_S, System, system

SANDBOXES = ["process", pytest.param("docker", marks=pytest.mark.docker)]
KEY = "a-key-of-a-webhook"
MIB = 1024**2
EATS = "data = []\nfor _ in range(60):\n    data.append(bytearray(20_000_000))\nprint('never')"


@pytest_asyncio.fixture(params=["process"])
async def fast(request: pytest.FixtureRequest, bus_url: str, kept_data: Path) -> AsyncIterator[System]:
    async with system(bus_url, kept_data, sandbox=request.param) as made:
        yield made


async def a_run_of(bus: Bus, pipeline: str, wanted: Callable[[RunRecord], bool]) -> RunRecord:
    """Return the first run of *pipeline* with the *wanted* fields."""
    subject = f"$KV.{subjects.RUNS}.run.{check_name(pipeline)}.*"
    stream = streams.bucket_stream(subjects.RUNS)
    async with asyncio.timeout(RUN_S), aclosing(feed(bus, stream, subject)) as changes:
        async for batch in changes:
            for message in batch.messages:
                run = RUN.decode(message.data)
                if wanted(run):
                    return run
    raise AssertionError("a feed has no end")


async def test_a_downstream_notebook_follows_success_and_failure(fast: System) -> None:
    """Retries of the pipeline do not delay it, because a notebook has none."""
    await publish_notebook(fast.bus, "after-success", "1")
    await publish_notebook(fast.bus, "after-failure", "1")
    triggers = (
        DownstreamRule(pipeline=check_name("after-success")),
        DownstreamRule(pipeline=check_name("after-failure"), on_success=False, on_failure=True),
    )
    await publish_notebook(fast.bus, "good", "1", downstream_triggers=triggers)
    await publish_notebook(fast.bus, "bad", "1 / 0", downstream_triggers=triggers, retry_attempts=3)
    for name, follower, attempts in (("good", "after-success", 1), ("bad", "after-failure", 1)):
        first = await fast.run(name)
        assert len(first.attempts) == attempts
        second = await a_run_of(fast.bus, follower, lambda run: run.is_over)
        assert (second.status, second.order.triggered_by) == (RunStatus.SUCCESS, "downstream")
        assert second.order.parent_run_id == first.id


async def test_a_notebook_runs_by_its_schedule_and_as_a_daemon(fast: System) -> None:
    """Every second, and again after it failed."""
    await publish_notebook(fast.bus, "clock", "1", schedule_interval_seconds=1)
    run = await a_run_of(fast.bus, "clock", lambda run: run.is_over)
    assert (run.status, run.order.triggered_by) == (RunStatus.SUCCESS, "schedule")
    await publish_notebook(fast.bus, "clock", "1")
    await publish_notebook(fast.bus, "daemon", "1 / 0", restart_on_crash=True, restart_cooldown=0.1)
    await fast.start("daemon")
    run = await a_run_of(fast.bus, "daemon", lambda run: run.is_over and run.order.triggered_by == "daemon_restart")
    assert run.status is RunStatus.FAILED
    await publish_notebook(fast.bus, "daemon", "1")


async def test_a_webhook_starts_a_notebook_with_its_parameters(fast: System, bus: Bus) -> None:
    """The body is the event's file, also in the kernel; so are the headers that describe it."""
    cell = (
        "import json, os\n"
        "assert json.load(open(os.environ['FASTFLOW_EVENT_FILE'])) == {'parameters': {'n': '2'}}\n"
        "assert json.load(open(os.environ['FASTFLOW_EVENT_HEADERS_FILE']))['content-type'] == 'application/json'"
    )
    await publish_notebook(fast.bus, "hooked", cell, webhook_key=KEY)
    async with running_gateway(bus) as api:
        async with asyncio.timeout(20):
            while (await api.get("/api/pipelines/hooked")).status != 200:
                await asyncio.sleep(0.05)
        answer = await api.post(f"/api/webhooks/hooked/{KEY}", json={"parameters": {"n": "2"}})
        assert answer.status == 200, answer.text
        run = await a_run_of(fast.bus, "hooked", lambda run: run.is_over)
    assert (run.status, run.order.triggered_by, run.attempts[0].error_message) == (RunStatus.SUCCESS, "webhook", None)


@pytest.mark.parametrize("fast", SANDBOXES, indirect=True)
async def test_a_notebook_over_its_memory_limit_reports_it(fast: System) -> None:
    """Whichever of its processes the limit kills, the run was out of memory; earlier cells keep their state."""
    await publish_notebook(fast.bus, "eats", "1", EATS, mem_hard_limit=400 * MIB)
    run = await fast.run("eats")
    assert (run.status, run.attempts[0].error_type) == (RunStatus.FAILED, RunErrorType.OOM), run.attempts
    assert statuses(await events_of(fast.bus, run))[0] == (0, "SUCCESS")
