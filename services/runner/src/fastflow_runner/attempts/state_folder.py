"""The state of an attempt: what its script begins with goes into its sandbox, what it leaves goes to the bus. I/O.

What a script leaves becomes the state when the end of the attempt is recorded (``RunStore.change``), and not before.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Final, TypeVar

from msgspec.structs import replace

from fastflow_contracts.bus.decoding import Unreadable
from fastflow_contracts.bus.errors import BusError, Rejected
from fastflow_contracts.log import get_logger
from fastflow_contracts.runs.run import RunErrorType, RunRecord
from fastflow_contracts.runs.state.archive import BadArchive, StateFile, digest, unpack
from fastflow_contracts.runs.state.head import STATE_BYTES_MAX, STATE_FILES_MAX, KeptState, LeftState
from fastflow_contracts.runs.state.store import StateStore
from fastflow_contracts.runs.state_machine import AttemptOutcome
from fastflow_runner.attempts.folder_reader import FolderReader
from fastflow_runner.attempts.holding import pause
from fastflow_runner.attempts.job import STATE_DIR, STATE_NAME
from fastflow_runner.attempts.outcome import Intent
from fastflow_runner.errors import RunnerError
from fastflow_runner.sandbox.events import Exited
from fastflow_runner.sandbox.folders import CarriedFolder, FileLost, FolderBounds, FolderFile, LeftFolder
from fastflow_runner.sandbox.session import SessionError

log = get_logger(__name__)

T = TypeVar("T")

BOUNDS: Final = FolderBounds(files_max=STATE_FILES_MAX, bytes_max=2**50)
"""All files are listed, whatever their size: to say what a state that is too large consists of."""


class StateMissing(RunnerError):
    """The state that the script must begin with is not there."""

    def __init__(self, message: str, why: RunErrorType = RunErrorType.STATE_ERROR) -> None:
        super().__init__(message)
        self.why = why


class StateFolder:
    """The folder of one attempt of a run whose pipeline keeps state."""

    def __init__(self, states: StateStore, run: RunRecord) -> None:
        self._states = states
        self._run = run
        self._version: KeptState | None = None
        self._files: dict[str, StateFile] | None = {}
        self._listed: tuple[FolderFile, ...] = ()
        self._left: LeftState | None = None
        self._problem = ""
        self._is_taken = False

    async def current(self) -> int:
        """Return the number of the current version. Waits for the bus as long as it takes. Raises ``StateMissing``."""
        try:
            return (await _patient(lambda: self._states.head(self._run.pipeline))).number
        except Unreadable as error:
            raise StateMissing(self._advice("the record of the state cannot be read")) from error

    async def open(self, number: int, *, with_files: bool) -> None:
        """Find version *number*, which was current when the attempt was prepared, and what it holds.

        Args:
            with_files: the sandbox does not have the files yet.

        Raises:
            StateMissing: it is no longer current, or cannot be read.
        """
        try:
            head = await _patient(lambda: self._states.head(self._run.pipeline))
        except Unreadable as error:
            if with_files:
                raise StateMissing(self._advice("the record of the state cannot be read")) from error
            return
        self._version = head.version(number)
        if not with_files:
            return
        if head.number != number:
            raise StateMissing(
                f"version {head.number} of the state became current before this attempt began with version {number}.",
                RunErrorType.STATE_CONFLICT,
            )
        files = await self._fetch()
        self._listed = tuple(
            FolderFile(file.path, len(file.data), file.is_executable, file.modified_ns) for file in files.values()
        )

    @property
    def folder(self) -> CarriedFolder:
        """The folder as the job brings it along."""
        return CarriedFolder(env=STATE_DIR, name=STATE_NAME, files=self._listed, back=BOUNDS)

    async def read(self, file: FolderFile) -> AsyncGenerator[bytes, None]:
        """Yield the content of a file that the sandbox gets. What was fetched is dropped after the last one."""
        files = self._files if self._files is not None else await self._fetch()
        yield files[file.path].data
        if file == self._listed[-1]:
            self._files = None

    async def take(self, end: Exited, reader: FolderReader) -> None:
        """Store what the script left, if it ended well. Waits for the bus as long as it takes."""
        left = end.folders.get(STATE_NAME)
        if left is None or end.reason != "exited" or end.exit_code != 0:
            return
        self._problem = problem_of(left)
        if not self._problem:
            try:
                await self._save([await _file(reader, number, each) for number, each in enumerate(left.files)])
            except (FileLost, SessionError) as error:
                self._problem = f"FASTFLOW_STATE_DIR could not be read: {error}"
            except Rejected as error:
                self._problem = f"the bus did not store the state: {error}"
        self._is_taken = True

    def settled(self, outcome: AttemptOutcome, intent: Intent) -> AttemptOutcome:
        """Return *outcome* with the state, or with the reason why there is none."""
        if not outcome.ends_well:
            return outcome
        if self._is_taken and not self._problem:
            return replace(outcome, state=self._left)
        if not self._is_taken and intent.cancelled:
            return replace(outcome, stopped=True)
        if not self._is_taken and intent.abandoned:
            return replace(outcome, error_type=RunErrorType.LOST, error_message=intent.abandoned)
        problem = self._problem or "FASTFLOW_STATE_DIR could not be read after the end of the script."
        return replace(outcome, error_type=RunErrorType.STATE_ERROR, error_message=problem)

    async def clear(self, outcome: AttemptOutcome, run: RunRecord) -> None:
        """Remove what was stored for an attempt whose recorded end does not refer to it."""
        if outcome.state is None or not outcome.state.archive:
            return
        recorded = run.attempts[-1] if run.attempts else None
        if recorded is not None and recorded.state_left is None:
            await self._states.discard([outcome.state.archive])

    async def _save(self, files: list[StateFile]) -> None:
        before = "" if self._version is None else self._version.content
        if digest(files) != (before or digest(())):
            self._left = await _patient(lambda: self._states.save(files))

    async def _fetch(self) -> dict[str, StateFile]:
        version = self._version
        if version is None or not version.archive:
            return {}
        try:
            data = await _patient(lambda: self._states.archive(version))
            files = unpack(data)
        except (Rejected, BadArchive) as error:
            raise StateMissing(
                self._advice(f"version {version.number} of the state cannot be read: {error}")
            ) from error
        self._files = {file.path: file for file in files}
        return self._files

    def _advice(self, what: str) -> str:
        return f"{what}. Reset it: `fastflow state {self._run.pipeline} --reset`."


def problem_of(left: LeftFolder) -> str:
    """Return why what the script left cannot become the state, and what to do; empty: it can."""
    if left.is_missing:
        return "FASTFLOW_STATE_DIR was removed; to empty the state, remove what is in the folder, and not the folder."
    if left.problems:
        more = f" {left.problems_total - 1} more." if left.problems_total > 1 else ""
        return f"FASTFLOW_STATE_DIR cannot become the state: {left.problems[0]}{more}"
    total = sum(file.size_bytes for file in left.files)
    if total <= STATE_BYTES_MAX:
        return ""
    largest = max(left.files, key=lambda file: file.size_bytes)
    return (
        f"FASTFLOW_STATE_DIR holds {total:,} bytes, and a state may have {STATE_BYTES_MAX:,}; the largest file is "
        f"{largest.path!r} with {largest.size_bytes:,}. Remove what the next run does not need, or keep it elsewhere."
    )


async def _file(reader: FolderReader, number: int, file: FolderFile) -> StateFile:
    data = bytearray()
    async with aclosing(reader.read(STATE_NAME, number)) as pieces:
        async for piece in pieces:
            data += piece
    return StateFile(file.path, bytes(data), file.is_executable, file.modified_ns)


async def _patient(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until the bus answers. Raises ``Rejected`` and ``Unreadable``."""
    while True:
        try:
            return await ask()
        except (Rejected, Unreadable):
            raise
        except BusError as error:
            log.warning("state delayed", error=str(error))
        await pause()
