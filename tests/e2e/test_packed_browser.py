"""Compressed pages and streams in a real browser."""

from __future__ import annotations

import pytest
from playwright.async_api import Response, expect

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.runs.run import RUN
from tests.support.dashboard import Hands, browser, dashboard
from tests.support.records import a_bundle, a_run, publish_pipeline

pytestmark = pytest.mark.browser


async def test_a_browser_reads_packed_pages_files_and_streams(bus_url: str, bus: Bus) -> None:
    """As behind a proxy: lines appear as they are written, forms work, and a bar leads to its run."""
    await publish_pipeline(bus, "hello", a_bundle(main_py='print("hi")\n'))
    run = a_run("hello")
    await bus.put(subjects.RUNS, subjects.run_key(run.ref), RUN.encode(run))
    hands, packed = Hands(bus), set[str]()

    def note(response: Response) -> None:
        if response.headers.get("content-encoding") == "gzip":
            packed.add(response.url.partition("?")[0].removeprefix(url))

    async with dashboard(bus_url) as url, browser(url) as page:
        page.on("response", note)
        await page.set_extra_http_headers({"X-Forwarded-For": "203.0.113.9"})
        await page.goto("/")
        await page.locator(".strip a").click()
        await page.wait_for_url(f"**/runs/{run.id}")
        await hands.claim(run.ref)
        rows = page.locator("[data-log-lines] > .row")
        for number in range(3):
            await hands.say(run.ref, f"line {number}")
            await expect(rows).to_have_text([f"line {each}" for each in range(number + 1)])
        await page.get_by_role("button", name="Sign out").click()
        await page.wait_for_url("**/login*")
    assert {"/", "/static/log.js", f"/runs/{run.id}", f"/api/runs/{run.id}/logs/stream"} <= packed
