"""Attack: a run that was stored with variables which no start may set begins what follows it with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from fastflow_contracts.bus import streams
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.spec import DownstreamRule
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.messages import SkipRecord
from fastflow_contracts.runs.run import RunInput, RunRecord
from fastflow_contracts.runs.store import RunStore
from tests.support.gateway import claim, finish, running_scheduler
from tests.support.records import a_bundle, a_run, publish_pipeline
from tests.support.system import stored

CODE = a_bundle(main_py="1")
ATTACK = {"PYTHONWARNINGS": "all:0:antigravity.x:0:0", "BROWSER": "touch /tmp/ran %s"}


@pytest_asyncio.fixture
async def there(bus: Bus) -> AsyncIterator[Bus]:
    rules = (DownstreamRule(pipeline=PipelineName("next"), on_failure=True),)
    await publish_pipeline(bus, "demo", CODE, restart_on_crash=True, restart_cooldown=0.0, downstream_triggers=rules)
    await publish_pipeline(bus, "next", CODE)
    async with running_scheduler(bus):
        yield bus


async def failed(bus: Bus, given: dict[str, str], *, by_operator: bool) -> RunRecord:
    """A run that was started with these variables, and has failed."""
    run = a_run("demo", bundle=CODE.sha256, env_names=tuple(given), by_operator=by_operator, has_input=True)
    assert await RunStore(bus).create(run, RunInput(overrides=given))
    return await finish(bus, await claim(bus, run), exit_code=1)


async def followed(bus: Bus, parent: RunRecord, name: str) -> RunRecord:
    async with asyncio.timeout(30):
        while True:
            for run in await RunStore(bus).all_of(PipelineName(name)):
                if run.order.parent_run_id == parent.id:
                    return run
            await asyncio.sleep(0.02)


async def skipped(bus: Bus) -> SkipRecord:
    async with asyncio.timeout(30):
        while not (kept := await stored(bus, streams.NOTICES, "ff.skipped.demo.*")):
            await asyncio.sleep(0.02)
    return messages.SKIP.decode(kept[0].data)


@pytest.mark.parametrize(("given", "by_operator"), [(ATTACK, False), (ATTACK, True), ({"DEBUG": "1"}, False)])
async def test_it_is_not_restarted_and_its_chain_gets_none_of_them(
    there: Bus, given: dict[str, str], by_operator: bool
) -> None:
    """The restart is a skip that names the variable; the next pipeline starts, without them."""
    run = await failed(there, given, by_operator=by_operator)
    skip = await skipped(there)
    assert (skip.triggered_by, skip.parent_run_id) == ("daemon_restart", run.id)
    assert min(given) in skip.reason
    following = await followed(there, run, "next")
    assert (await RunStore(there).input(following)).overrides == {}
    assert [each.id for each in await RunStore(there).all_of(PipelineName("demo"))] == [run.id]


async def test_a_daemon_that_an_operator_started_keeps_its_variables(there: Bus) -> None:
    run = await failed(there, {"DEBUG": "1"}, by_operator=True)
    again = await followed(there, run, "demo")
    assert (again.order.triggered_by, again.order.by_operator) == ("daemon_restart", True)
    assert (await RunStore(there).input(again)).overrides == {"DEBUG": "1"}
