"""The form of a start with a field for each parameter, in a real browser."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import expect

from fastflow_contracts.bus.client import Bus
from tests.support.dashboard import browser, dashboard
from tests.support.records import a_bundle, publish_pipeline

pytestmark = pytest.mark.browser

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "customer": {"type": "string", "title": "Customer", "description": "Who pays for it."},
        "rows": {"type": "integer", "minimum": 1, "default": 100, "description": "How many rows to read."},
        "dry": {"type": "boolean", "default": True, "title": "Dry run", "description": "Change nothing."},
        "mode": {"enum": ["quick", "full"], "default": "quick"},
        "day": {"type": "string", "format": "date"},
        "at": {"type": "string", "format": "date-time", "default": "2026-01-31T12:00:00Z"},
        "hosts": {"type": "array", "items": {"type": "string"}, "default": ["one.example", "two.example"]},
        "note": {"type": "string", "format": "textarea", "maxLength": 10},
        "limits": {"type": "object", "properties": {"cpu": {"type": "number"}}, "default": {"cpu": 1}},
    },
    "required": ["customer"],
    "additionalProperties": False,
}


@pytest_asyncio.fixture
async def url(bus_url: str, bus: Bus) -> AsyncIterator[str]:
    await publish_pipeline(bus, "report", a_bundle(main_py=""), parameters=SCHEMA)
    async with dashboard(bus_url) as address:
        yield address


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
async def test_a_person_fills_in_the_form_and_mends_what_is_wrong(url: str, *, scripts: bool) -> None:
    """The error stands at its field, entries stay, and nothing is cut off on a narrow screen."""
    async with browser(url, scripts=scripts) as page:
        await page.goto("/pipelines/report/start")
        await expect(page.get_by_label("rows")).to_have_value("100")
        await expect(page.get_by_label("Dry run")).to_be_checked()
        await expect(page.get_by_label("at", exact=True)).to_have_value("2026-01-31T12:00")
        await page.get_by_label("Customer").fill("ACME")
        await page.get_by_label("Dry run").uncheck()
        await page.get_by_label("mode").select_option("full")
        await page.get_by_label("day").fill("2026-02-01")
        await page.get_by_label("note").fill("far too long")
        await page.get_by_label("limits").fill('{"cpu": "x"}')
        await page.get_by_role("button", name="Start run").click()
        await expect(page.get_by_role("alert")).to_contain_text("Some parameters are not what the pipeline wants")
        note = page.get_by_label("note")
        await expect(note).to_have_value("far too long")
        await expect(note).to_have_attribute("aria-invalid", "true")
        await expect(note).to_have_accessible_description("It must be at most 10 characters long.")
        await expect(page.get_by_text("/cpu must be a number.")).to_be_visible()
        await expect(page.get_by_label("mode")).to_have_value('"full"')
        await expect(page.get_by_label("Dry run")).not_to_be_checked()
        for width in (1280, 390):
            await page.set_viewport_size({"width": width, "height": 900})
            wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0
        await note.fill("short")
        await page.get_by_label("limits").fill('{"cpu": 2}')
        await page.get_by_role("button", name="Start run").click()
        await expect(page.locator("#status")).to_be_visible()
