"""Pause and resume on the pages, in a real browser, on a real bus, with a real scheduler."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.subjects import PAUSE_KEY
from fastflow_contracts.clock import now
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.pauses import NOT_PAUSED, PauseRecord, PauseSet, pause_sets
from tests.support.dashboard import browser, dashboard
from tests.support.records import a_bundle, publish_pipeline

pytestmark = pytest.mark.browser

REASON = "the <b>database</b> is being moved"


@pytest_asyncio.fixture
async def url(bus_url: str, bus: Bus) -> AsyncIterator[str]:
    for name in ("etl", "report"):
        await publish_pipeline(bus, name, a_bundle(main_py="print(1)"))
    async with dashboard(bus_url) as address:
        yield address


async def fill(page: Page, reason: str) -> None:
    await page.locator(".pause-form > summary").click()
    await page.get_by_label("Reason").fill(reason)
    await page.get_by_label("Your name").fill("Ada")
    await page.locator(".pause-form").get_by_role("button", name="Pause").click()


async def shot(page: Page, name: str) -> None:
    if folder := os.environ.get("FASTFLOW_SHOTS"):
        await page.screenshot(path=Path(folder) / f"{name}.png")


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
async def test_a_pause_is_made_seen_on_every_page_and_ended(url: str, *, scripts: bool) -> None:
    """A run that is started meanwhile says what it waits for."""
    async with browser(url, scripts=scripts) as page:
        await fill(page, REASON)
        banner = page.get_by_label("Paused")
        await expect(banner).to_contain_text(f"by Ada: {REASON}")
        await shot(page, "list")
        for path in ("/runs", "/schedules", "/skipped", "/graph", "/runners", "/secrets", "/pipelines/etl"):
            await page.goto(path)
            await expect(banner).to_contain_text("The installation was paused")
        await shot(page, "pipeline")
        await page.goto("/pipelines/etl/start")
        await page.get_by_role("button", name="Start").click()
        await expect(page.locator("main")).to_contain_text("the end of a pause")
        await shot(page, "run")
        await banner.get_by_role("button", name="Resume").click()
        await expect(banner).to_have_count(0)


async def test_a_pause_of_one_pipeline_is_made_on_its_page(url: str) -> None:
    async with browser(url) as page:
        await page.goto("/pipelines/etl")
        await page.locator(".pause-form > summary").click()
        await shot(page, "form")
        await page.locator(".pause-form > summary").click()
        await fill(page, "its source is broken")
        banner = page.get_by_label("Paused")
        await expect(banner).to_contain_text("etl was paused")
        await expect(banner).not_to_contain_text("No new run begins")
        await banner.get_by_role("button", name="Resume").click()
        await expect(banner).to_have_count(0)


async def test_a_banner_comes_and_goes_while_a_page_is_open(url: str, bus: Bus) -> None:
    """And those who are not signed in do not see it. Many pauses are not a long list."""
    pause = PauseRecord(reason=REASON, at=now())
    names = [PipelineName(f"p{number}") for number in range(7)]
    async with browser(url) as page:
        await page.goto("/")
        banner = page.get_by_label("Paused")
        await expect(page.locator("[data-connection].on, [data-connection-words]").first).to_be_visible()
        await pause_sets(bus).put(PAUSE_KEY, PauseSet(pipelines=dict.fromkeys(names, pause)), expect=0)
        await expect(banner).to_contain_text("And 4 more")
        await shot(page, "many")
        await pause_sets(bus).put(PAUSE_KEY, PauseSet(installation=pause), expect=None)
        await expect(banner).to_contain_text("The installation was paused")
        await page.get_by_role("button", name="Sign out").click()
        await page.goto("/login")
        await expect(page.locator("body")).not_to_contain_text("paused")
        await pause_sets(bus).put(PAUSE_KEY, NOT_PAUSED, expect=None)
