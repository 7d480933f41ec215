"""``fastflow skipped`` and ``fastflow redrive``, in this process, beside a real gateway and a real scheduler."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest

from fastflow_contracts.bus.client import Bus
from fastflow_gateway.actions import skips as actions
from tests.support.command import fastflow
from tests.support.gateway import TOKEN, running_gateway, running_scheduler
from tests.support.records import a_bundle, publish_pipeline

Done = subprocess.CompletedProcess[str]


class Redrive(Protocol):
    async def __call__(self, *arguments: str, data: str | None = None) -> Done: ...


@pytest.fixture
async def url(bus: Bus) -> AsyncIterator[str]:
    await publish_pipeline(bus, "off", a_bundle(main_py="1"), enabled=False)
    async with running_scheduler(bus), running_gateway(bus) as gateway:
        yield gateway.url


@pytest.fixture
def command(url: str, tmp_path: Path) -> Redrive:
    async def run(*arguments: str, data: str | None = None) -> Done:
        own = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "FASTFLOW_URL": url, "FASTFLOW_TOKEN": TOKEN}
        return await asyncio.to_thread(partial(fastflow, *arguments, cwd=tmp_path, data=data, **own))

    return run


async def skip_ids(bus: Bus, command: Redrive, number: int) -> list[str]:
    """Publish so many messages for the disabled pipeline; the ids of their skips, oldest first."""
    for each in range(number):
        await bus.publish("ff.trigger.off", str(each).encode())
    async with asyncio.timeout(60):
        while len(found := json.loads((await command("skipped", "--json")).stdout)) < number:
            await asyncio.sleep(0.02)
    return [skip["id"] for skip in sorted(found, key=lambda skip: int(skip["event"]))]


async def test_refused_starts_are_listed_and_started_by_id(bus: Bus, command: Redrive) -> None:
    """The beginning of an id is enough; what is refused again is named, and the exit code is 1."""
    assert "No refused starts" in (await command("skipped")).stderr
    first, second = await skip_ids(bus, command, 2)
    listed = await command("skipped", "--pipeline", "off", "--reason", "disabled")
    assert {first[:8], second[:8]} <= set(listed.stdout.split())
    refused = await command("redrive", first[:8])
    assert (refused.returncode, "refused again" in refused.stderr) == (1, True)
    await publish_pipeline(bus, "off", a_bundle(main_py="1"))
    done = await command("redrive", first[:8], second)
    assert (done.returncode, first in done.stdout, second in done.stdout) == (0, True, True)
    again = await command("redrive", first, "--json")
    assert json.loads(again.stdout) == {"skip": first, "run": first}
    more = json.loads((await command("redrive", first, "--again", "--json")).stdout)
    assert more["run"] != first


async def test_all_that_match_are_started_over_several_requests(
    bus: Bus, command: Redrive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Newer ones are tried even if older ones are refused again."""
    monkeypatch.setattr(actions, "REDRIVEN_MAX", 2)
    ids = await skip_ids(bus, command, 5)
    assert (await command("redrive", "--all", "--dry-run")).stdout == "5 would be started.\n"
    refused = json.loads((await command("redrive", "--all", "--json", "--yes")).stdout)
    assert (refused["started"], refused["refused"], refused["left"]) == (0, 5, 0)
    await publish_pipeline(bus, "off", a_bundle(main_py="1"))
    asked = await command("redrive", "--pipeline", "off", data="n\n")
    assert (asked.returncode, asked.stdout, "Start 5 messages?" in asked.stderr) == (0, "", True)
    done = await command("redrive", "--pipeline", "off", data="y\n")
    assert (done.returncode, done.stdout) == (0, "5 started, 0 refused again.\n")
    started = json.loads((await command("skipped", "--all", "--json")).stdout)
    assert {skip["redriven_as"] for skip in started} == set(ids)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, "--all"),
        (("--all", "abcd"), 2, "--all"),
        (("--all", "--again"), 2, "--again"),
        (("abc",), 2, "too short"),
        (("abcd",), 3, "no skip begins"),
        (("00000000-0000-4000-8000-000000000009",), 3, "there is no skip"),
    ],
)
async def test_a_redrive_that_names_nothing_is_refused(
    command: Redrive, arguments: tuple[str, ...], code: int, says: str
) -> None:
    """Starting everything must be asked for."""
    done = await command("redrive", *arguments)
    assert (done.returncode, says in done.stderr) == (code, True)
