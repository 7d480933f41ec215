"""Versions on a pipeline's page, with plain forms as a browser without scripts sends them."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from aiohttp import ClientSession, ClientTimeout, CookieJar
from msgspec.structs import replace

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.subjects import VersionRef
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.records import PackageChange, Rollback, Trial, VersionChanges
from fastflow_contracts.pipelines.store import PipelineStore
from tests.support.dashboard import TOKEN, dashboard
from tests.support.ids import fresh_run_id
from tests.support.records import T0, a_bundle, list_version, publish_pipeline

DEMO = PipelineName("demo")
OLD, NEW = a_bundle(main_py="print(1)"), a_bundle(main_py="print(2)")
OLD_ID, NEW_ID = OLD.sha256[:12], NEW.sha256[:12]
SAME_SITE = {"Sec-Fetch-Site": "same-origin"}


@pytest_asyncio.fixture
async def user(bus_url: str, bus: Bus) -> AsyncIterator[ClientSession]:
    """A person who is signed in, and a pipeline with two versions."""
    await list_version(bus, "demo", OLD)
    await list_version(bus, "demo", NEW, before=OLD.sha256, deployed=1)
    store, ref = PipelineStore(bus), VersionRef(DEMO, NEW_ID)
    stored = await store.versions.get(ref)
    assert stored is not None
    changes = VersionChanges(
        added=("<b>.py",), changed=("main.py",), packages=(PackageChange(name="six", before="==1", after="==2"),)
    )
    listed = replace(stored.value, author="Ann <i>", changes=changes)
    await store.versions.put(ref, listed, expect=stored.revision)
    await publish_pipeline(bus, "demo", NEW, rollback_after=3)
    timeout, cookies = ClientTimeout(total=20), CookieJar(unsafe=True)
    async with (
        dashboard(bus_url) as url,
        ClientSession(url, headers={"Accept": "text/html"}, timeout=timeout, cookie_jar=cookies) as session,
    ):
        async with session.post("/login", data={"token": TOKEN}) as answer:
            assert answer.status == 200
        yield session


async def text(user: ClientSession, path: str = "/pipelines/demo") -> str:
    async with user.get(path) as answer:
        assert answer.status == 200
        return html.unescape(re.sub(r"\s+", " ", await answer.text()))


async def post(user: ClientSession, path: str, **fields: str) -> tuple[int, str]:
    """Send a form of the page; return the status and where it leads, or the page."""
    token = re.search(r'name="csrf_token" value="([^"]+)"', await text(user))
    assert token
    data = {"csrf_token": token[1]} | fields
    async with user.post(path, data=data, headers=SAME_SITE, allow_redirects=False) as answer:
        return answer.status, answer.headers.get("Location") or html.unescape(await answer.text())


async def change(bus: Bus, **fields: Any) -> None:
    store = PipelineStore(bus)
    await store.records.change(DEMO, lambda record: replace(record, **fields) if record else None)


async def test_the_page_lists_versions_and_what_changed(user: ClientSession) -> None:
    """Names are text, whatever they hold."""
    async with user.get("/pipelines/demo") as answer:
        source = await answer.text()
    assert "<b>.py" not in source
    assert "Ann <i>" not in source
    page = await text(user)
    for part in (OLD_ID, NEW_ID, "1 added 1 changed 1 package", "six ==1 → ==2", "no runs", ">Roll back<", ">Pin<"):
        assert part in page, part
    assert "Pinned to version" not in page


async def test_a_version_is_pinned_and_unpinned_on_the_page(user: ClientSession) -> None:
    """The page then says who pinned it, and why the newest version is not live."""
    assert await post(user, "/pipelines/demo/pin", version=OLD_ID) == (303, "/pipelines/demo#versions")
    page = await text(user)
    assert f"Pinned to version <code>{OLD_ID}</code>" in page
    assert "Somebody pinned it in the dashboard" in page
    assert f"so the newer version {NEW_ID} is not live" in page
    assert "Pinned</span>" in await text(user, "/")
    assert await post(user, "/pipelines/demo/unpin") == (303, "/pipelines/demo#versions")
    assert "Pinned to version" not in await text(user)
    status, page = await post(user, "/pipelines/demo/unpin")
    assert (status, "demo is not pinned." in page) == (409, True)


async def test_a_version_that_is_gone_is_not_pinned(user: ClientSession) -> None:
    """The page says so."""
    for version in ("0" * 12, ""):
        status, page = await post(user, "/pipelines/demo/pin", version=version)
        assert (status, "fastflow versions demo" in page) == (404, True)


async def test_a_rollback_and_a_failing_version_are_said(user: ClientSession, bus: Bus) -> None:
    """On the pipeline's page and in the list."""
    await change(bus, trial=Trial(failed=(fresh_run_id(),)))
    await until(user, "Its first run failed. It is rolled back after 3.")
    await change(bus, trial=Trial(failed=tuple(fresh_run_id() for _ in range(3))))
    await until(user, "All of its first 3 runs failed. No version before it is kept, so it stays live.")
    kept = await PipelineStore(bus).version(DEMO, OLD_ID)
    assert kept is not None
    bad = Rollback(bundle=NEW.sha256, to=OLD.sha256, at=T0, failures=3)
    await change(bus, live=kept.version, held_back=NEW.sha256, rolled_back=bad, trial=None)
    await until(user, f"Version {NEW_ID} was rolled back to {OLD_ID}, because all of its first 3 runs failed.")
    assert "Rolled back</span>" in await text(user, "/")


async def test_the_start_form_offers_the_versions(user: ClientSession) -> None:
    """A link from the list chooses one; one that is not kept stays an error in the form."""
    page = await text(user, "/pipelines/demo/start")
    assert f'<option value="{OLD_ID}">{OLD_ID} – subject</option>' in page
    assert f'<option value="{OLD_ID}" selected>' in await text(user, f"/pipelines/demo/start?version={OLD_ID}")
    status, page = await post(user, "/pipelines/demo/start", key="k", version="latest")
    assert (status, "version must be the id of a version" in page) == (422, True)


async def until(user: ClientSession, part: str) -> None:
    """Ask for the page until it shows *part*: the feed brings the record."""
    async with asyncio.timeout(30):
        while part not in await text(user):
            await asyncio.sleep(0.05)
