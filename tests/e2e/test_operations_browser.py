"""Backfills, bulk actions and runs that are run again with changes, in a real browser on a real bus."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.run import RunInput
from fastflow_contracts.runs.store import RunStore
from tests.support.dashboard import Hands, browser, dashboard
from tests.support.records import a_bundle, publish_pipeline

pytestmark = pytest.mark.browser

DEMO = PipelineName("demo")


@pytest_asyncio.fixture
async def url(bus_url: str, bus: Bus) -> AsyncIterator[str]:
    await publish_pipeline(bus, "demo", a_bundle(main_py=""), schedule_cron="0 * * * *")
    async with dashboard(bus_url) as address:
        yield address


async def picture(page: Page, name: str) -> None:
    if folder := os.environ.get("FASTFLOW_PICTURES"):
        await page.screenshot(path=f"{folder}/{name}.png", full_page=True)


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
async def test_a_backfill_is_previewed_run_watched_and_cancelled(bus: Bus, url: str, *, scripts: bool) -> None:
    async with browser(url, scripts=scripts) as page:
        await page.goto("/pipelines/demo")
        await page.get_by_role("link", name="Backfill").click()
        await page.get_by_label("From", exact=True).fill("2026-01-01")
        await page.get_by_label("To", exact=True).fill("2026-01-01")
        await page.get_by_role("button", name="Show what would run").click()
        await expect(page.get_by_role("status")).to_contain_text("24 of 24 slots to run")
        await picture(page, "backfill")
        await page.get_by_role("button", name="Run 24 slots").click()
        await page.wait_for_url(re.compile("/operations/"))
        async with asyncio.timeout(60):
            while len(await RunStore(bus).all_of(DEMO)) < 4:
                await asyncio.sleep(0.05)
        await picture(page, "operation")
        await page.get_by_role("button", name="Cancel operation").click()
        if not scripts:
            async with asyncio.timeout(60):
                while not await page.get_by_text("cancelled", exact=True).count():
                    await page.reload()
        await expect(page.get_by_text("cancelled", exact=True)).to_be_visible()
        await page.goto("/bulk")
        await expect(page.get_by_role("button", name="Run 4 again")).to_be_visible()
        await picture(page, "bulk")


async def test_a_run_is_run_again_with_changes(bus: Bus, url: str) -> None:
    async with browser(url) as page:
        await page.goto("/pipelines/demo/start")
        await page.get_by_role("button", name="Add a row").first.click()
        await page.get_by_label("Environment variables: name").first.fill("CITY")
        await page.get_by_label("Environment variables: value").first.fill("s3cr3t")
        await page.get_by_role("button", name="Start run").click()
        await page.wait_for_url(re.compile("/runs/"))
        (run,) = await RunStore(bus).all_of(DEMO)
        hands = Hands(bus)
        await hands.finish(await hands.claim(run.ref))
        await page.get_by_role("link", name="Run again with…").click()
        assert "s3cr3t" not in await page.content()
        await page.get_by_label("CITY: new value").fill("Oslo")
        await page.get_by_label("Code").select_option("current")
        await picture(page, "again")
        await page.get_by_role("button", name="Run again").click()
        await page.wait_for_url(lambda shown: "/again" not in shown)
        again = next(each for each in await RunStore(bus).all_of(DEMO) if each.id != run.id)
        assert await RunStore(bus).input(again) == RunInput(overrides={"CITY": "Oslo"})
