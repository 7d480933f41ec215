"""`fastflow run --wait` against a real gateway."""

from __future__ import annotations

import asyncio
import json
import subprocess
from functools import partial
from pathlib import Path

from fastflow_contracts.bus.client import Bus
from tests.support.command import fastflow
from tests.support.gateway import TOKEN, claim, finish, running_gateway, running_scheduler
from tests.support.new_runs import new_runs
from tests.support.records import a_bundle, publish_pipeline


async def run(
    bus: Bus, folder: Path, *options: str, result: bytes | None = None, exit_code: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run the command while a runner does the work."""
    await publish_pipeline(bus, "demo", a_bundle(main_py="1"))
    async with running_scheduler(bus), running_gateway(bus) as gateway, new_runs(bus) as next_run:
        own = {"XDG_CONFIG_HOME": str(folder), "FASTFLOW_URL": gateway.url, "FASTFLOW_TOKEN": TOKEN}
        done = asyncio.create_task(
            asyncio.to_thread(partial(fastflow, "run", "demo", "--wait", *options, cwd=folder, **own))
        )
        await finish(bus, await claim(bus, await next_run()), result=result, exit_code=exit_code)
        return await done


async def test_the_result_alone_is_on_stdout(bus: Bus, tmp_path: Path) -> None:
    """So another program can read it; how the run ended is on stderr."""
    done = await run(bus, tmp_path, result=b'{"total": 7, "name": "\xc3\xa4"}')
    assert (done.returncode, done.stdout) == (0, '{"total": 7, "name": "ä"}\n')
    assert "SUCCESS" in done.stderr


async def test_the_exit_code_is_the_runs(bus: Bus, tmp_path: Path) -> None:
    """Without a result, stdout is empty."""
    done = await run(bus, tmp_path, exit_code=3)
    assert (done.returncode, done.stdout) == (1, "")
    assert "FAILED" in done.stderr


async def test_as_json_it_prints_the_run(bus: Bus, tmp_path: Path) -> None:
    """As the API shows it, with the result."""
    done = await run(bus, tmp_path, "--json", result=b"7")
    shown = json.loads(done.stdout)
    assert (shown["status"], shown["result"]) == ("SUCCESS", 7)


def test_it_shows_the_log_or_the_result(tmp_path: Path) -> None:
    """Not both on one output."""
    done = fastflow("run", "demo", "--wait", "--follow", "--url", "http://127.0.0.1:1", cwd=tmp_path)
    assert (done.returncode, "--follow or --wait" in done.stderr) == (2, True)
