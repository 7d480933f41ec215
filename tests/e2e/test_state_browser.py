"""The state on a pipeline's page, in a real browser, on a narrow and a wide screen."""

from __future__ import annotations

import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import expect

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.names import PipelineName
from tests.support.dashboard import browser, dashboard
from tests.support.records import a_bundle, publish_pipeline
from tests.wire.gateway.api.test_state import a_run_that_leaves

pytestmark = pytest.mark.browser


@pytest_asyncio.fixture
async def url(bus_url: str, bus: Bus) -> AsyncIterator[str]:
    """A dashboard, and a pipeline that keeps state."""
    await publish_pipeline(bus, "demo", a_bundle(main_py="print(1)\n"), state=True, description="Reads the orders.")
    async with dashboard(bus_url) as address:
        yield address


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
@pytest.mark.parametrize("width", [390, 1440])
async def test_the_history_is_shown_downloaded_and_reset_on_the_page(
    url: str, bus: Bus, tmp_path: Path, width: int, scripts: bool
) -> None:
    """With or without scripts; nothing is wider than the screen."""
    async with browser(url, scripts=scripts) as page:
        await page.set_viewport_size({"width": width, "height": 900})
        await page.goto("/pipelines/demo")
        card = page.locator("#state")
        await expect(card).to_contain_text("No run has left a state yet")
        await expect(card.get_by_role("button", name="Reset")).to_have_count(0)
        for text in ("1", "x" * 70_000):
            run = await a_run_that_leaves(bus, text)
        await page.reload()
        rows = card.locator("li")
        await expect(rows).to_have_count(2)
        await expect(rows.nth(0)).to_contain_text("Version 2 Current")
        await expect(rows.nth(0)).to_contain_text("1 file, 68.4 KiB")
        await expect(rows.nth(0).get_by_role("link", name="from")).to_have_attribute("href", f"/runs/{run.id}")
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        async with page.expect_download() as download:
            await card.get_by_role("link", name="Download version 1").click()
        await (await download.value).save_as(tmp_path / "state.tar.gz")
        with tarfile.open(tmp_path / "state.tar.gz") as tar:
            assert [(info.name, info.size) for info in tar] == [("a/cursor", 1)]
        await card.get_by_role("button", name="Reset").click()
        await expect(rows).to_have_count(3)
        await expect(rows.nth(0)).to_contain_text("Version 3 Current · reset")
        await expect(card.get_by_role("button", name="Reset")).to_have_count(0)
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        await page.goto(f"/runs/{run.id}")
        await expect(page.locator("main")).to_contain_text("began with version 1, left version 2")


async def test_older_versions_are_folded_away(url: str, bus: Bus) -> None:
    """Five are shown. A damaged record is said, with the way out."""
    for number in range(7):
        await a_run_that_leaves(bus, str(number))
    async with browser(url) as page:
        await page.goto("/pipelines/demo")
        card = page.locator("#state")
        await expect(card.get_by_text("Version 3 ")).to_be_visible()
        await expect(card.get_by_text("Version 2 ")).to_be_hidden()
        await card.get_by_text("2 older").click()
        await expect(card.get_by_text("Version 1 ")).to_be_visible()
        await bus.put(subjects.RUNS, subjects.state_key(PipelineName("demo")), b"{")
        await page.reload()
        await expect(card).to_contain_text("the record of the state of demo cannot be read; reset the state.")
        await card.get_by_role("button", name="Reset").click()
        await expect(card.locator("li")).to_have_count(1)
