"""The page of refused starts in a real browser, on a real bus, with a real scheduler."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.runs.state_machine import Cancel
from fastflow_contracts.runs.store import RunStore
from tests.support.dashboard import browser, dashboard
from tests.support.records import a_bundle, a_run, publish_pipeline

pytestmark = pytest.mark.browser


@pytest_asyncio.fixture
async def url(bus_url: str, bus: Bus) -> AsyncIterator[str]:
    """A dashboard; ``full`` has no room for a run, ``off`` is disabled."""
    await publish_pipeline(bus, "full", a_bundle(main_py=""), max_instances=1)
    await publish_pipeline(bus, "off", a_bundle(main_py=""), enabled=False)
    async with dashboard(bus_url) as address:
        yield address


async def refuse(bus: Bus) -> None:
    """Three starts that are refused: no room, disabled, no such pipeline."""
    event = b'{"order": 7, "note": "<script>alert(1)</script>", "env_vars": {"TOKEN": "secret-value"}}'
    await bus.publish(
        "ff.trigger.full", event, headers={"Content-Type": "application/json", "X-Secret": "secret-value"}
    )
    await bus.publish("ff.trigger.off", b"a plain message")
    await bus.publish("ff.trigger.nosuch", b"\xff\x00 bytes")


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
async def test_a_refused_start_is_seen_with_its_event_and_started(bus: Bus, url: str, *, scripts: bool) -> None:
    """From the count in the navigation to the run; a start that finds no room says so and stays."""
    blocker = a_run("full")
    await RunStore(bus).create(blocker, None)
    await refuse(bus)
    async with browser(url, scripts=scripts) as page:
        await counted(page, 3)
        await page.get_by_role("link", name="Skipped").click()
        await expect(page.get_by_text("max_instances: 1 run(s) of full")).to_be_visible()
        await expect(page.get_by_text("a plain message")).to_be_visible()
        assert "secret-value" not in await page.content()
        await page.locator(".skip-row", has_text="max_instances").get_by_role("link").first.click()
        await expect(page.get_by_label("Text of the event")).to_contain_text("<script>alert(1)</script>")
        assert "secret-value" not in await page.content()
        await page.get_by_role("button", name="Start").click()
        await expect(page.get_by_role("alert")).to_contain_text("max_instances")
        await RunStore(bus).change(blocker.ref, Cancel())
        await page.get_by_role("button", name="Start").click()
        await expect(page.locator("#status")).to_be_visible()
        await counted(page, 2)
        await page.goto("/skipped?show=all")
        await expect(page.get_by_role("link", name="Started as")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_all_refused_starts_that_match_are_started_at_once(bus: Bus, url: str, scheme: str) -> None:
    """The page says how many started, and why others did not. Nothing is cut off, in both colour schemes and widths."""
    await refuse(bus)
    async with browser(url) as page:
        await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        await counted(page, 2)  # ``full`` had room
        await bus.publish("ff.trigger.off", b"one more")
        await page.goto("/skipped?pipeline=off")
        await expect(page.locator(".skip-row")).to_have_count(2)
        await publish_pipeline(bus, "off", a_bundle(main_py=""), max_instances=1)
        await page.get_by_role("button", name="Start all 2").click()
        await expect(page.get_by_role("alert")).to_contain_text("1 started. 1 refused again: max_instances")
        await page.goto("/skipped")
        for width in (1280, 390):
            await page.set_viewport_size({"width": width, "height": 900})
            wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0


async def counted(page: Page, number: int) -> None:
    """The navigation counts *number* refused starts; without scripts, once the page is loaded again."""
    count = page.locator("#skip-count")
    for _ in range(200):
        await page.goto("/skipped")
        if (await count.inner_text()).strip() == str(number):
            return
        await page.wait_for_timeout(50)
    await expect(count).to_have_text(str(number))
