"""Runs that ask for labels, through a whole runner that has them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fastflow_contracts.bus import subjects
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.run import Pending, RunStatus
from fastflow_contracts.runs.state_machine import Cancel
from tests.support.system import system

SANDBOXES = ["process", pytest.param("docker", marks=pytest.mark.docker)]


@pytest.mark.parametrize("sandbox", SANDBOXES)
async def test_a_runner_with_labels_takes_runs_that_ask_for_them_or_for_none(
    bus_url: str, tmp_path: Path, sandbox: str
) -> None:
    """In its sandboxes, warm ones among them, and with all its slots, also under the limit on all runs."""
    settings = {"sandbox": sandbox, "labels": "gpu, zone-a", "slots": 2}
    async with system(bus_url, tmp_path, schedulers=3, concurrent_runs_max=2, **settings) as fast:
        await fast.pipeline("train", "print('trained')", runs_on=("gpu",))
        await fast.pipeline("etl", "print('loaded')")
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(fast.run(name)) for name in ("train", "etl") * 6]
        runs = [task.result() for task in tasks]
        assert {run.status for run in runs} == {RunStatus.SUCCESS}
        assert [len(run.attempts) for run in runs] == [1] * 12
        assert [await fast.text(run) for run in runs] == ["trained", "loaded"] * 6


async def test_a_run_without_a_runner_for_its_labels_holds_up_nobody_under_the_limit(
    bus_url: str, tmp_path: Path
) -> None:
    """It waits, and takes no place. It is cancelled as any other."""
    async with system(bus_url, tmp_path, sandbox="process", labels="big", concurrent_runs_max=1) as fast:
        await fast.pipeline("train", "print('trained')", runs_on=("gpu",), priority=1)
        await fast.pipeline("etl", "print('loaded')", priority=-1)
        waiting = await fast.start("train")
        assert (await fast.run("etl")).status is RunStatus.SUCCESS
        await fast.bus.publish(subjects.command(waiting), messages.CANCEL.encode(Cancel()))
        assert (await fast.end(waiting)).status is RunStatus.INTERRUPTED


async def test_a_runner_that_is_kept_for_labels_takes_nothing_else(bus_url: str, tmp_path: Path) -> None:
    async with system(bus_url, tmp_path, sandbox="process", labels="gpu", only_labelled=True) as fast:
        await fast.pipeline("train", "print('trained')", runs_on=("gpu",))
        await fast.pipeline("etl", "print('loaded')", priority=1)
        other = await fast.start("etl")
        assert (await fast.run("train")).status is RunStatus.SUCCESS
        assert isinstance((await fast.until(other, lambda _: True)).state, Pending)


async def test_environments_are_prepared_only_for_pipelines_that_may_run_here(
    bus_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "fastflow_runner.preheat")
    async with system(bus_url, tmp_path, sandbox="process", pre_heat=True, labels="big") as fast:
        await fast.pipeline("elsewhere", "import iniconfig", requirements="iniconfig\n", runs_on=("gpu",))
        await fast.pipeline(
            "here", "import six\nprint(six.__version__)", requirements="six==1.17.0\n", runs_on=("big",)
        )
        async with asyncio.timeout(120):
            while "environment prepared" not in caplog.messages:
                await asyncio.sleep(0.05)
        run = await fast.run("here")
        assert await fast.text(run) == "1.17.0"
        assert await fast.text(run, "system") == ""
        assert caplog.messages.count("environment prepared") == 1


async def test_a_runner_that_is_kept_for_labels_and_has_none_does_not_start(bus_url: str, tmp_path: Path) -> None:
    with pytest.raises(ExceptionGroup) as raised:
        async with system(bus_url, tmp_path, sandbox="process", only_labelled=True):
            pass
    assert "set RUNNER_LABELS as well" in repr(raised.value.exceptions)
