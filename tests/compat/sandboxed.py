"""The product: the same folder as a pipeline, through bus, scheduler and a real runner, in a real sandbox. I/O.

Nothing of a run is changed. Its files are read after its end and before the runner removes its sandbox: an ended
sandbox keeps its folder until then.
"""

from __future__ import annotations

import asyncio
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import msgspec
from msgspec.structs import replace

import fastflow_runner.app
from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.pipelines.folder import disk
from fastflow_contracts.pipelines.folder.examine import examine
from fastflow_contracts.runs import cells
from fastflow_contracts.runs.logs import CHUNK, STREAMS
from fastflow_contracts.runs.run import RunRecord
from fastflow_gateway.notebooks.cells import CellHistory
from fastflow_gateway.notebooks.executed import executed
from fastflow_runner.backend.backend import Backend
from fastflow_runner.backend.choose import open_backend
from fastflow_runner.sandbox import Sandboxes
from fastflow_runner.sandbox.naming import AttemptId, attempt_of
from fastflow_runner.settings import RunnerSettings
from tests.compat.oracle import FINISHED_S, UV_CACHE
from tests.compat.outcome import Outcome, as_tar, cells_of, files_of, readable
from tests.compat.program import Program
from tests.support.records import publish_pipeline
from tests.support.system import System, stored, system

STORE_VOLUME: Final = "fastflow-compat"
"""Kept from one session to the next, as the cache of the oracle is."""


class Left(dict[AttemptId, "asyncio.Future[tuple[str, bytes]]"]):
    """What runs leave in their folders: the folder's path and a tar of it."""

    def __missing__(self, attempt: AttemptId) -> asyncio.Future[tuple[str, bytes]]:
        self[attempt] = asyncio.get_running_loop().create_future()
        return self[attempt]


class ReadBeforeRemoval:
    """A backend's sandboxes. Before one is removed, its folder is read."""

    def __init__(self, sandboxes: Sandboxes, root: Path | None, left: Left) -> None:
        """*root*: of process sandboxes; None: they are containers."""
        self._sandboxes = sandboxes
        self._root = root
        self._left = left

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sandboxes, name)

    async def remove(self, name: str) -> None:
        attempt = attempt_of(name)
        if attempt is not None and not (left := self._left[attempt]).done():
            try:
                left.set_result(await self._read(name))
            except Exception as error:
                left.set_exception(error)
        await self._sandboxes.remove(name)

    async def _read(self, name: str) -> tuple[str, bytes]:
        if self._root is not None:
            (folder,) = (path for path in (self._root / name / "work").iterdir() if not path.name.startswith("."))
            return str(folder), await asyncio.to_thread(as_tar, folder)
        command = "cd /work/* && pwd && tar -c ."
        process = await asyncio.create_subprocess_exec("docker", "exec", name, "sh", "-ec", command, stdout=PIPE)
        printed, _ = await process.communicate()
        assert process.returncode == 0
        path, _, archive = printed.partition(b"\n")
        return path.decode(), archive


class Product:
    """Runs programs in one kind of sandbox."""

    def __init__(self, running: System, left: Left) -> None:
        self._system = running
        self._left = left

    async def is_on_debians_python(self, folder: Path, python: str) -> bool:
        """Whether runs have the interpreter of the worker image. *folder*: a new folder."""
        folder.mkdir(parents=True)
        (folder / "main.py").write_text("import sys\nprint(sys.base_prefix)\n")
        outcome = await self.outcome(Program("", folder.name), folder, python)
        return outcome.stdout == "/usr\n"

    async def outcome(self, program: Program, folder: Path, python: str) -> Outcome:
        """Run the program in *folder*, in the version that a sync makes live."""
        name = program.name
        found = examine(name, await asyncio.to_thread(disk.read, folder), is_known=False)
        assert found is not None
        assert found.bundle is not None, found.found.problems
        assert found.found.version is not None
        spec = msgspec.structs.asdict(found.found.version.spec) | {"python_version": python}
        await publish_pipeline(self._system.bus, name, found.bundle, **spec)
        run = await self._system.end(await self._system.start(name), within_s=FINISHED_S)
        (attempt,) = run.attempts
        async with asyncio.timeout(FINISHED_S):
            path, archive = await self._left[AttemptId(run.id, 1)]
        assert attempt.exit_code is not None, run
        files = files_of(archive, path)
        if program.is_notebook:
            text = (folder / "main.ipynb").read_bytes()
            outputs = cells_of(executed(text, await self._history(run), run_id=run.id), path)
            return Outcome(exit_code=attempt.exit_code, files=files, cells=outputs)
        written = await self._written(run)
        return Outcome(
            stdout=readable(written["stdout"], path),
            stderr=readable(written["stderr"], path),
            exit_code=attempt.exit_code,
            files=files,
        )

    async def _written(self, run: RunRecord) -> Mapping[str, str]:
        chunks = [
            CHUNK.decode(each.data) for each in await stored(self._system.bus, streams.LOGS, subjects.logs_of(run.ref))
        ]
        pieces = [piece for chunk in chunks for piece in chunk.lines]
        return {name: "".join(p.text for p in pieces if STREAMS[p.stream] == name) for name in STREAMS}

    async def _history(self, run: RunRecord) -> CellHistory:
        history = CellHistory()
        for each in await stored(self._system.bus, streams.CELLS, subjects.cells_of(run.ref)):
            history.feed(cells.CHUNK.decode(each.data), 1)
        return history


@contextmanager
def read_before_removal() -> Iterator[Left]:
    """Inside, every runner that starts in this process reads what runs leave in their folders."""
    left = Left()

    @asynccontextmanager
    async def reading(settings: RunnerSettings, **options: Any) -> AsyncIterator[Backend]:
        async with open_backend(settings, **options) as backend:
            root = Path(settings.data_dir) / "sandboxes" if backend.kind == "process" else None
            yield replace(backend, sandboxes=ReadBeforeRemoval(backend.sandboxes, root, left))

    with patch.object(fastflow_runner.app, "open_backend", reading):
        yield left


@asynccontextmanager
async def product(url: str, data: Path, left: Left, *, sandbox: str, slots: int) -> AsyncIterator[Product]:
    """Start a scheduler and a runner with this kind of sandbox. *data*: its own folder."""
    store = data / "runner-0" / "store"
    store.mkdir(parents=True)
    UV_CACHE.mkdir(parents=True, exist_ok=True)
    (store / "cache").symlink_to(UV_CACHE)
    async with system(
        url, data, sandbox=sandbox, slots=slots, pool_size_max=slots, store_volume=STORE_VOLUME
    ) as running:
        yield Product(running, left)
