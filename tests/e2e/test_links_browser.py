"""Downstream triggers on a pipeline's page, in a real browser, on a narrow and a wide screen."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.spec import DownstreamRule, ScheduleEntry
from tests.support.dashboard import browser, dashboard
from tests.support.records import a_bundle, publish_pipeline

pytestmark = pytest.mark.browser

LONG = PipelineName("a_pipeline_with_a_name_that_is_as_long_as_a_name_can_possibly_be")


@pytest_asyncio.fixture
async def url(bus_url: str, bus: Bus) -> AsyncIterator[str]:
    """A dashboard that knows ``extract``, which starts others by its metadata."""
    code = a_bundle(main_py="print(1)\n")
    rules = (
        DownstreamRule(pipeline=PipelineName("load")),
        DownstreamRule(
            pipeline=PipelineName(LONG), run_config_id="nightly", on_route="needs_a_person", on_failure=True
        ),
    )
    await publish_pipeline(bus, "extract", code, downstream_triggers=rules, description="Reads the orders.")
    await publish_pipeline(bus, "load", code, schedules=(ScheduleEntry(id="full"),))
    await publish_pipeline(bus, LONG, code)
    async with dashboard(bus_url) as address:
        yield address


async def fill(page: Page) -> None:
    """Add a trigger with everything that the form has."""
    await page.get_by_text("Start another pipeline after this one").click()
    form = page.locator(".link-form")
    await form.get_by_label("Pipeline").fill("load")
    await form.get_by_label("When").select_option("After failure")
    await form.get_by_label("Run configuration").fill("full")
    await form.get_by_label("Route").fill("approved")
    await form.get_by_role("button", name="Add").click()


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
@pytest.mark.parametrize("width", [390, 1440])
async def test_triggers_are_added_and_removed_on_the_page(url: str, width: int, scripts: bool) -> None:
    """With or without scripts; nothing is wider than the screen."""
    async with browser(url, scripts=scripts) as page:
        await page.set_viewport_size({"width": width, "height": 900})
        await page.goto("/pipelines/extract")
        rows = page.locator("#links .link-row")
        await expect(rows).to_have_count(2)
        await fill(page)
        await expect(rows).to_have_count(3)
        added = rows.filter(has_text="after failure, on route approved")
        await expect(added).to_contain_text("API")
        scroll = await page.locator("html").evaluate("e => e.scrollWidth") if scripts else width
        assert scroll <= width
        await added.get_by_role("button", name="Remove the trigger of load").click()
        await expect(rows).to_have_count(2)
        await expect(page.get_by_role("button", name="Remove the trigger")).to_have_count(0)


async def test_a_refused_trigger_keeps_the_form_open(url: str) -> None:
    """The reason stands above what was typed."""
    async with browser(url, scripts=False) as page:
        await page.goto("/pipelines/extract")
        await page.get_by_text("Start another pipeline after this one").click()
        form = page.locator(".link-form")
        await form.get_by_label("Pipeline").fill("nobody")
        await form.get_by_role("button", name="Add").click()
        await expect(form.get_by_role("alert")).to_contain_text("there is no pipeline nobody")
        await expect(form.get_by_label("Pipeline")).to_have_value("nobody")
