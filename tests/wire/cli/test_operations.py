"""The commands about many runs at once, beside a real gateway and a real scheduler; the test is the runner."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.store import RunStore
from tests.support.command import fastflow
from tests.support.gateway import TOKEN, claim, finish, running_gateway, running_scheduler, stored_run
from tests.support.records import a_bundle, publish_pipeline

Command = Callable[..., Awaitable[subprocess.CompletedProcess[str]]]
DEMO = PipelineName("demo")
RANGE = ("--from", "2026-01-01T00:00Z", "--to", "2026-01-01T02:00Z")


@pytest.fixture
async def url(bus: Bus) -> AsyncIterator[str]:
    await publish_pipeline(bus, "demo", a_bundle(main_py="1"), schedule_cron="0 * * * *")
    async with running_scheduler(bus), running_gateway(bus) as gateway:
        yield gateway.url


@pytest.fixture
def command(url: str, tmp_path: Path) -> Command:
    async def run(*arguments: str, data: str | None = None) -> subprocess.CompletedProcess[str]:
        own = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "FASTFLOW_URL": url, "FASTFLOW_TOKEN": TOKEN}
        return await asyncio.to_thread(partial(fastflow, *arguments, cwd=tmp_path, data=data, **own))

    return run


async def finish_all(bus: Bus, count: int) -> None:
    """Be the runner until *count* runs are over."""
    while True:
        runs = await RunStore(bus).all_of(DEMO)
        for run in runs:
            if not run.is_over:
                await finish(bus, await claim(bus, run))
        if sum(run.is_over for run in runs) >= count:
            return
        await asyncio.sleep(0.05)


async def test_a_backfill_is_shown_and_then_followed_to_its_end(bus: Bus, command: Command) -> None:
    shown = await command("backfill", "demo", *RANGE, "--dry-run")
    assert (
        shown.returncode,
        "3 slots, 0 have a run." in shown.stdout,
        "3 to run, from 2026-01-01T00" in shown.stdout,
    ) == (
        0,
        True,
        True,
    )
    refused = await command("backfill", "demo", *RANGE, data="n\n")
    assert (refused.returncode, "Run 3 slots?" in refused.stderr) == (0, True)
    assert await RunStore(bus).all_of(DEMO) == []
    runner = asyncio.create_task(finish_all(bus, 3))
    done = await command("backfill", "demo", *RANGE, "--yes", "--follow")
    await runner
    assert (done.returncode, "done: 3 changed, 0 unchanged, 0 refused." in done.stdout) == (0, True)
    listed = await command("operations")
    assert ("backfill" in listed.stdout, "3/3" in listed.stdout) == (True, True)
    assert len(json.loads((await command("operations", "--json")).stdout.splitlines()[0])) > 0


async def test_bad_ranges_and_names_are_usage_errors_in_one_sentence(command: Command) -> None:
    for arguments, code, said in (
        (("demo", "--from", "soon"), 2, "from must be an ISO 8601"),
        (("demo", "--from", "1900-01-01"), 2, "one backfill runs at most 1,000"),
        (("nope", "--from", "2026-01-01"), 3, "nope"),
        (("demo", "--from", "2026-01-01", "--schedule", "no"), 3, "has no schedule 'no'"),
    ):
        failed = await command("backfill", *arguments)
        assert (failed.returncode, said in failed.stderr, "Traceback" in failed.stderr) == (code, True, False)


@pytest.mark.parametrize("words", [("bulk", "cancel"), ("bulk", "retry"), ("replay", "--since", "2026-01-01")])
async def test_a_pipeline_that_is_not_there_is_named(command: Command, words: tuple[str, ...]) -> None:
    """With a similar name, and not as zero runs."""
    failed = await command(*words, "--pipeline", "demos")
    assert (failed.returncode, "did you mean demo?" in failed.stderr) == (3, True)


async def test_many_runs_are_acted_on_only_after_a_yes(bus: Bus, command: Command) -> None:
    for _ in range(2):
        assert (await command("run", "demo")).returncode == 0
    counted = await command("bulk", "cancel", "--dry-run")
    assert counted.stdout == "2 runs to cancel: 2 of demo\n"
    refused = await command("bulk", "cancel", data="n\n")
    assert (refused.returncode, "Cancel 2 runs?" in refused.stderr) == (0, True)
    assert {run.status for run in await RunStore(bus).all_of(DEMO)} == {"PENDING"}
    done = await command("bulk", "cancel", "--pipeline", "demo", "--yes", "--follow")
    assert (done.returncode, "done: 2 changed" in done.stdout) == (0, True)
    assert {run.status for run in await RunStore(bus).all_of(DEMO)} == {"INTERRUPTED"}
    assert "0 runs to cancel." in (await command("bulk", "cancel", "--yes")).stdout


async def test_stored_inputs_are_sent_again_and_the_rest_can_be_cancelled(bus: Bus, command: Command) -> None:
    first = json.loads((await command("run", "demo", "-e", "CITY=Rome", "--json")).stdout)
    run, _ = await stored_run(bus, first["id"])
    await finish(bus, await claim(bus, run))
    while "1 runs to replay" not in (await command("replay", "--since", "2026-01-01", "--dry-run")).stdout:
        await asyncio.sleep(0.1)
    done = await command("replay", "--since", "2026-01-01", "--pipeline", "demo", "--yes")
    assert (done.returncode, "fastflow operations" in done.stdout) == (0, True)
    async with asyncio.timeout(60):
        while len(runs := await RunStore(bus).all_of(DEMO)) < 2:
            await asyncio.sleep(0.05)
    assert "replay" in (await command("operations")).stdout
    again = next(each for each in runs if each.id != run.id)
    assert (await RunStore(bus).input(again)).overrides == {"CITY": "Rome"}
    assert again.order.operation_id is not None
    cancelled = await command("operations", "--cancel", again.order.operation_id[:8])
    assert (cancelled.returncode, "stopping" in cancelled.stdout) == (0, True)
    assert (await command("operations", "--cancel", "zzz")).returncode == 2


async def test_a_run_is_run_again_with_changes(bus: Bus, command: Command) -> None:
    first = json.loads((await command("run", "demo", "-e", "CITY=Rome", "-p", "day=1", "--json")).stdout)
    await finish(bus, await claim(bus, (await stored_run(bus, first["id"]))[0]))
    again = await command("retry", first["id"], "-e", "CITY=Oslo", "--without", "day", "--current", "--json")
    assert again.returncode == 0
    assert (await stored_run(bus, json.loads(again.stdout)["id"]))[1].overrides == {"CITY": "Oslo"}
    wrong = await command("retry", first["id"], "--without", "nope")
    assert (wrong.returncode, "was not given 'nope'" in wrong.stderr) == (2, True)
