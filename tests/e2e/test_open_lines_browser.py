"""An open line on a run's page, in a real browser: it grows in its place, and a progress bar shows its newest state."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.runs.run import RUN
from tests.support.dashboard import Hands, browser, dashboard
from tests.support.records import a_bundle, a_run, publish_pipeline

pytestmark = pytest.mark.browser


async def test_an_open_line_is_redrawn_in_its_place(bus_url: str, bus: Bus) -> None:
    """What another stream says comes as its own row; the whole line replaces what was shown of it."""
    await publish_pipeline(bus, "hello", a_bundle(main_py='print("hi")\n'))
    run = a_run("hello")
    await bus.put(subjects.RUNS, subjects.run_key(run.ref), RUN.encode(run))
    hands = Hands(bus)
    async with dashboard(bus_url) as url, browser(url) as page:
        await page.goto(f"/runs/{run.id}")
        await hands.claim(run.ref)
        rows = page.locator("[data-log-lines] > .row")
        await hands.show_open(run.ref, 0, "Connecting ")
        await expect(rows).to_have_text(["Connecting "])
        await hands.say(run.ref, "careful", stream="stderr")
        await hands.show_open(run.ref, 11, "now\r10%")
        await expect(rows).to_have_text(["10%", "careful"])
        await hands.show_open(run.ref, 11, "now\r10%\r\x1b[32m20%\x1b[0m")  # a runner that took over repeats it
        await expect(rows).to_have_text(["20%", "careful"])
        await expect(rows.first.locator(".f2")).to_have_text("20%")
        await hands.say(run.ref, "Connecting now\r10%\r20%\r100%", "done")
        await expect(rows).to_have_text(["100%3 overwritten", "careful", "done"])
