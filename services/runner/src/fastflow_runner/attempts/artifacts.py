"""The artifacts of an attempt: what its script left goes to the bus, what its parent left goes into its sandbox. I/O.

A file streams from one to the other: nothing of it is kept here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Final, NamedTuple

from fastflow_contracts.bus.decoding import Unreadable
from fastflow_contracts.bus.errors import BusError, Rejected, Unavailable
from fastflow_contracts.bus.subjects import RunRef
from fastflow_contracts.log import get_logger
from fastflow_contracts.runs.artifacts.manifest import ArtifactManifest, BadArtifact, StoredArtifact, check_manifest
from fastflow_contracts.runs.artifacts.store import ArtifactStore, Gathering
from fastflow_contracts.runs.run import ArtifactsOf
from fastflow_contracts.runs.store import NoSuchRun, RunStore
from fastflow_runner.attempts.folder_reader import FolderReader
from fastflow_runner.attempts.holding import pause
from fastflow_runner.attempts.job import ARTIFACTS_NAME, PARENT_ARTIFACTS_DIR, PARENT_ARTIFACTS_NAME
from fastflow_runner.attempts.outcome import LeftArtifacts
from fastflow_runner.errors import RunnerError
from fastflow_runner.sandbox.events import Exited
from fastflow_runner.sandbox.folders import CarriedFolder, FileLost, FolderFile, LeftFolder, SandboxGone
from fastflow_runner.sandbox.session import SessionError

log = get_logger(__name__)

STOPPED: Final = "the run was stopped while its artifacts were stored: not all of them are kept."


class ArtifactsMissing(RunnerError):
    """The artifacts that a run needs are not there."""


class ArtifactTaker:
    """Stores what one attempt left."""

    def __init__(self, store: ArtifactStore, say: Callable[[str], Awaitable[None]]) -> None:
        """*say* writes a line to the log of the run."""
        self.left = LeftArtifacts()
        """What became of them."""
        self._store = store
        self._say = say

    async def take(self, end: Exited, reader: FolderReader) -> None:
        """Store all files. What cannot be stored does not keep the others. Waits for the bus as long as it takes."""
        left = end.folders.get(ARTIFACTS_NAME)
        if left is None or not (left.files or left.problems):
            return
        gathering = self._store.gather()
        problems = [*left.problems]
        if unsaid := left.problems_total - len(left.problems):
            problems.append(f"{unsaid:,} more stay behind.")
        was_stopped = False
        try:
            await self._gather(left, reader, gathering, problems)
        except asyncio.CancelledError:
            was_stopped = True
            problems.insert(0, STOPPED)
            raise
        finally:
            self.left = _concluded(gathering, problems, was_stopped=was_stopped)
        for problem in self.left.problems:
            await self._say(f"artifact not kept: {problem}")

    async def _gather(self, left: LeftFolder, reader: FolderReader, gathering: Gathering, problems: list[str]) -> None:
        for number, file in enumerate(left.files):
            try:
                await self._put(gathering, file, reader, number)
            except (SandboxGone, SessionError, Rejected) as error:  # it would be the same with the next one
                rest = len(left.files) - number - 1
                problems.append(f"{file.path!r}{f' and {rest:,} more' if rest else ''}: {error}")
                return
            except (FileLost, BadArtifact) as error:
                problems.append(str(error))

    async def _put(self, gathering: Gathering, file: FolderFile, reader: FolderReader, number: int) -> None:
        while True:
            try:
                async with aclosing(reader.read(ARTIFACTS_NAME, number)) as pieces:
                    await gathering.put(file.path, pieces)
                return
            except Unavailable as error:
                log.warning("artifact delayed", path=file.path, error=str(error))
            await pause()


class ParentArtifacts(NamedTuple):
    """What another run left, as a folder that a job brings along."""

    folder: CarriedFolder
    read: Callable[[FolderFile], AsyncGenerator[bytes, None]]


async def parent_artifacts(runs: RunStore, store: ArtifactStore, of: ArtifactsOf) -> ParentArtifacts:
    """Find the artifacts of a run that is over. Waits for the bus as long as it takes.

    Raises:
        ArtifactsMissing: They were removed, or their list is damaged.
    """
    manifest = await _manifest(runs, store, of)
    found = {each.path: each for each in manifest.artifacts}
    folder = CarriedFolder(
        env=PARENT_ARTIFACTS_DIR,
        name=PARENT_ARTIFACTS_NAME,
        is_writable=False,
        files=tuple(FolderFile(path=each.path, size_bytes=each.size_bytes) for each in manifest.artifacts),
    )
    return ParentArtifacts(folder, lambda file: _content(store, of, found[file.path]))


async def _manifest(runs: RunStore, store: ArtifactStore, of: ArtifactsOf) -> ArtifactManifest:
    while True:
        try:
            run = (await runs.load(RunRef(of.pipeline, of.run_id))).run
            manifest = await store.manifest(run)
            if manifest is None and run.artifacts_count is not None:
                raise ArtifactsMissing(f"the list of the artifacts of run {of.run_id} is gone or cannot be read.")
            return check_manifest(manifest or ArtifactManifest())
        except BadArtifact as error:
            raise ArtifactsMissing(
                f"the list of the artifacts of run {of.run_id} of {of.pipeline}, which this run needs, is damaged: "
                f"{error} Run that pipeline again."
            ) from error
        except (NoSuchRun, Unreadable) as error:
            raise ArtifactsMissing(
                f"the artifacts of run {of.run_id} of {of.pipeline}, which this run needs, were removed; "
                "run that pipeline again, or keep its runs longer."
            ) from error
        except BusError as error:
            log.warning("artifacts delayed", run=of.run_id, error=str(error))
        await pause()


async def _content(store: ArtifactStore, of: ArtifactsOf, artifact: StoredArtifact) -> AsyncGenerator[bytes, None]:
    """Yield the content of an artifact. Goes on where it was once the bus is back."""
    done_bytes = 0
    while True:
        skipped_bytes = done_bytes
        try:
            async with aclosing(store.open(artifact)) as pieces:
                async for piece in pieces:
                    rest = piece[min(skipped_bytes, len(piece)) :]
                    skipped_bytes -= len(piece) - len(rest)
                    done_bytes += len(rest)
                    if rest:
                        yield rest
            return
        except Rejected as error:
            raise ArtifactsMissing(
                f"{artifact.path!r}, an artifact of run {of.run_id} of {of.pipeline} that this run needs, cannot be "
                f"read: {error}"
            ) from error
        except Unavailable as error:
            log.warning("artifact delayed", path=artifact.path, error=str(error))
        await pause()


def _concluded(gathering: Gathering, problems: list[str], *, was_stopped: bool) -> LeftArtifacts:
    try:
        manifest = gathering.manifest(problems)
    except BadArtifact as error:
        manifest = None
        problems = [str(error), *problems]
    return LeftArtifacts(manifest=manifest, problems=tuple(problems), was_stopped=was_stopped)
