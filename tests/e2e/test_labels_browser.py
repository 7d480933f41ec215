"""Labels and priorities on the pages, in a real browser, on a real bus, with a real scheduler."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec.structs import replace
from playwright.async_api import Page, expect

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.runs.presence import PRESENCE
from tests.support.dashboard import browser, dashboard
from tests.support.records import a_bundle, a_presence, publish_pipeline

pytestmark = pytest.mark.browser

MISSING = "a runner with the label zone-a: none is connected"


@pytest_asyncio.fixture
async def url(bus_url: str, bus: Bus) -> AsyncIterator[str]:
    await publish_pipeline(bus, "train", a_bundle(main_py="print(1)"), runs_on=("gpu", "zone-a"), priority=1)
    runner = replace(a_presence("gpu-runner"), labels=("big", "gpu"))
    await bus.put(subjects.RUNNERS, subjects.runner_key(runner.runner), PRESENCE.encode(runner))
    async with dashboard(bus_url) as address:
        yield address


async def shot(page: Page, name: str) -> None:
    if folder := os.environ.get("FASTFLOW_SHOTS"):
        await page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
async def test_pages_say_which_label_no_runner_has_and_what_a_pipeline_asks_for(url: str, *, scripts: bool) -> None:
    """The run's page, the lists of runs and runners, and the pipeline's page."""
    async with browser(url, scripts=scripts) as page:
        await page.goto("/pipelines/train/start")
        await page.get_by_role("button", name="Start").click()
        main = page.locator("main")
        await expect(main).to_contain_text(MISSING)
        await expect(main).to_contain_text("gpu, zone-a")
        await expect(main).to_contain_text("+1")
        await shot(page, "labels-run")
        for path, text in (("/runs", MISSING), ("/runners", "labels big, gpu"), ("/pipelines/train", "gpu, zone-a")):
            await page.goto(path)
            await expect(main).to_contain_text(text)
            await shot(page, f"labels{path.replace('/', '-')}")
