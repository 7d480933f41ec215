"""The typed client waits for the end of what it starts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

import pytest
import pytest_asyncio

from fastflow_api import BadRequest, Client
from fastflow_api.shapes import Accepted, Run, RunWithResult, Status
from fastflow_contracts.bus.client import Bus
from tests.support.gateway import TOKEN, claim, finish, running_gateway, running_scheduler
from tests.support.new_runs import new_runs
from tests.support.records import a_bundle, publish_pipeline

Start: TypeAlias = Callable[[Client, int], Awaitable[Run | Accepted]]


@pytest_asyncio.fixture
async def api(bus: Bus) -> AsyncIterator[Client]:
    await publish_pipeline(bus, "demo", a_bundle(main_py="1"), webhook_key="hook")
    async with running_scheduler(bus), running_gateway(bus) as there, Client(there.url, TOKEN) as api:
        yield api


STARTS: dict[str, Start] = {
    "start": lambda api, wait_s: api.start("demo", wait_s=wait_s),
    "publish": lambda api, wait_s: api.publish("demo", b"anything", wait_s=wait_s),
    "start_by_webhook": lambda api, wait_s: api.start_by_webhook("demo", "hook", wait_s=wait_s),
}


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
async def test_a_start_returns_the_end_of_its_run(bus: Bus, api: Client, start: Start) -> None:
    """With its result; a retry, too."""
    ended = await _with_runner(bus, start(api, 60), b'{"total": 7}')
    assert isinstance(ended, RunWithResult)
    assert (ended.status, ended.result) == (Status.SUCCESS, {"total": 7})
    again = await _with_runner(bus, api.retry(ended.id, wait_s=60), b"null")
    assert isinstance(again, RunWithResult)
    assert (again.result, again.result_bytes) == (None, 4)


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
async def test_a_start_that_is_not_over_in_time_returns_the_id(bus: Bus, api: Client, start: Start) -> None:
    """The run can be waited for."""
    accepted = await start(api, 1)
    assert isinstance(accepted, Accepted)
    assert (await api.run(accepted.id)).status == Status.PENDING


async def test_a_longer_wait_than_the_server_allows_is_an_error(api: Client) -> None:
    """It names the field."""
    with pytest.raises(BadRequest, match="wait"):
        await api.start("demo", wait_s=61)


async def _with_runner(bus: Bus, call: Awaitable[Run | Accepted], result: bytes) -> Run | Accepted:
    async with new_runs(bus) as next_run, asyncio.TaskGroup() as group:

        async def work() -> None:
            await finish(bus, await claim(bus, await next_run()), result=result)

        group.create_task(work())
        return await call
