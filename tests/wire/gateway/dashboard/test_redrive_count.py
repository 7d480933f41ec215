"""The redrive of all that match: by the API and by the page, of as many as the person saw."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest_asyncio
from aiohttp import ClientSession, ClientTimeout, CookieJar

from fastflow_contracts.bus.client import Bus
from tests.support.dashboard import TOKEN, dashboard
from tests.support.records import a_bundle, publish_pipeline

SAME = {"Sec-Fetch-Site": "same-origin"}


@pytest_asyncio.fixture
async def user(bus_url: str, bus: Bus) -> AsyncIterator[ClientSession]:
    """Signed in; two starts of ``off`` were refused, and it is enabled now."""
    await publish_pipeline(bus, "off", a_bundle(main_py=""), enabled=False)
    async with (
        dashboard(bus_url) as url,
        ClientSession(
            url, headers={"Accept": "text/html"}, timeout=ClientTimeout(total=60), cookie_jar=CookieJar(unsafe=True)
        ) as session,
    ):
        async with session.post("/login", data={"token": TOKEN}) as answer:
            assert answer.status == 200
        for _ in range(2):
            await bus.publish("ff.trigger.off", b"event")
        async with asyncio.timeout(60):
            while 'name="expect" value="2"' not in await page(session):
                await asyncio.sleep(0.05)
        await publish_pipeline(bus, "off", a_bundle(main_py=""))
        yield session


async def page(user: ClientSession) -> str:
    async with user.get("/skipped") as answer:
        return await answer.text()


async def csrf(user: ClientSession) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', await page(user))
    assert found
    return found[1]


async def test_another_count_than_the_person_saw_starts_nothing(user: ClientSession) -> None:
    data = {"csrf_token": await csrf(user), "expect": "1"}
    async with user.post("/skipped/redrive", data=data, headers=SAME) as answer:
        assert (answer.status, "2 skips match now, not 1; nothing was started" in await answer.text()) == (409, True)
    headers = SAME | {"X-CSRF-Token": data["csrf_token"], "Accept": "application/json"}
    async with user.post("/api/skipped/redrive", json={"expect": 3}, headers=headers) as answer:
        assert (answer.status, "2 skips match now, not 3" in (await answer.json())["detail"]) == (409, True)
    async with user.post("/api/skipped/redrive", json={"expect": 2}, headers=headers) as answer:
        done = await answer.json()
        assert (answer.status, done["started"], done["refused"]) == (200, 2, 0)


async def test_the_count_that_the_person_saw_starts_all(user: ClientSession) -> None:
    data = {"csrf_token": await csrf(user), "expect": "2"}
    async with user.post("/skipped/redrive", data=data, headers=SAME) as answer:
        assert (answer.status, "2 started" in await answer.text()) == (200, True)
