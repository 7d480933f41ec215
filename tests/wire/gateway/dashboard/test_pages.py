"""The dashboard without a browser: sign-in, forms, and what every page has."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import ClientResponse, ClientSession, ClientTimeout, CookieJar

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.ids import RunId
from fastflow_contracts.runs.run import RUN, RunRecord
from tests.support.dashboard import TOKEN, Hands, dashboard
from tests.support.ids import fresh_run_id
from tests.support.records import a_bundle, a_run, publish_pipeline

PAGE = {"Accept": "text/html"}
TIMEOUT = ClientTimeout(total=20)


@pytest_asyncio.fixture
async def url(bus_url: str, bus: Bus) -> AsyncIterator[str]:
    """A dashboard that knows one pipeline, which may run once at a time."""
    code = a_bundle(main_py="print(1)\n")
    await publish_pipeline(bus, "hello", code, max_instances=1, default_env={"A": "shown"})
    async with dashboard(bus_url) as address:
        yield address


@pytest_asyncio.fixture
async def stranger(url: str) -> AsyncIterator[ClientSession]:
    """A visitor without a session."""
    async with ClientSession(url, headers=PAGE, timeout=TIMEOUT, cookie_jar=CookieJar(unsafe=True)) as session:
        yield session


@pytest_asyncio.fixture
async def user(stranger: ClientSession) -> ClientSession:
    """A visitor who signed in."""
    async with stranger.post("/login", data={"token": TOKEN}, allow_redirects=False) as answer:
        assert answer.status == 303
    return stranger


async def csrf(user: ClientSession) -> str:
    """Return the token for the forms of this session."""
    async with user.get("/") as answer:
        found = re.search(r'name="csrf_token" value="([^"]+)"', await answer.text())
    assert found
    return found[1]


async def post(user: ClientSession, path: str, **fields: str) -> ClientResponse:
    """Send a form as one of our pages does."""
    data = {"csrf_token": await csrf(user)} | fields
    return await user.post(path, data=data, headers={"Sec-Fetch-Site": "same-origin"}, allow_redirects=False)


async def store(bus: Bus, run: RunRecord) -> RunId:
    await bus.put(subjects.RUNS, subjects.run_key(run.ref), RUN.encode(run))
    return run.id


@pytest.mark.parametrize(
    "path", ["/", "/runs", "/pipelines/hello", f"/runs/{fresh_run_id()}"], ids=["home", "runs", "pipeline", "run"]
)
async def test_visitors_without_a_session_are_sent_to_the_login_and_back(stranger: ClientSession, path: str) -> None:
    """The login keeps the address they wanted."""
    async with stranger.get(path, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, f"/login?next={path}")


@pytest.mark.parametrize("path", ["/", "/runs", "/pipelines/hello", "/pipelines/hello/start", "/login", "/nowhere"])
async def test_every_page_forbids_inline_and_foreign_content(user: ClientSession, path: str) -> None:
    """Text that escapes the escaping still does nothing; and no page has inline code itself."""
    async with user.get(path) as answer:
        policy = answer.headers["Content-Security-Policy"]
        text = await answer.text()
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=|https?://(?!www\.w3\.org/)", text)


async def test_a_form_needs_the_token_of_its_session(user: ClientSession) -> None:
    """Another site cannot start a run, even in a browser that is signed in."""
    for data in ({}, {"csrf_token": "guessed"}):
        async with user.post("/pipelines/hello/start", data=data, headers={"Sec-Fetch-Site": "same-origin"}) as answer:
            assert answer.status == 403
    data = {"csrf_token": await csrf(user)}
    async with user.post("/pipelines/hello/start", data=data, headers={"Sec-Fetch-Site": "cross-site"}) as answer:
        assert answer.status == 403


async def test_a_form_that_is_sent_twice_starts_one_run(user: ClientSession) -> None:
    """A double click does no harm."""
    first = await post(user, "/pipelines/hello/start", key="same")
    second = await post(user, "/pipelines/hello/start", key="same")
    assert first.status == second.status == 303
    assert first.headers["Location"] == second.headers["Location"]


async def test_a_refused_start_shows_why_and_keeps_what_was_filled_in(user: ClientSession) -> None:
    """Beyond ``max_instances``: the form again, with the reason."""
    assert (await post(user, "/pipelines/hello/start", key="one")).status == 303
    answer = await post(user, "/pipelines/hello/start", key="two", env_name="LEVEL", env_value="debug<")
    assert answer.status == 429
    text = await answer.text()
    assert "Not started" in text
    assert 'value="debug&lt;"' in text


async def test_cancelling_a_run_that_is_over_says_so(bus: Bus, user: ClientSession) -> None:
    """On the run's page, not as a bare error."""
    run = a_run("hello")
    await store(bus, run)
    await Hands(bus).finish(await Hands(bus).claim(run.ref))
    answer = await post(user, f"/runs/{run.id}/cancel")
    assert answer.status == 409
    assert "already over" in await answer.text()


async def test_an_error_page_names_the_page_to_go_back_to(bus: Bus, user: ClientSession) -> None:
    """The address of a refused form is not a page. An ordinary page names no other."""
    run_id = await store(bus, a_run("hello"))
    for path, address in (
        ("/sync", "/"),
        (f"/runs/{run_id}/retry", f"/runs/{run_id}"),
        ("/schedules/hello.nothing", "/schedules"),
    ):
        answer = await post(user, path)
        assert answer.status >= 400
        assert f'data-address="{address}"' in await answer.text()
        async with user.get(address) as page:
            assert "data-address" not in await page.text()


async def test_runs_are_paged_and_filters_stay(bus: Bus, user: ClientSession) -> None:
    """Older runs are one link away; the link keeps the filters."""
    for number in range(51):
        await store(bus, a_run("hello", created=number))
    found = None
    async with asyncio.timeout(30):
        while not found:  # until the gateway has heard of the last run
            async with user.get("/runs?status=PENDING&triggered_by=api") as answer:
                text = await answer.text()
            found = re.search(r'href="(/runs\?[^"]*cursor=[^"]+)"', text)
    assert text.count('class="run-row"') == 50
    assert "status=PENDING" in found[1]
    async with user.get(found[1].replace("&amp;", "&")) as answer:
        text = await answer.text()
    assert text.count('class="run-row"') == 1
    assert "Newest" in text


async def test_the_stream_of_changes_begins_at_once_and_has_every_change(bus: Bus, user: ClientSession) -> None:
    """Each change of a run is an event; a new connection gets one right away."""
    async with user.get("/live") as stream:
        assert await _event(stream) == "changed"
        await store(bus, a_run("hello"))
        assert await _event(stream) == "changed"


async def test_static_files_are_sent_once(stranger: ClientSession) -> None:
    """A browser that has one learns that it did not change; a missing file is a 404."""
    async with stranger.get("/static/style.css") as answer:
        assert (answer.status, answer.content_type) == (200, "text/css")
        tag = answer.headers["ETag"]
    async with stranger.get("/static/style.css", headers={"If-None-Match": tag}) as answer:
        assert answer.status == 304
    for path in ("/static/nothing.js", "/static/..%2fpages.py"):
        async with stranger.get(path) as answer:
            assert answer.status == 404


@pytest.mark.parametrize("path", ["/nowhere", "/pipelines/none", "/pipelines/a%20b", "/runs/none", "/runs?cursor=x"])
async def test_an_unknown_address_is_a_friendly_page(user: ClientSession, path: str) -> None:
    """With a way back."""
    async with user.get(path) as answer:
        assert answer.status in (404, 422)
        assert answer.content_type == "text/html"
        assert "Go to the pipelines" in await answer.text()


async def _event(stream: ClientResponse) -> str:
    """Return the name of the next event."""
    async for line in stream.content:
        if line.startswith(b"event: "):
            return line.decode().removeprefix("event: ").strip()
    raise AssertionError("the stream ended")
