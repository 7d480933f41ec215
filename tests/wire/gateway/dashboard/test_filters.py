"""The lists of the dashboard take the parameters of the API, and refuse what it refuses."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import ClientSession, ClientTimeout, CookieJar

from fastflow_contracts.bus.client import Bus
from tests.support.dashboard import TOKEN, dashboard
from tests.support.records import a_bundle, publish_pipeline

PAGE = {"Accept": "text/html"}


@pytest_asyncio.fixture
async def user(bus_url: str, bus: Bus) -> AsyncIterator[ClientSession]:
    """A visitor who signed in; there are two pipelines with tags."""
    for name, tags in {"first": ("x", "y"), "second": ("y",), "third": ()}.items():
        await publish_pipeline(bus, name, a_bundle(main_py=f"print({name!r})\n"), tags=tags)
    async with (
        dashboard(bus_url) as url,
        ClientSession(url, timeout=ClientTimeout(total=60), cookie_jar=CookieJar(unsafe=True)) as session,
    ):
        async with session.post("/login", data={"token": TOKEN}, headers=PAGE, allow_redirects=False) as answer:
            assert answer.status == 303
        yield session


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("tags=x", ["first"]),
        ("tags=x,y", ["first", "second"]),
        ("tags=x&tags=y", ["first", "second"]),
        ("tags=&q=", ["first", "second", "third"]),
        ("tags=y&q=second", ["second"]),
    ],
)
async def test_a_search_finds_the_same_on_the_page_and_in_the_api(
    user: ClientSession, query: str, names: list[str]
) -> None:
    """Tags are separated by commas or repeated; a pipeline has one of them, and every word of q."""
    async with user.get(f"/?{query}", headers=PAGE) as page:
        shown = re.findall(r'data-key="([^"]+)"', await page.text())
    async with user.get(f"/api/pipelines?{query}", headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
        listed = [each["name"] for each in await answer.json()]
    assert shown == listed == names


@pytest.mark.parametrize(
    ("page", "api"),
    [
        ("/runs?status=nope", "/api/runs?status=nope"),
        ("/runs?triggered_by=nope", "/api/runs?triggered_by=nope"),
        ("/runs?start_date=soon", "/api/runs?start_date=soon"),
        ("/runs?limit=0", "/api/runs?limit=0"),
        ("/runs?cursor=nope", "/api/runs?cursor=nope"),
        ("/runs?colour=red", "/api/runs?colour=red"),
        ("/skipped?triggered_by=nope", "/api/skipped?triggered_by=nope"),
        ("/skipped?cursor=nope", "/api/skipped?cursor=nope"),
        ("/?name=x", "/api/pipelines?name=x"),
    ],
)
async def test_a_page_refuses_a_filter_with_the_words_of_the_api(user: ClientSession, page: str, api: str) -> None:
    """Neither of them shows everything in place of what was asked for."""
    async with user.get(api, headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
        assert answer.status == 422
        detail = (await answer.json())["detail"]
    async with user.get(page, headers=PAGE) as answer:
        assert answer.status == 422
        assert detail in html.unescape(await answer.text())
