"""Which environments are removed, in which order, and what happens to runs that need them. Real uv, no Docker."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from fastflow_runner.environments import collector
from fastflow_runner.environments.collector import KEEP_S
from fastflow_runner.environments.environments import EnvironmentRequest, Environments, ReadyEnvironment
from fastflow_runner.environments.store import environment_key, process_place
from fastflow_runner.environments.variables import Access
from fastflow_runner.guest.prepare import collect
from fastflow_runner.guest.prepare.layout import Store, lock_byte
from fastflow_runner.sandbox import SandboxSpec
from fastflow_runner.sandbox.events import Exited
from fastflow_runner.sandbox.job import SandboxJob
from fastflow_runner.sandbox.process import ProcessSandboxes
from fastflow_runner.sandbox.session import Session
from tests.packages import make_wheel

OWN_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
LONG_AGO_S = 10 * KEEP_S
MEGABYTE = "DATA = '" + "x" * 1_000_000 + "'"

ages = st.dictionaries(st.text("abc", min_size=1, max_size=3), st.floats(0, 1e6))


@given(ages, st.floats(0, 1e6))
def test_the_one_used_longest_ago_goes_first(idle_s: dict[str, float], keep_s: float) -> None:
    """Repeatedly: in the order of their last use, except those used recently, until only such are left."""
    left, gone = dict(idle_s), []
    while (key := collect.next_victim(left, keep_s)) is not None:
        gone.append(left.pop(key))
    assert gone == sorted(gone, reverse=True)
    assert all(age_s >= keep_s for age_s in gone)
    assert all(age_s < keep_s for age_s in left.values())


class Workshop:
    """A store with environments of one package each, of a megabyte and more."""

    def __init__(self, root: Path, sandboxes: ProcessSandboxes) -> None:
        self.path = root / "store"
        self.packages = root / "packages"
        self.packages.mkdir()
        self.sandboxes = sandboxes
        self.place = process_place(self.path)
        self.store = Store(str(self.path))

    def runner(self, budget_bytes: int = 0) -> Environments:
        env = {"UV_OFFLINE": "1"}
        return Environments(self.sandboxes, self.place, runner="test", access=Access(env), budget_bytes=budget_bytes)

    def request(self, name: str) -> EnvironmentRequest:
        return EnvironmentRequest(OWN_VERSION, f"--no-index\n--find-links {self.packages}\n{name}".encode())

    def key(self, name: str) -> str:
        key = environment_key(self.request(name), self.place)
        assert key is not None
        return key

    async def make(self, runner: Environments, *names: str) -> list[ReadyEnvironment]:
        """Prepare an environment for each, the one with the oldest use first."""
        made = []
        for number, name in enumerate(names):
            make_wheel(self.packages, name, "1.0", MEGABYTE)
            made.append(await runner.prepare(self.request(name), say=unheard))
            used_at = time.time() - LONG_AGO_S + number
            os.utime(self.path / "envs" / self.key(name), (used_at, used_at), follow_symlinks=False)
        return made

    def names(self, *names: str) -> set[str]:
        """Return those of *names* that exist."""
        return {name for name in names if self.store.has(self.key(name))}

    async def used_bytes(self) -> int:
        return round(collect.share_bytes(str(self.path)))

    async def run(self, prepared: ReadyEnvironment, source: str) -> Exited:
        """Return how a run with this environment ends."""
        name = f"run-{time.monotonic_ns()}"
        channel = await self.sandboxes.open(SandboxSpec(name=name))
        assert prepared.hold is not None
        job = SandboxJob(argv=("{python}", "-c", source), cwd="run", python=prepared.python, holds=(prepared.hold,))
        try:
            async for event in await Session.start(channel, job):
                if isinstance(event, Exited):
                    return event
        finally:
            await channel.close()
            await self.sandboxes.remove(name)
        raise AssertionError("no end")


@contextmanager
def another_process(store: Path, step: str) -> Iterator[None]:
    """A process that has done *step*, Python on a ``Store``, and lives until the end of the block."""
    source = (
        f"import sys; sys.path.append({str(Path(collect.__file__).parents[1])!r})\n"
        f"from prepare.layout import *\nstore = Store({str(store)!r})\n{step}\nprint('done', flush=True)\ninput()"
    )
    command = [sys.executable, "-I", "-S", "-c", source]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"done\n"
        yield
        process.communicate(b"\n")


async def unheard(line: str) -> None:
    """Ignore the preparers' output."""


@pytest_asyncio.fixture
async def workshop(tmp_path: Path) -> AsyncIterator[Workshop]:
    sandboxes = ProcessSandboxes(tmp_path / "sandboxes")
    yield Workshop(tmp_path, sandboxes)
    assert await sandboxes.held() == ()
    await sandboxes.close()


async def test_the_store_shrinks_to_its_budget(workshop: Workshop) -> None:
    """The cache goes first, then the environments with the oldest use, completely.

    The runner that asked has forgotten them and makes them again.
    """
    maker = workshop.runner()
    await workshop.make(maker, "red", "green", "blue")
    budget_bytes = await workshop.used_bytes() // 2
    runner = workshop.runner(budget_bytes)
    await runner.prepare(workshop.request("blue"), say=unheard)
    assert workshop.names("red", "green", "blue") == {"red", "green", "blue"}

    await runner.collect()
    assert workshop.names("red", "green", "blue") == {"blue"}
    assert len(list((workshop.path / "trees").iterdir())) == 1
    assert not list((workshop.path / "cache").iterdir())
    assert not list((workshop.path / "trash").iterdir())
    assert await workshop.used_bytes() <= budget_bytes
    assert runner.ready(workshop.request("blue"))
    assert runner.ready(workshop.request("red")) is None
    assert (await maker.prepare(workshop.request("red"), say=unheard)).python


async def test_within_its_budget_nothing_is_removed(workshop: Workshop) -> None:
    """However long ago it was used; the cache stays too."""
    runner = workshop.runner(10**12)
    await workshop.make(runner, "red", "green")
    before = await workshop.used_bytes()
    await runner.collect()
    assert await workshop.used_bytes() == before


async def test_an_environment_used_recently_stays_with_any_budget(workshop: Workshop) -> None:
    """A new environment still exists when its run begins, and so does one that a runner has reported as used."""
    runner = workshop.runner(1)
    await workshop.make(runner, "red", "green")
    runner.ready(workshop.request("red"))
    await runner.collect()
    assert workshop.names("red", "green") == {"red", "green"}  # making it counts as a use

    other = workshop.runner(1)
    for name in ("red", "green"):
        used_at = time.time() - LONG_AGO_S
        os.utime(workshop.path / "envs" / workshop.key(name), (used_at, used_at), follow_symlinks=False)
    runner.ready(workshop.request("red"))
    await runner.collect()
    await other.collect()
    assert workshop.names("red", "green") == {"red"}


async def test_an_environment_in_use_by_a_run_is_not_removed(workshop: Workshop) -> None:
    """A run holds its environment, even one with an old last use; afterwards it can be removed."""
    (red,) = await workshop.make(workshop.runner(), "red")
    marker = workshop.path.parent / "marker"
    source = (
        f"import os, time, red\nopen({str(marker)!r}, 'x')\nwhile os.path.exists({str(marker)!r}): time.sleep(0.01)"
    )
    running = asyncio.create_task(workshop.run(red, source))
    while not marker.exists():
        await asyncio.sleep(0.01)
    await workshop.runner(1).collect()
    assert workshop.names("red") == {"red"}

    marker.unlink()
    assert (await running).reason == "exited"
    await workshop.runner(1).collect()
    assert workshop.names("red") == set()


async def test_a_run_that_comes_too_late_reports_it(workshop: Workshop) -> None:
    """No user code starts in an environment that was removed, or is being removed."""
    (red,) = await workshop.make(workshop.runner(), "red")
    with another_process(workshop.path, f"store._seize(LOCKS, {lock_byte(workshop.key('red'))})"):
        assert (await workshop.run(red, "")).reason == "no_environment"
    assert (await workshop.run(red, "")).reason == "exited"
    await workshop.runner(1).collect()
    assert (await workshop.run(red, "")).reason == "no_environment"


async def test_trees_without_a_link_are_removed(workshop: Workshop) -> None:
    """Trees of killed preparers, too old to be linked soon, are removed even without a budget."""
    runner = workshop.runner()
    await workshop.make(runner, "red")
    trees = workshop.path / "trees"
    for name, age_s in (("a" * 32, LONG_AGO_S), ("b" * 32, 0.0)):
        (trees / name / "lib").mkdir(parents=True)
        (trees / name / "lib").chmod(0)
        os.utime(trees / name, (time.time() - age_s,) * 2)
    (workshop.path / "trash" / "half").mkdir()
    await runner.collect()
    assert {tree.name for tree in trees.iterdir()} >= {"b" * 32}
    assert not (trees / ("a" * 32)).exists()
    assert workshop.names("red") == {"red"}
    assert not list((workshop.path / "trash").iterdir())
    (trees / ("b" * 32) / "lib").chmod(0o700)


async def test_an_environment_in_preparation_is_left_alone(workshop: Workshop) -> None:
    """While a preparer works, neither trees nor the cache are touched."""
    runner = workshop.runner(1)
    await workshop.make(runner, "red")
    tree = workshop.path / "trees" / ("a" * 32)
    tree.mkdir()
    os.utime(tree, (0, 0))
    with another_process(workshop.path, "store.begin_work()"):
        await workshop.runner(1).collect()
    assert tree.exists()
    assert list((workshop.path / "cache").iterdir())
    assert workshop.names("red") == set()  # no preparer makes environments any more


async def test_an_interpreter_goes_with_the_last_that_uses_it(workshop: Workshop) -> None:
    """An interpreter without an environment is removed; one in use stays."""
    await workshop.make(workshop.runner(), "red")
    tree = next((workshop.path / "trees").iterdir())
    for name in ("cpython-3.0-used", "cpython-3.0-unused"):
        (workshop.path / "python" / name / "bin").mkdir(parents=True)
        (workshop.path / "python" / name / "bin" / "python3").write_text("#!/bin/sh\n" * 1000)
    (workshop.path / "python" / "cpython-3").symlink_to("cpython-3.0-unused")
    (tree / "bin").chmod(0o755)  # like all of an environment, it is read-only for runs
    (tree / "bin" / "python").unlink()
    (tree / "bin" / "python").symlink_to(workshop.path / "python" / "cpython-3.0-used" / "bin" / "python3")
    workshop.store.note_use(workshop.key("red"), 0)
    await workshop.runner(1).collect()
    assert {path.name for path in (workshop.path / "python").iterdir()} == {"cpython-3.0-used"}


async def test_a_runner_keeps_its_store_in_order_by_itself(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """It collects after its start and after each growth; it reports regularly which environments are in use."""
    monkeypatch.setattr(collector, "SETTLE_S", 0.01)
    monkeypatch.setattr(collector, "MARK_S", 0.01)
    await workshop.make(workshop.runner(), "red", "green")
    runner = workshop.runner(1)
    await runner.prepare(workshop.request("green"), say=unheard)
    keeping = asyncio.create_task(runner.keep())
    try:
        while workshop.names("red"):
            await asyncio.sleep(0.01)
        assert workshop.names("green")

        await workshop.make(workshop.runner(), "blue")  # by another runner, so there is nothing to collect here
        link = workshop.path / "envs" / workshop.key("green")
        os.utime(link, (0, 0), follow_symlinks=False)
        runner.ready(workshop.request("green"))
        while link.lstat().st_mtime < time.time() - KEEP_S:
            await asyncio.sleep(0.01)
        assert workshop.names("green", "blue") == {"green", "blue"}
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
