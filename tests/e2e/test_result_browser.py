"""A result on its run's page, in a real browser, on a narrow and a wide screen."""

from __future__ import annotations

import json

import pytest
from playwright.async_api import expect

from fastflow_contracts.bus.client import Bus
from tests.support.dashboard import browser, dashboard
from tests.support.gateway import claim, finish, store
from tests.support.records import a_bundle, a_run, publish_pipeline

pytestmark = pytest.mark.browser

ROWS = [{"day": f"2026-01-{n:02}", "rows": n * 1000.5, "note": "x" * 300 if n == 2 else "<b>"} for n in range(1, 21)]
LARGE = {"of": list(range(3000)), "text": "word " * 200}


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
@pytest.mark.parametrize("width", [390, 1440])
async def test_a_result_is_a_table_or_json_that_folds(bus_url: str, bus: Bus, width: int, *, scripts: bool) -> None:
    """Nothing of it is markup, and nothing makes the page wider than the screen."""
    await publish_pipeline(bus, "demo", a_bundle(main_py="print(1)\n"))
    runs = [
        await finish(bus, await claim(bus, await store(bus, a_run("demo"))), result=json.dumps(value).encode())
        for value in (ROWS, {"rows": 3, "of": ["<script>alert(1)</script>"]}, LARGE)
    ]
    async with dashboard(bus_url) as url, browser(url, scripts=scripts) as page:
        await page.set_viewport_size({"width": width, "height": 900})
        for number, run in enumerate(runs):
            await page.goto(f"/runs/{run.id}")
            card = page.locator("#result")
            await expect(card).to_be_visible()
            json_text = card.get_by_role("region", name="The result as JSON")
            assert await json_text.is_visible() == (number == 1)
            if number == 0:
                await expect(card.locator("tbody tr")).to_have_count(20)
                await expect(card.locator("tbody td b")).to_have_count(0)
                await card.locator("summary").click()
                await expect(json_text).to_be_visible()
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
