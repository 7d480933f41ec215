"""The page of the days ahead, in a real browser: bars, lists, changes of the clock, a narrow screen, no scripts."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.pipelines.format.spec import DownstreamRule
from tests.support.dashboard import browser, dashboard
from tests.support.records import a_bundle, publish_pipeline

pytestmark = pytest.mark.browser


@pytest_asyncio.fixture
async def page(bus_url: str, bus: Bus) -> AsyncIterator[Page]:
    """A logged-in browser without scripts; runs wait and are refused in the days ahead."""
    code = a_bundle(main_py="")
    links = (DownstreamRule(pipeline="report"), DownstreamRule(pipeline="gone"))
    await publish_pipeline(bus, "etl", code, schedule_cron="*/20 * * * *", downstream_triggers=links)
    await publish_pipeline(bus, "report", code, timeout=30)
    for number in range(9):
        await publish_pipeline(bus, f"hourly-{number}", code, schedule_cron="0 * * * *", timezone="Europe/Berlin")
    await publish_pipeline(bus, "off", code, schedule_cron="0 * * * *", enabled=False)
    async with dashboard(bus_url) as url, browser(url, scripts=False) as one:
        yield one


async def test_the_days_ahead_are_drawn(page: Page) -> None:
    """From the page of schedules: a bar for each hour, who waits, what is refused and why, what is silent."""
    await page.goto("/schedules")
    await page.get_by_role("link", name="The days ahead").click()
    await expect(page.locator(".hours rect.busy")).to_have_count(7 * 24 + 1)
    await expect(page.locator(".hours rect.waiting").first).to_be_attached()
    await expect(page.get_by_text("there is no pipeline gone").first).to_be_visible()
    await expect(page.get_by_label("Schedules that start nothing")).to_contain_text("it is disabled")
    await expect(page.get_by_role("region", name="Pipelines")).to_contain_text("hourly-8")
    await keep(page, "wide")
    await page.get_by_role("link", name="1 day", exact=True).click()
    await expect(page.locator(".hours rect.busy")).to_have_count(24 + 1)


async def test_a_narrow_screen_does_not_scroll_sideways(page: Page) -> None:
    """Tables scroll within themselves; 30 days fit."""
    await page.set_viewport_size({"width": 360, "height": 800})
    await page.goto("/simulation?days=30")
    await expect(page.locator(".hours rect.busy").first).to_be_attached()
    width = await page.locator("body").bounding_box()
    assert width is not None
    assert width["width"] <= 360
    await keep(page, "narrow")


async def test_a_bad_number_of_days_is_refused_in_words(page: Page) -> None:
    await page.goto("/simulation?days=0")
    await expect(page.locator("main")).to_contain_text("days")


async def keep(page: Page, name: str) -> None:
    """Keep a picture, if asked for."""
    if folder := os.environ.get("FASTFLOW_SCREENSHOTS"):
        await page.screenshot(path=str(Path(folder) / f"simulation-{name}.png"), full_page=True)
