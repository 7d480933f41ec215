"""Graph, schedules, and followups of runs, in a real browser, on a real bus, with a real scheduler."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from msgspec.structs import replace
from playwright.async_api import Page, expect

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.subjects import RunRef
from fastflow_contracts.clock import now
from fastflow_contracts.ids import check_run_id
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.retry import FixedDelay
from fastflow_contracts.pipelines.format.spec import DownstreamRule, ScheduleEntry
from fastflow_contracts.runs.run import RunErrorType
from fastflow_contracts.runs.store import RunStore
from tests.support.dashboard import Hands, browser, dashboard
from tests.support.records import a_bundle, a_run, publish_pipeline

pytestmark = pytest.mark.browser


@pytest_asyncio.fixture
async def url(bus_url: str, bus: Bus) -> AsyncIterator[str]:
    """A dashboard that knows one pipeline, which nothing starts."""
    await publish_pipeline(bus, "hello", a_bundle(main_py=""))
    async with dashboard(bus_url) as address:
        yield address


@pytest_asyncio.fixture
async def page(url: str) -> AsyncIterator[Page]:
    """A logged-in browser."""
    async with browser(url) as one:
        yield one


async def link(page: Page, upstream: str, **body: object) -> None:
    """Create a downstream trigger as a script of the page would."""
    csrf = await page.locator('input[name="csrf_token"]').first.get_attribute("value")
    answer = await page.request.post(
        f"/api/pipelines/{upstream}/downstream-triggers",
        data=body,
        headers={"X-CSRF-Token": csrf or "", "Sec-Fetch-Site": "same-origin"},
    )
    assert answer.ok, await answer.text()


async def test_the_empty_graph_says_how_to_fill_it_and_fills_without_a_reload(bus: Bus, page: Page) -> None:
    """First it explains how to make a link, then boxes and lines appear; a box links to its pipeline."""
    await page.goto("/")
    await page.get_by_role("link", name="Graph").click()
    await expect(page.get_by_text('"downstream_triggers"')).to_be_visible()
    code = a_bundle(main_py="")
    trigger = DownstreamRule(pipeline="hello", run_config_id="full", on_failure=True)
    await publish_pipeline(bus, "first", code, downstream_triggers=(trigger, DownstreamRule(pipeline="gone")))
    drawing = page.get_by_role("group", name="Which pipeline starts which")
    await expect(drawing.get_by_role("link", name="hello: No runs yet")).to_be_visible()
    await expect(drawing.get_by_role("img", name="first starts hello with full after every run")).to_be_attached()
    await expect(drawing.locator(".node.missing")).to_contain_text("No such pipeline")
    await expect(page.locator(".link-row .why").last).to_have_text("There is no pipeline gone.")
    await drawing.get_by_role("link", name="first: No runs yet").click()
    await expect(page.get_by_role("heading", name="first")).to_be_visible()


async def test_a_cycle_is_named_and_every_line_is_distinct(page: Page) -> None:
    """A link made through the API is drawn too, and one that runs back ends at the box where it starts."""
    await page.goto("/graph")
    await link(page, "hello", pipeline="hello", on_success=False, on_failure=True)
    await expect(page.get_by_label("Cycles")).to_contain_text("hello → hello")
    line = page.locator(".graph .ln-bad")
    await expect(line.locator(".wire")).to_have_css("stroke-dasharray", "5px, 4px")
    box, head = await page.locator(".graph .node rect").bounding_box(), await line.locator(".head").bounding_box()
    assert box is not None
    assert head is not None
    assert abs(head["x"] + head["width"] - box["x"]) < 2
    assert box["y"] < head["y"] < box["y"] + box["height"]


async def test_the_graph_needs_no_scripts(bus: Bus, url: str) -> None:
    """The server draws it, in both themes."""
    code = a_bundle(main_py="")
    await publish_pipeline(bus, "first", code, downstream_triggers=(DownstreamRule(pipeline="hello"),))
    async with browser(url, scripts=False) as page:
        await page.goto("/graph")
        rect = page.locator(".graph .node rect").first
        for scheme, fill in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(20, 23, 27)")):
            await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            await expect(rect).to_have_css("fill", fill)


async def test_schedules_count_down_and_are_switched_in_place(bus: Bus, page: Page) -> None:
    """The next slot comes closer; a switch works at once and both sides show it."""
    await page.goto("/schedules")
    await expect(page.get_by_text('"schedule_cron"')).to_be_visible()
    await publish_pipeline(bus, "ticker", a_bundle(main_py=""), schedule_interval_seconds=3600)
    row = page.locator(".job", has_text="ticker")
    countdown = row.locator("time[data-until]")
    await expect(countdown).not_to_have_text(await countdown.inner_text())
    await expect(countdown).to_have_text(re.compile(r"in 59 m \d\d s"))
    await page.evaluate("window.isSamePage = true")
    switch = row.get_by_role("switch", name="ticker: Every hour")
    await switch.click()
    await expect(row).to_contain_text("It is switched off.")
    await expect(row).to_contain_text("turned off")
    await expect(switch).to_have_attribute("aria-checked", "false")
    await expect(page.locator("#summary")).to_have_text("1 schedule · 1 inactive")
    await switch.click()
    await expect(countdown).to_contain_text("in ")
    assert await page.evaluate("window.isSamePage")


async def test_the_page_of_a_pipeline_shows_its_next_slots(bus: Bus, page: Page) -> None:
    """Like the page of schedules, with a link to it; a disabled schedule shows at once."""
    await publish_pipeline(bus, "ticker", a_bundle(main_py=""), schedule_interval_seconds=3600, restart_interval=7200)
    await page.goto("/pipelines/ticker")
    jobs = page.locator("#schedules li")
    await expect(jobs).to_have_count(2)
    await expect(jobs.nth(0)).to_contain_text(re.compile(r"Every hour\s+Next in 59 m \d\d s"))
    await expect(jobs.nth(1)).to_contain_text("restart Every 2 hours")
    csrf = await page.locator('input[name="csrf_token"]').first.get_attribute("value")
    answer = await page.request.put(
        "/api/scheduler/jobs/ticker.schedule",
        data={"enabled": False},
        headers={"X-CSRF-Token": csrf or "", "Sec-Fetch-Site": "same-origin"},
    )
    assert answer.ok, await answer.text()
    off = jobs.filter(has_text="Every hour")
    await expect(off.locator(".badge")).to_have_text("Off")
    await expect(off).to_contain_text("It is switched off.")
    await page.get_by_label("About this pipeline").get_by_role("link", name="Schedules").click()
    await expect(page.locator(".job", has_text="It is switched off.")).to_have_count(1)


async def test_what_the_metadata_disable_cannot_be_switched_on(bus: Bus, page: Page) -> None:
    """The switch is locked and shows why."""
    entry = ScheduleEntry(id="weekly", schedule_cron="0 3 * * 0", enabled=False)
    await publish_pipeline(bus, "etl", a_bundle(main_py=""), schedules=(entry,))
    await page.goto("/schedules")
    row = page.locator(".job", has_text="weekly")
    await expect(row.get_by_role("switch")).to_be_disabled()
    await expect(row).to_contain_text("It is disabled in its metadata")


async def test_switches_work_without_scripts(bus: Bus, url: str) -> None:
    """As a plain form."""
    await publish_pipeline(bus, "ticker", a_bundle(main_py=""), schedule_cron="0 3 * * *")
    async with browser(url, scripts=False) as page:
        await page.goto("/schedules")
        await page.get_by_role("switch").click()
        await expect(page.get_by_text("It is switched off.")).to_be_visible()
        await expect(page).to_have_url(f"{url}/schedules")


async def test_a_run_shows_its_children_as_they_start(bus: Bus, page: Page) -> None:
    """After its end, skips with the reason; each child links back to it."""
    hands, code = Hands(bus), a_bundle(main_py="")
    triggers = tuple(DownstreamRule(pipeline=name) for name in ("hello", "gone"))
    await publish_pipeline(bus, "first", code, downstream_triggers=triggers)
    await page.goto("/pipelines/first/start")
    await page.get_by_role("button", name="Start run").click()
    await page.wait_for_url("**/runs/*")
    url = page.url
    run = await hands.claim(RunRef(PipelineName("first"), check_run_id(url.rpartition("/")[2])))
    await expect(page.locator("#status")).to_have_text("Running")
    await hands.finish(run)
    chain = page.get_by_role("region", name="Chain")
    await expect(chain).to_contain_text("Not started")
    await expect(chain.locator(".reason")).to_contain_text("there is no pipeline gone")
    child = chain.get_by_role("link", name="hello")
    await expect(chain).to_contain_text("Waiting")
    await child.click()
    await page.get_by_role("region", name="Chain").get_by_role("link", name="first").click()
    await expect(page).to_have_url(url)


async def test_a_waiting_retry_counts_down_on_its_page_and_in_the_list(bus: Bus, page: Page) -> None:
    """With the number of the next attempt."""
    hands, run = Hands(bus), a_run("hello", retry_attempts=2, retry_strategy=FixedDelay(delay=3600))
    await RunStore(bus).create(run, None)
    await hands.finish(await hands.claim(run.ref), exit_code=1, error_type=RunErrorType.SCRIPT_ERROR)
    for path in (f"/runs/{run.id}", "/runs"):
        await page.goto(path)
        await expect(page.get_by_text("Waiting for attempt 2 of 3, due in ")).to_be_visible()
        countdown = page.locator("time[data-until]")
        await expect(countdown).not_to_have_text(await countdown.inner_text())


async def test_a_crash_loop_is_shown_wherever_its_daemon_is(bus: Bus, page: Page) -> None:
    """On the list, on its page, and on the pages of its runs."""
    hands = Hands(bus)
    parent = None
    for _ in range(3):
        order = {"triggered_by": "daemon_restart", "parent_run_id": parent.id} if parent else {}
        run = replace(a_run("hello", **order), created_at=now())
        await RunStore(bus).create(run, None)
        await hands.finish(
            await hands.claim(run.ref), exit_code=1, error_type=RunErrorType.SCRIPT_ERROR, error_message="ValueError: 7"
        )
        parent = run
    await page.goto("/")
    await expect(page.locator(".pipeline", has_text="hello")).to_contain_text("Crash loop")
    for path in ("/pipelines/hello", f"/runs/{run.id}"):
        await page.goto(path)
        notice = page.get_by_label("Crash loop")
        await expect(notice).to_contain_text("3 runs in a row failed soon after they started")
        await expect(notice).to_contain_text("ValueError: 7")
