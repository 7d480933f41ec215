"""The pages of refused starts without a browser: who gets in, what forms need, and what links to them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest_asyncio
from aiohttp import ClientSession, ClientTimeout, CookieJar

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.ids import RunId, run_id_for_key
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.messages import TRIGGER_TYPE, Trigger
from tests.support.dashboard import TOKEN, dashboard
from tests.support.ids import fresh_run_id
from tests.support.records import a_bundle, publish_pipeline

OFF = PipelineName("off")


@pytest_asyncio.fixture
async def user(bus_url: str, bus: Bus) -> AsyncIterator[ClientSession]:
    """A person who logged in; ``off`` is disabled."""
    await publish_pipeline(bus, OFF, a_bundle(main_py=""), enabled=False)
    async with (
        dashboard(bus_url) as url,
        ClientSession(
            url, headers={"Accept": "text/html"}, timeout=ClientTimeout(total=60), cookie_jar=CookieJar(unsafe=True)
        ) as session,
    ):
        async with session.get("/skipped", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "/login?next=/skipped")
        async with session.post("/login", data={"token": TOKEN}, allow_redirects=False) as answer:
            assert answer.status == 303
        yield session


async def refused(bus: Bus, user: ClientSession, key: str, *, accepted: bool = False) -> RunId:
    """A start of the disabled pipeline, once its page is there."""
    body = messages.TRIGGER.encode(Trigger(key=key, event=b"payload", accepted=accepted))
    await bus.publish(subjects.start(OFF), body, headers={"Content-Type": TRIGGER_TYPE})
    run_id = run_id_for_key(OFF, key)
    for path in (f"/skipped/{run_id}", *([f"/runs/{run_id}"] if accepted else [])):
        async with asyncio.timeout(60):
            while await status(user, path) != 200:
                await asyncio.sleep(0.05)
    return run_id


async def status(user: ClientSession, path: str) -> int:
    async with user.get(path) as answer:
        return answer.status


async def text(user: ClientSession, path: str) -> str:
    async with user.get(path) as answer:
        assert answer.status == 200
        return await answer.text()


async def test_a_run_that_was_refused_says_so_and_links_to_its_message(bus: Bus, user: ClientSession) -> None:
    """It cannot be run again: it has no code. Its message can."""
    run_id = await refused(bus, user, "k", accepted=True)
    page = await text(user, f"/runs/{run_id}")
    assert "refused before it began" in page
    assert "off is disabled" in page
    assert f'href="/skipped/{run_id}"' in page
    assert "/retry" not in page
    assert f'href="/runs/{run_id}"' in await text(user, f"/skipped/{run_id}")
    assert f'href="/skipped/{run_id}"' in await text(user, "/pipelines/off")


async def test_a_form_of_another_site_starts_nothing(bus: Bus, user: ClientSession) -> None:
    """It lacks the token of this session."""
    run_id = await refused(bus, user, "k")
    await publish_pipeline(bus, OFF, a_bundle(main_py=""))
    for path in (f"/skipped/{run_id}/redrive", "/skipped/redrive"):
        async with user.post(path, headers={"Sec-Fetch-Site": "same-origin"}, allow_redirects=False) as answer:
            assert answer.status == 403
    page = await text(user, "/skipped")
    csrf = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert csrf
    data, headers = {"csrf_token": csrf[1]}, {"Sec-Fetch-Site": "same-origin"}
    async with user.post(f"/skipped/{run_id}/redrive", data=data, headers=headers, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, f"/runs/{run_id}")


async def test_pages_of_what_is_not_there_say_so(user: ClientSession) -> None:
    """404 for an unknown skip; an unknown pipeline has none; an invalid cursor is refused."""
    assert await status(user, f"/skipped/{fresh_run_id()}") == 404
    assert await status(user, "/skipped/nonsense") == 404
    assert "No refused start matches" in await text(user, "/skipped?pipeline=nosuch&triggered_by=api&show=all")
    assert "Nothing was refused" in await text(user, "/skipped")
    assert await status(user, "/skipped?cursor=nonsense") == 422
