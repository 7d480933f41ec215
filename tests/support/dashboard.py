"""A gateway with a real scheduler and a real bus, a browser in front of it, and the test as the runner."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import ConsoleMessage, Page, async_playwright, expect

import fastflow_scheduler.app
import fastflow_scheduler.settings
from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.subjects import RunRef
from fastflow_contracts.clock import now
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.logs import CHUNK, STREAMS, Chunk, LogStream, OpenText, Piece
from fastflow_contracts.runs.messages import AttemptSample
from fastflow_contracts.runs.run import RunErrorType, Running, RunRecord
from fastflow_contracts.runs.state_machine import AttemptOutcome, Claim, Finish, Prepare
from fastflow_contracts.runs.store import RunStore
from fastflow_gateway.app import gateway
from fastflow_gateway.settings import GatewaySettings

TOKEN = "a-token-for-tests-only"
CHROMIUM = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
UNTRUSTWORTHY = "header has been ignored, because the URL's origin was untrustworthy"
"""What Chromium says about plain HTTP under any name but localhost."""
WAIT_MS = 60_000
expect.set_options(timeout=WAIT_MS)


@asynccontextmanager
async def dashboard(bus_url: str) -> AsyncIterator[str]:
    """Return the address of a gateway beside a scheduler."""
    stop, ready = asyncio.Event(), asyncio.Event()
    async with (
        connect(bus_url, name="scheduler") as one,
        connect(bus_url, name="gateway") as two,
        asyncio.TaskGroup() as group,
    ):
        scheduler = fastflow_scheduler.app.serve(fastflow_scheduler.settings.SchedulerSettings(), one, stop, ready.set)
        group.create_task(scheduler)
        await ready.wait()
        async with gateway(GatewaySettings(port=0, admin_token=TOKEN), two) as url:
            yield url
        stop.set()


@asynccontextmanager
async def browser(
    url: str,
    *,
    scripts: bool = True,
    logged_in: bool = True,
    complains: bool = True,
    options: tuple[str, ...] = (),
) -> AsyncIterator[Page]:
    """Open a page in a real browser, started with *options* too. A script's exception and any console message fail
    the test, unless *complains* is False: the page is to be refused what it tries.
    """
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    complaints: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        is_expected = "status of 4" in message.text or UNTRUSTWORTHY in message.text
        if message.type in ("error", "warning") and not is_expected:
            complaints.append(message.text)

    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=path, args=[*CHROMIUM, *options])
        context = await chromium.new_context(base_url=url, java_script_enabled=scripts)
        context.set_default_timeout(WAIT_MS)
        page = await context.new_page()
        page.on("console", on_console)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
        if logged_in:
            await page.goto("/login")
            await page.get_by_label("Token").fill(TOKEN)
            await page.get_by_role("button", name="Sign in").click()
            await page.wait_for_url(lambda shown: "/login" not in shown)
        try:
            yield page
        finally:
            await chromium.close()
    assert not complains or complaints == []


class Hands:
    """Does by hand what a runner does: claims, logs, samples, finishes."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._store = RunStore(bus)
        self._sequence = 0
        self._bytes = [0, 0]

    async def claim(self, ref: RunRef, *, attempt: int = 1) -> RunRecord:
        """Claim the run, with its environment ready."""
        claimed = (await self._store.change(ref, Claim(attempt=attempt, runner="hands"))).run
        return (await self._store.change(ref, Prepare(epoch=claimed.epoch))).run

    async def say(self, ref: RunRef, *lines: str, stream: LogStream = "stdout", attempt: int = 1) -> None:
        """Publish lines of the log."""
        text = "".join(f"{line}\n" for line in lines)
        if stream != "system":
            self._bytes[stream == "stderr"] += len(text.encode())
        piece = Piece(0, STREAMS.index(stream), text)
        chunk = Chunk(at=time.time(), lines=(piece,), end=(self._bytes[0], self._bytes[1]))
        self._sequence = await self._bus.publish(subjects.log(ref, attempt), CHUNK.encode(chunk))

    async def show_open(self, ref: RunRef, start: int, text: str, *, attempt: int = 1) -> None:
        """Publish text of a line of stdout that is not complete."""
        shown = OpenText(STREAMS.index("stdout"), start, text)
        chunk = Chunk(at=time.time(), end=(self._bytes[0], self._bytes[1]), open=shown)
        self._sequence = await self._bus.publish(subjects.log(ref, attempt), CHUNK.encode(chunk))

    async def use(self, ref: RunRef, *, cpu_cores: float, memory_bytes: int, attempt: int = 1) -> None:
        """Publish a sample."""
        sample = AttemptSample(ts=now(), cpu_cores=cpu_cores, memory_bytes=memory_bytes)
        await self._bus.publish(subjects.metric(ref, attempt), messages.SAMPLE.encode(sample))

    async def finish(
        self,
        run: RunRecord,
        *,
        exit_code: int = 0,
        error_type: RunErrorType | None = None,
        error_message: str | None = None,
    ) -> None:
        """Report the end of the attempt that was claimed as *run*."""
        assert isinstance(run.state, Running)
        outcome = AttemptOutcome(
            started_at=run.state.claimed_at,
            finished_at=now(),
            exit_code=exit_code,
            error_type=error_type,
            error_message=error_message,
            log_sequence=self._sequence,
        )
        await self._store.change(run.ref, Finish(epoch=run.state.epoch, outcome=outcome))
