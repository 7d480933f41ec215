"""Small programs do in every sandbox what they do on a laptop: the same output, exit code and files.

All of them are started when the first test begins. A test waits for its own.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import pytest_asyncio

from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.streams import ensure
from fastflow_runner.sandbox.docker.image import WORKER_PYTHON
from tests.compat.differences import SANDBOXES, expected
from tests.compat.oracle import Oracle
from tests.compat.outcome import Outcome
from tests.compat.program import ALL, EXIT_CODES, Program
from tests.compat.sandboxed import Left, product, read_before_removal
from tests.support.records import OWN_PYTHON
from tests.support.shared_bus import SharedBus

pytestmark = pytest.mark.asyncio(loop_scope="module")

AT_ONCE: Final = 3
"""Programs at once in each sandbox, and in the oracle."""
PYTHON: Final = {"process": OWN_PYTHON, "docker": WORKER_PYTHON}
QUICK: Final = (
    *("arguments_and_surroundings", "asyncio_tasks", "exit_code", "files_written", "jinja_report"),
    *("modules_beside", "output_both_streams", "signal_handlers", "sqlite_rows", "uncaught_error"),
)
"""What ``make test`` runs."""


def _case(program: Program, sandbox: str) -> Any:
    marks = [pytest.mark.docker] if sandbox == "docker" else []
    if program.name in QUICK:
        marks.append(pytest.mark.promise("nothing to build"))
    return pytest.param(program, sandbox, marks=marks, id=f"{program.name}-{sandbox}")


CASES: Final = [_case(program, sandbox) for program in ALL for sandbox in SANDBOXES]


class Laboratory:
    """Every chosen program, by the oracle and in the sandboxes. Runs in its own task."""

    def __init__(self, urls: dict[str, str], folder: Path, chosen: list[tuple[Program, str]]) -> None:
        """*urls*: a bus for each kind of sandbox."""
        self._urls = urls
        self._folder = folder
        loop = asyncio.get_running_loop()
        self._cases: dict[tuple[Program, str], asyncio.Future[Outcome]] = {
            case: loop.create_future() for case in chosen
        }
        self._on_debians_python: dict[str, asyncio.Future[bool]] = {
            sandbox: loop.create_future() for _, sandbox in chosen
        }
        asked = {(program, PYTHON[sandbox]) for program, sandbox in chosen}
        self._laptop: dict[tuple[Program, str], asyncio.Future[Outcome]] = {
            case: loop.create_future() for case in asked
        }

    async def on_a_laptop(self, program: Program, sandbox: str) -> Outcome:
        return await self._laptop[program, PYTHON[sandbox]]

    async def in_the_sandbox(self, program: Program, sandbox: str) -> Outcome:
        return await self._cases[program, sandbox]

    async def differences(self, program: Program, sandbox: str) -> frozenset[str]:
        """Return the fields in which this program is meant to differ."""
        is_debians = await self._on_debians_python[sandbox]
        return expected(program.name, sandbox, on_debians_python=is_debians)

    async def run(self) -> None:
        """Run all of it. If it fails, so do the tests that wait for it."""
        with read_before_removal() as left:
            await self._run(left)

    async def _run(self, left: Left) -> None:
        async with asyncio.TaskGroup() as group:
            oracle = Oracle(self._folder / "laptop", at_once=AT_ONCE)
            for (program, python), outcome in self._laptop.items():
                group.create_task(_settle(outcome, oracle.outcome(program, python)))
            for sandbox in {sandbox for _, sandbox in self._cases}:
                group.create_task(self._run_in(sandbox, left))

    async def _run_in(self, sandbox: str, left: Left) -> None:
        cases = {program: outcome for (program, kind), outcome in self._cases.items() if kind == sandbox}
        try:
            opened = product(self._urls[sandbox], self._folder / sandbox, left, sandbox=sandbox, slots=AT_ONCE)
            async with opened as running, asyncio.TaskGroup() as group:
                probe = self._folder / sandbox / "programs" / "probe"
                probing = running.is_on_debians_python(probe, PYTHON[sandbox])
                group.create_task(_settle(self._on_debians_python[sandbox], probing))
                for program, outcome in cases.items():
                    folder = self._folder / sandbox / "programs" / program.name
                    program.copy_to(folder)
                    group.create_task(_settle(outcome, running.outcome(program, folder, PYTHON[sandbox])))
        except Exception as error:
            waiting: list[asyncio.Future[Any]] = [*cases.values(), self._on_debians_python[sandbox]]
            for future in waiting:
                if not future.done():
                    _fail(future, error)


async def _settle(outcome: asyncio.Future[Any], running: Coroutine[Any, Any, Any]) -> None:
    try:
        outcome.set_result(await running)
    except Exception as error:
        _fail(outcome, error)


def _fail(outcome: asyncio.Future[Any], error: Exception) -> None:
    outcome.set_exception(error)
    outcome.exception()  # retrieved: a test that was not reached leaves no complaint


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def laboratory(
    request: pytest.FixtureRequest, shared_bus: SharedBus, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Laboratory]:
    chosen: list[tuple[Any, Any]] = [
        (item.callspec.params["program"], item.callspec.params["sandbox"])
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and "laboratory" in item.fixturenames
        and not item.get_closest_marker("skip")
    ]
    urls = {sandbox: shared_bus.account() for sandbox in SANDBOXES}
    for url in urls.values():
        async with connect(url, name="test-setup") as bus:
            await ensure(bus.js)
    folder = tmp_path_factory.mktemp("compat")
    laboratory = Laboratory(urls, folder, chosen)
    running = asyncio.create_task(laboratory.run(), name="laboratory")
    yield laboratory
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await asyncio.to_thread(shutil.rmtree, folder)  # gigabytes of environments


@pytest.mark.parametrize(("program", "sandbox"), CASES)
async def test_a_program_does_the_same_as_on_a_laptop(laboratory: Laboratory, program: Program, sandbox: str) -> None:
    """Or it differs in just what the documentation says."""
    on_a_laptop = await laboratory.on_a_laptop(program, sandbox)
    assert on_a_laptop.exit_code == EXIT_CODES.get(program.name, 0), on_a_laptop
    in_the_sandbox = await laboratory.in_the_sandbox(program, sandbox)
    if meant := await laboratory.differences(program, sandbox):
        assert on_a_laptop.differs_in(in_the_sandbox) == meant
    else:
        assert msgspec.structs.asdict(in_the_sandbox) == msgspec.structs.asdict(on_a_laptop)
