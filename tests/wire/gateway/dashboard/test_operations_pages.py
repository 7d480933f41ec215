"""The pages of operations: a backfill is previewed and run, many runs are counted and acted on, all is cancelled."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from aiohttp import ClientSession, ClientTimeout, CookieJar

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.store import RunStore
from tests.support.dashboard import TOKEN, dashboard
from tests.support.records import a_bundle, publish_pipeline

DEMO = PipelineName("demo")
RANGE = {"schedule": "schedule", "from": "2026-01-01T00:00Z", "to": "2026-01-01T05:00Z"}


class Visitor:
    """A browser that is signed in."""

    def __init__(self, session: ClientSession, csrf: str) -> None:
        self.session = session
        self.csrf = csrf

    async def get(self, path: str) -> str:
        async with self.session.get(path) as answer:
            assert answer.status == 200
            return await answer.text()

    async def send(self, path: str, **fields: str) -> tuple[int, str]:
        """Send a form; return the status, and the text of the page or where it leads."""
        data = {"csrf_token": self.csrf} | fields
        headers = {"Sec-Fetch-Site": "same-origin"}
        async with self.session.post(path, data=data, headers=headers, allow_redirects=False) as answer:
            return answer.status, answer.headers.get("Location", "") or await answer.text()

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Sec-Fetch-Site": "same-origin", "X-CSRF-Token": self.csrf, "Accept": "application/json"}
        async with self.session.request(method, path, json=body, headers=headers) as answer:
            return await answer.json()


@pytest_asyncio.fixture
async def visitor(bus_url: str, bus: Bus) -> AsyncIterator[Visitor]:
    await publish_pipeline(bus, "demo", a_bundle(main_py="1"), schedule_cron="0 * * * *")
    async with (
        dashboard(bus_url) as url,
        ClientSession(
            url, headers={"Accept": "text/html"}, timeout=ClientTimeout(total=60), cookie_jar=CookieJar(unsafe=True)
        ) as session,
    ):
        async with session.post("/login", data={"token": TOKEN}) as answer:
            found = re.search(r'name="csrf_token" value="([^"]+)"', await answer.text())
        assert found
        yield Visitor(session, found[1])


async def test_a_backfill_is_previewed_run_and_cancelled(bus: Bus, visitor: Visitor) -> None:
    assert 'href="/pipelines/demo/backfill"' in await visitor.get("/pipelines/demo")
    assert 'value="schedule"' in await visitor.get("/pipelines/demo/backfill")
    status, page = await visitor.send("/pipelines/demo/backfill", **RANGE)
    assert (status, "6 of 6 slots to run" in page, "Run 6 slots" in page) == (200, True, True)
    assert await RunStore(bus).all_of(DEMO) == []
    longer = RANGE | {"to": "2026-01-01T06:00Z"}
    status, page = await visitor.send("/pipelines/demo/backfill", expect="6", **longer)
    assert (status, "7 of 7 slots to run" in page) == (200, True), "it is not what the person saw"
    status, there = await visitor.send("/pipelines/demo/backfill", expect="6", **RANGE)
    assert (status, there.startswith("/operations/")) == (303, True)
    async with asyncio.timeout(60):
        while len(runs := await RunStore(bus).all_of(DEMO)) < 4:
            await asyncio.sleep(0.05)
    page = await visitor.get(there)
    assert "Backfill" in page
    assert " of 6" in page
    async with asyncio.timeout(60):
        while f'href="{there}"' not in await visitor.get(f"/runs/{runs[0].id}"):
            await asyncio.sleep(0.05)
    assert await visitor.send(f"{there}/cancel") == (303, there)
    async with asyncio.timeout(60):
        while "cancelled</span>" not in await visitor.get("/operations"):
            await asyncio.sleep(0.05)
    status, page = await visitor.send(f"{there}/cancel")
    assert (status, "is over already: cancelled" in page) == (409, True)


async def test_a_bad_range_says_so_and_keeps_what_was_typed(visitor: Visitor) -> None:
    for fields, said in (
        ({"from": ""}, "From must be an ISO 8601"),
        ({"from": "1900-01-01"}, "one backfill runs at most 1,000"),
        ({"from": "<script>"}, "From must be an ISO 8601"),
    ):
        status, page = await visitor.send("/pipelines/demo/backfill", expect="6", **(RANGE | fields))
        assert (status, said in page, "<script>&" in page) == (422, True, False)
    assert 'value="&lt;script&gt;"' in page


async def test_many_runs_are_counted_and_then_exactly_these_are_cancelled(bus: Bus, visitor: Visitor) -> None:
    for _ in range(2):
        await visitor.ask("POST", "/api/pipelines/demo/run", {})
    assert 'href="/bulk?pipeline_name=demo"' in await visitor.get("/runs?pipeline_name=demo")
    page = await visitor.get("/bulk?pipeline_name=demo")
    assert ("Cancel 2 active" in page, "Run 0 again" in page, "Replay 0" in page) == (True, True, True)
    await visitor.ask("POST", "/api/pipelines/demo/run", {})
    status, page = await visitor.send("/bulk", action="cancel", expect="2", pipeline_name="demo")
    assert (status, "3 runs match now, not 2" in page, "Cancel 3 active" in page) == (409, True, True)
    status, there = await visitor.send("/bulk", action="cancel", expect="3", pipeline_name="demo")
    assert (status, there.startswith("/operations/")) == (303, True)
    async with asyncio.timeout(60):
        while {run.status for run in await RunStore(bus).all_of(DEMO)} != {"INTERRUPTED"}:
            await asyncio.sleep(0.05)
    for fields in ({"action": "delete", "expect": "1"}, {"action": "cancel"}, {"action": "cancel", "expect": "²"}):
        assert (await visitor.send("/bulk", **fields))[0] == 422
    assert (await visitor.send("/operations/nope/cancel"))[0] == 404
