"""Triggers on their pipeline's page, in a real browser: long names fit, and what changes appears without a reload."""

from __future__ import annotations

import pytest
from nats.js.api import StreamConfig
from playwright.async_api import expect

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.pipelines.format.event_triggers import BatchSpec, TriggerSpec
from tests.support.dashboard import browser, dashboard
from tests.support.records import a_bundle, publish_pipeline

pytestmark = pytest.mark.browser

LONG = "orders." + "a-token-without-any-end" * 4 + ".>"


@pytest.mark.parametrize("width", [390, 1440])
async def test_a_problem_goes_away_and_messages_that_wait_are_counted(bus_url: str, bus: Bus, width: int) -> None:
    batch = BatchSpec(max=100, within_seconds=3_600)
    triggers = (TriggerSpec(id="long", subject=LONG, when=" && ".join(["event.total > 1"] * 9), batch=batch),)
    await publish_pipeline(bus, "demo", a_bundle(main_py="1"), triggers=triggers)
    async with dashboard(bus_url) as url, browser(url) as page:
        await page.set_viewport_size({"width": width, "height": 900})
        await page.goto("/pipelines/demo")
        row, note = page.locator("#triggers li"), page.locator("#trigger-note")
        await expect(note).to_contain_text("No stream of the bus stores")
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        await bus.js.add_stream(StreamConfig(name="ORDERS", subjects=["orders.>"]))
        await expect(note).to_be_hidden()
        await expect(row).to_contain_text("Stream ORDERS · 0 waiting · no message yet")
        for _ in range(3):
            await bus.js.publish(LONG.replace(">", "new"), b'{"total": 2}')
        await expect(row).to_contain_text("3 waiting")
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
