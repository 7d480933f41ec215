"""``fastflow state``, in this process, beside a real gateway."""

from __future__ import annotations

import asyncio
import json
import subprocess
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from fastflow_contracts.bus.client import Bus
from tests.support.command import fastflow
from tests.support.gateway import TOKEN, running_gateway
from tests.support.records import a_bundle, publish_pipeline
from tests.wire.gateway.api.test_state import a_run_that_leaves

Command = Callable[..., Awaitable[subprocess.CompletedProcess[str]]]


@pytest.fixture
async def url(bus: Bus) -> AsyncIterator[str]:
    await publish_pipeline(bus, "demo", a_bundle(main_py="1"), state=True)
    async with running_gateway(bus) as gateway:
        yield gateway.url


@pytest.fixture
def command(url: str, tmp_path: Path) -> Command:
    async def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        own = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "FASTFLOW_URL": url, "FASTFLOW_TOKEN": TOKEN}
        return await asyncio.to_thread(partial(fastflow, "state", *arguments, cwd=tmp_path, **own))

    return run


async def test_the_history_is_listed(bus: Bus, command: Command) -> None:
    """As a table and as JSON; without any, it says so."""
    nothing = await command("demo")
    assert (nothing.returncode, nothing.stdout, "No run of demo has left a state yet" in nothing.stderr) == (
        0,
        "",
        True,
    )
    run = await a_run_that_leaves(bus, "1")
    await a_run_that_leaves(bus, None)
    head, current, before = (await command("demo")).stdout.splitlines()
    assert head.split() == ["VERSION", "SINCE", "FILES", "SIZE", "FROM", "NOTE"]
    assert (current.split()[0], current.split()[-1]) == ("2", "current")
    assert before.split()[0] == "1"
    assert run.id in before
    assert [each["number"] for each in json.loads((await command("demo", "--json")).stdout)["versions"]] == [2, 1]


async def test_a_version_is_downloaded_and_no_file_is_overwritten(bus: Bus, command: Command, tmp_path: Path) -> None:
    """The current one by default."""
    assert "demo has no state yet" in (await command("demo", "--download", "x.tar.gz")).stderr
    for text in ("1", "two"):
        await a_run_that_leaves(bus, text)
    for number, words, size in ((2, (), 3), (1, ("--version", "1"), 1)):
        done = await command("demo", "--download", f"{number}.tar.gz", *words)
        assert (done.returncode, done.stdout) == (0, f"version {number} of the state of demo is in {number}.tar.gz.\n")
        with tarfile.open(tmp_path / f"{number}.tar.gz") as tar:
            assert [(info.name, info.size) for info in tar] == [("a/cursor", size)]
    again = await command("demo", "--download", "1.tar.gz")
    assert (again.returncode, "1.tar.gz was not written: File exists" in again.stderr) == (1, True)
    missing = await command("demo", "--download", "7.tar.gz", "--version", "7")
    assert "no version '7' of the state of demo is kept" in missing.stderr
    assert not (tmp_path / "7.tar.gz").exists()


async def test_a_state_is_reset(bus: Bus, command: Command) -> None:
    await a_run_that_leaves(bus, "1")
    assert (await command("demo", "--reset")).stdout == "the state of demo is empty now.\n"
    assert (await command("demo")).stdout.splitlines()[1].split()[-2:] == ["reset", "current"]
    assert "has no files" in (await command("demo", "--download", "x.tar.gz")).stderr


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("demo", "--reset", "--download", "x"), 2, "exclude each other"),
        (("demo", "--version", "1"), 2, "--version needs --download"),
        (("dmo",), 3, "did you mean demo?"),
        (("a/b",), 2, "a/b"),
    ],
    ids=range(4),
)
async def test_mistakes_are_sentences(command: Command, words: tuple[str, ...], code: int, says: str) -> None:
    """A misspelt pipeline gets the name that was meant."""
    done = await command(*words)
    assert (done.returncode, says in done.stderr, done.stdout) == (code, True, ""), done
