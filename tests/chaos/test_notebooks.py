"""The runner dies while a cell runs: the cell continues and loses nothing. Also: which runners execute notebooks."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from fastflow_contracts.runs.cells import CellEvent, Raised, Wrote
from fastflow_contracts.runs.run import RunStatus
from tests.chaos.world import World
from tests.support.notebooks import await_event, code, events_of, only, publish_notebook, statuses, text_of

PREPARED_S = 60.0
COUNT = "import time\nfor k in range(300):\n    print(k)\n    time.sleep(0.02)"
FLAKY = "n = globals().get('n', 0) + 1\nprint('attempt', n)\nif n < 2:\n    raise ValueError('once')"


def wrote(text: str, event: CellEvent) -> bool:
    """Checked within one line: the line's end is a separate write, which the kernel may send later."""
    return isinstance(event, Wrote) and text in event.text


@pytest.mark.docker
async def test_a_runner_killed_in_the_middle_of_a_cell_loses_nothing(here: World) -> None:
    """One attempt of the run, one of the cell, every event once; retries and the log are complete too."""
    runner = here.runner(FASTFLOW_NETWORK="fastflow")
    await here.running(here.scheduler(), runner)
    await publish_notebook(here.bus, "book", "x = 1", COUNT, code(FLAKY, retries=1, delay_seconds=0.1), "x")
    ref = await here.start("book")
    for number, until in ((1, "20"), (2, "120")):
        async with asyncio.timeout(PREPARED_S):
            await await_event(here.bus, ref, partial(wrote, until))
        await runner.kill()
        await runner.start()
        await here.adopted(ref, epoch=number)
    run = await here.end(ref)
    assert (await runner.terminate(), await here.containers()) == (0, [])
    assert run.status is RunStatus.SUCCESS, run.attempts
    assert len(run.attempts) == 1
    events = await events_of(here.bus, run)
    assert statuses(events) == [(0, "SUCCESS"), (1, "SUCCESS"), (2, "RETRYING"), (2, "SUCCESS"), (3, "SUCCESS")]
    assert text_of(events).splitlines() == [*map(str, range(300)), "attempt 1", "attempt 2"]
    assert [raised.value for raised in only(Raised, events)] == ["once"]
    lines = [line.text for line in await here.lines(run) if line.stream == "stdout" and line.text.isdigit()]
    assert lines == [*map(str, range(300)), "1"]


@pytest.mark.docker
async def test_cells_that_ran_without_a_runner_are_found_in_the_sandbox(here: World) -> None:
    """The notebook fails while no runner is alive: the next one records its last events and its exit code."""
    runner = here.runner(FASTFLOW_NETWORK="fastflow")
    await here.running(here.scheduler(), runner)
    await publish_notebook(here.bus, "book", "print('up')\nimport time\ntime.sleep(3)\nraise KeyError('gone')")
    ref = await here.start("book")
    async with asyncio.timeout(PREPARED_S):
        await await_event(here.bus, ref, lambda event: isinstance(event, Wrote))
    await runner.kill()
    await here.script_ended(ref)
    await runner.start()
    run = await here.end(ref)
    assert (await runner.terminate(), await here.containers()) == (0, [])
    assert run.attempts[0].error_message == "Cell 1 of 1 failed: KeyError: 'gone' (exit code 1)"
    events = await events_of(here.bus, run)
    assert (statuses(events), text_of(events)) == ([(0, "FAILED")], "up\n")


async def test_notebooks_and_scripts_are_work_of_two_kinds(here: World) -> None:
    """A runner takes only the configured kinds, so that each kind can have as many runners as it needs."""
    kinds = ("script", "notebook")
    runners = [here.runner(kind, sandbox="process", FASTFLOW_RUNNER_KINDS=kind) for kind in kinds]
    await here.running(here.scheduler(), *runners)
    await here.pipeline("plain", "print('0')")
    await publish_notebook(here.bus, "book", "print('0')")
    refs = [await here.start(name) for name in ("book", "plain", "book", "plain")]
    runs = [await here.end(ref) for ref in refs]
    took = [(run.pipeline, run.status, run.attempts[0].runner) for run in runs]
    assert took == [("book", RunStatus.SUCCESS, "notebook"), ("plain", RunStatus.SUCCESS, "script")] * 2
