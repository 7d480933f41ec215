"""The dashboard in a real browser, on a real bus, with a real scheduler; the test plays the runner."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.subjects import RunRef
from fastflow_contracts.ids import check_run_id
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.manifest import Problem
from fastflow_contracts.pipelines.records import PIPELINE, PipelineRecord
from fastflow_contracts.runs.run import RUN, RunErrorType
from tests.support.dashboard import TOKEN, Hands, browser, dashboard
from tests.support.records import T0, a_bundle, a_run, publish_pipeline

pytestmark = pytest.mark.browser

HELLO = PipelineName("hello")
MIB = 1024 * 1024


@pytest_asyncio.fixture
async def url(bus_url: str, bus: Bus) -> AsyncIterator[str]:
    """A dashboard that knows one pipeline."""
    code = a_bundle(main_py='print("hi")\n', pipeline_json='{"description": "Says hello"}\n')
    await publish_pipeline(bus, "hello", code, description="Says hello", tags=("demo",))
    async with dashboard(bus_url) as address:
        yield address


@pytest_asyncio.fixture
async def page(url: str) -> AsyncIterator[Page]:
    """A logged-in browser."""
    async with browser(url) as one:
        yield one


async def broken(bus: Bus, name: str, *problems: Problem) -> None:
    """Put a pipeline on the bus that never had a good version."""
    record = PipelineRecord(name=PipelineName(name), problems=problems, seen_at=T0)
    await bus.put(subjects.PIPELINES, subjects.pipeline_key(record.name), PIPELINE.encode(record))


async def created(bus: Bus, run_id: str = "") -> RunRef:
    """Create a waiting run, as the scheduler would."""
    run = a_run("hello")
    await bus.put(subjects.RUNS, subjects.run_key(run.ref), RUN.encode(run))
    return run.ref


def ref_of(page: Page) -> RunRef:
    """Return the run on the current page."""
    return RunRef(HELLO, check_run_id(page.url.rpartition("/")[2]))


@pytest.mark.promise("live")
async def test_a_run_is_started_and_followed_to_its_success_without_a_reload(bus: Bus, page: Page) -> None:
    """From the button to the green mark, everything appears by itself."""
    hands = Hands(bus)
    await page.goto("/")
    await page.get_by_role("link", name="Start hello").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("button", name="Add a row").first.click()
    await dialog.get_by_label("Environment variables: name").fill("GREETING")
    await dialog.get_by_label("Environment variables: value").fill("a secret greeting")
    await dialog.get_by_role("button", name="Start run").click()
    status = page.locator("#status")
    await expect(status).to_have_text("Waiting")
    await expect(page.get_by_text("Waiting for a runner: none is connected")).to_be_visible()
    await expect(page.get_by_text("GREETING")).to_be_visible()
    await expect(page.get_by_text("a secret greeting")).to_have_count(0)
    await page.evaluate("window.isSamePage = true")

    run = await hands.claim(ref_of(page))
    await expect(status).to_have_text("Running")
    await hands.say(run.ref, "first line", "\x1b[32mgreen\x1b[0m line")
    await expect(page.locator(".row")).to_have_text(["first line", "green line"])
    await expect(page.locator(".row .f2")).to_have_text("green")
    await hands.say(run.ref, "a warning", stream="stderr")
    await expect(page.locator(".row.err")).to_have_text("a warning")
    await hands.use(run.ref, cpu_cores=0.5, memory_bytes=64 * MIB)
    await expect(page.locator(".chart-memory [data-now]")).to_have_text("64.0 MiB".replace(".0", ""))

    await hands.finish(run)
    await expect(status).to_have_text("Succeeded")
    await expect(page.get_by_role("button", name="Run again")).to_be_visible()
    assert await page.evaluate("window.isSamePage")


async def test_new_runs_and_pipelines_appear_on_the_list_by_themselves(bus: Bus, page: Page) -> None:
    """The list follows the bus; the text in the search box stays."""
    await page.goto("/")
    row = page.locator(".pipeline", has_text="hello")
    await expect(row).to_contain_text("No runs yet")
    await page.get_by_placeholder("Search by name").fill("he")
    run = await Hands(bus).claim(await created(bus))
    await expect(row).to_contain_text("Running")
    await Hands(bus).finish(run, exit_code=3, error_type=RunErrorType.SCRIPT_ERROR)
    await expect(row).to_contain_text("Failed")
    await broken(bus, "heavy", Problem(field="cpu_hard_limit", value="-1", accepted="a number above 0", line=2))
    await expect(page.locator(".pipeline", has_text="heavy")).to_be_visible()
    await broken(bus, "other", Problem(accepted="main.py is missing."))
    await expect(page.locator(".pipeline", has_text="other")).to_be_hidden()
    await expect(page.get_by_placeholder("Search by name")).to_have_value("he")


async def test_a_broken_pipeline_shows_its_problems_in_the_list(bus: Bus, page: Page) -> None:
    """Field, value, accepted values, file and line; it cannot be started."""
    problem = Problem(
        field="schedule_cron", value='"61 * * * *"', accepted="five cron fields", line=4, file="pipeline.json"
    )
    await broken(bus, "price_watch", problem)
    await page.goto("/")
    row = page.locator(".pipeline", has_text="price_watch")
    await expect(row.locator(".problem")).to_contain_text('schedule_cron = "61 * * * *"')
    await expect(row.locator(".problem")).to_contain_text("five cron fields")
    await expect(row.locator(".problem")).to_contain_text("pipeline.json:4")
    await expect(row.get_by_role("link", name="Start")).to_have_count(0)


async def test_hostile_names_descriptions_and_logs_stay_text(bus: Bus, page: Page) -> None:
    """Markup is shown, not run; controls are dropped; marks that reorder text become visible."""
    hostile = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    code = a_bundle(main_py=f"# {hostile}\n")
    await publish_pipeline(bus, "evil", code, description=f"{hostile}\u202egnp.exe", tags=(hostile,))
    await broken(bus, hostile, Problem(field=hostile, value=hostile, accepted=hostile))
    await page.goto("/")
    await expect(page.locator(".pipeline .about", has_text="<img src=x")).to_contain_text("\\u202egnp.exe")
    assert await page.locator("#list img, #list script").count() == 0
    await page.goto("/pipelines/evil")
    await expect(page.locator(".source")).to_contain_text(hostile)

    hands, ref = Hands(bus), await created(bus)
    await page.goto(f"/runs/{ref.run_id}")
    run = await hands.claim(ref)
    await hands.say(ref, hostile, "\x1b]0;title\x07\x1b[2J\x1b[31mred\x00\x9b\u202eevil")
    await hands.finish(run, exit_code=1, error_type=RunErrorType.SCRIPT_ERROR, error_message=hostile)
    await expect(page.locator(".row").first).to_have_text(hostile)
    await expect(page.locator(".row").nth(1)).to_have_text("redU+202Eevil")
    await expect(page.get_by_label("Why it failed").locator("pre")).to_have_text(hostile)
    assert await page.locator("main img, main script").count() == 0


async def test_a_long_log_keeps_the_page_small_and_its_numbers_right(bus: Bus, page: Page) -> None:
    """Of twelve thousand lines the last ones are shown, numbered as in the whole log."""
    hands, ref = Hands(bus), await created(bus)
    run = await hands.claim(ref)
    for start in range(0, 12_000, 2_000):
        await hands.say(ref, *(f"line {number}" for number in range(start + 1, start + 2_001)))
    await hands.finish(run)
    await page.goto(f"/runs/{ref.run_id}")
    last = page.locator(".row").last
    await expect(last).to_have_text("line 12000")
    await expect(last).to_have_attribute("data-n", "12000")
    await expect(page.locator("[data-log-count]")).to_have_text("12,000 lines, the last 5,000 shown")
    assert await page.locator(".row").count() == 5_000


async def test_scrolling_up_stops_following_until_asked(bus: Bus, page: Page) -> None:
    """New lines do not pull the reader away; one button leads back to the end."""
    hands, ref = Hands(bus), await created(bus)
    await hands.claim(ref)
    await hands.say(ref, *(f"line {number}" for number in range(300)))
    await page.goto(f"/runs/{ref.run_id}")
    await expect(page.locator(".row")).to_have_count(300)
    jump = page.get_by_role("button", name="Jump to the end")
    await expect(jump).to_be_hidden()
    await page.locator(".log").hover()
    await page.mouse.wheel(0, -2_000)
    await expect(jump).to_be_visible()
    await hands.say(ref, "one more")
    await page.get_by_role("button", name="1 new line").click()
    await expect(page.locator(".row").last).to_be_in_viewport()
    await hands.say(ref, "the last one")
    await expect(page.get_by_text("the last one")).to_be_in_viewport()


async def test_the_log_can_be_searched(bus: Bus, page: Page) -> None:
    """``/`` moves to the field, Enter to the next match; matches are counted and the lines do not change."""
    hands, ref = Hands(bus), await created(bus)
    await hands.claim(ref)
    await hands.say(ref, *(f"line {number}" for number in range(300)))
    await page.goto(f"/runs/{ref.run_id}")
    await expect(page.locator(".row")).to_have_count(300)
    await page.keyboard.press("/")
    await page.keyboard.type("LINE 12")
    hits = page.locator("[data-log-hits]")
    await expect(hits).to_have_text("11/11")
    await page.keyboard.press("Enter")
    await expect(hits).to_have_text("1/11")
    await expect(page.get_by_text("line 12", exact=True)).to_be_in_viewport()
    await page.keyboard.press("Escape")
    await expect(hits).to_have_text("")


async def test_the_search_finds_text_behind_letters_that_are_longer_in_lower_case(bus: Bus, page: Page) -> None:
    """At its right place, and the search continues."""
    hands, ref = Hands(bus), await created(bus)
    await hands.claim(ref)
    await hands.say(ref, f"{chr(0x130) * 20} Needle (1)", "a needle (2)", "needles")
    await page.goto(f"/runs/{ref.run_id}")
    await expect(page.locator(".row")).to_have_count(3)
    await page.keyboard.press("/")
    await page.keyboard.type("NEEDLE (")
    await expect(page.locator("[data-log-hits]")).to_have_text("2/2")
    found = "[...CSS.highlights.get('found')].map(String)"
    assert await page.evaluate(found) == ["Needle (", "needle ("]


async def test_the_chosen_colours_stay(page: Page) -> None:
    """Light, dark, or the system's; remembered in this browser."""
    await page.goto("/")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = await page.evaluate(ground)
    toggle = page.get_by_role("button", name="Colours")
    await toggle.click()
    await toggle.click()
    dark = await page.evaluate(ground)
    assert dark != light
    await page.goto("/runs")
    assert await page.evaluate(ground) == dark


async def test_each_attempt_has_its_own_part_of_the_log(bus: Bus, page: Page) -> None:
    """Every attempt has a heading, and the list of attempts links to it."""
    hands, run = Hands(bus), a_run("hello", retry_attempts=1, retry_strategy=None)
    await bus.put(subjects.RUNS, subjects.run_key(run.ref), RUN.encode(run))
    first = await hands.claim(run.ref)
    await hands.say(run.ref, *(f"first {number}" for number in range(200)))
    await hands.finish(first, exit_code=1, error_type=RunErrorType.SCRIPT_ERROR)
    await page.goto(f"/runs/{run.id}")
    await expect(page.get_by_text("Waiting for attempt 2 of 2")).to_be_visible()
    await hands.say(run.ref, *(f"second {number}" for number in range(200)), attempt=2)
    await expect(page.get_by_text("second 199")).to_be_visible()
    await page.locator("[data-attempt-link='1']").click()
    await expect(page.get_by_text("first 0", exact=True)).to_be_in_viewport()


async def test_cancelling_is_one_button(bus: Bus, page: Page) -> None:
    """A waiting run ends as cancelled, and can be run again."""
    ref = await created(bus)
    await page.goto(f"/runs/{ref.run_id}")
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.locator("#status")).to_have_text("Cancelled")


async def test_a_page_with_an_error_stays_live(bus: Bus, page: Page) -> None:
    """The request is refused, and the run continues: the page shows that, and has the run's own address."""
    ref = await created(bus)
    await page.goto(f"/runs/{ref.run_id}")
    # A retry of a run that is not over is refused. On its way, so that no live update of the form can undo it.
    await page.route("**/cancel", lambda route: route.continue_(url=route.request.url.replace("/cancel", "/retry")))
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.get_by_role("alert")).to_contain_text("is not over yet")
    run = await Hands(bus).claim(ref)
    await expect(page.locator("#status")).to_have_text("Running")
    await Hands(bus).finish(run)
    await expect(page.locator("#status")).to_have_text("Succeeded")
    assert page.url.endswith(f"/runs/{ref.run_id}")


async def test_no_page_opens_without_the_token(url: str) -> None:
    """Every page leads to the login, a wrong token is refused, the right one leads back."""
    async with browser(url, logged_in=False) as page:
        await page.goto("/runs")
        await expect(page.get_by_role("heading", name="Sign in to Fast-Flow")).to_be_visible()
        await page.get_by_label("Token").fill("wrong")
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("alert")).to_be_visible()
        await page.get_by_label("Token").fill(TOKEN)
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("heading", name="Runs")).to_be_visible()
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_label("Token")).to_be_visible()


async def test_reading_and_starting_need_no_scripts(url: str) -> None:
    """Plain pages, links and forms are enough."""
    async with browser(url, scripts=False) as page:
        await page.goto("/")
        await page.get_by_role("link", name="Start hello").click()
        await page.get_by_label("Parameters: name").first.fill("day")
        await page.get_by_label("Parameters: value").first.fill("monday")
        await page.get_by_role("button", name="Start run").click()
        await expect(page.locator("#status")).to_have_text("Waiting")
        await expect(page.locator("dt", has_text="day")).to_be_visible()


async def test_no_page_is_wider_than_a_phone(bus: Bus, page: Page) -> None:
    """At 380 pixels no page needs sideways scrolling."""
    ref = await created(bus)
    await Hands(bus).say(ref, "a line that is much longer than any phone is wide, " * 10)
    await page.set_viewport_size({"width": 380, "height": 800})
    for path in ("/", "/runs", "/pipelines/hello", "/pipelines/hello/start", f"/runs/{ref.run_id}", "/nowhere"):
        await page.goto(path)
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
