"""The runner's end of the conversation with one supervisor, over a channel: a job out, typed events back.

Here live the job as the runner states it, the events as it sees them, and the session that keeps offsets, drops
what a re-attached supervisor repeats and tells an ended sandbox from a lost connection. Which sandbox, what is
published, and what an exit means for the run may not.
"""

from __future__ import annotations

import asyncio
import secrets
import struct
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, Literal, Self, TypeAlias, TypeVar

import msgspec

from fastflow_contracts.pipelines.bundle import Bundle
from fastflow_runner.errors import RunnerError
from fastflow_runner.guest.supervisor import frames
from fastflow_runner.guest.supervisor.frames import (
    ACK,
    ATTACH,
    BEAT,
    DATA,
    EVENT,
    EVENT_HEADER,
    EVENTS,
    EXIT,
    FRAME_BYTES_MAX,
    JOB,
    NONCE_BYTES,
    OUTPUT,
    OUTPUT_HEADER,
    SAMPLE,
    STARTED,
    STDERR,
    STDOUT,
    STOP,
    SYNC,
    Decoder,
    ProtocolError,
    frame,
    mark,
    message,
)
from fastflow_runner.sandbox import Channel, Detached

Stream: TypeAlias = Literal["stdout", "stderr"]
Reason: TypeAlias = Literal["exited", "timeout", "stopped", "orphaned", "setup_error", "no_environment"]
Phase: TypeAlias = Literal["waiting", "preparing", "running", "draining", "exited"]

SYNC_TIMEOUT_S: Final = 10.0
_DATA_BYTES: Final = 64 * 1024


class JobFile(msgspec.Struct, frozen=True):
    """A file given to the script beside its folder; its path is in the variable *env*."""

    env: str
    name: str
    data: bytes


class Hold(msgspec.Struct, frozen=True):
    """What keeps an environment from being collected: a shared lock on a byte of a file of the store."""

    path: str
    """Of that file, inside the sandbox."""
    byte: int
    python: str
    """The interpreter that must be there once the lock is held."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What a supervisor is to run, once."""

    argv: tuple[str, ...]
    """The command; an element ``{python}`` stands for *python*."""
    cwd: str
    """Name of the fresh directory that holds the unpacked bundle."""
    python: str | None = None
    """The interpreter's path inside the sandbox; None is the supervisor's own."""
    holds: tuple[Hold, ...] = ()
    """The environments it uses. If one is gone by now, user code is not started: see ``Exited``."""
    env: Mapping[str, str] = {}
    """Secrets included; on top of the sandbox's own few variables."""
    files: tuple[JobFile, ...] = ()
    timeout_s: float = 0
    """From the start of user code; 0 is none."""
    grace_s: float = 10
    """Between SIGTERM and SIGKILL."""
    dead_after_s: float = 180
    """Without a beat for this long the supervisor stops the job."""
    sample_s: float = 1
    """Between two samples of cpu and memory; 0 is none."""
    memory_bytes: int | None = None
    """Watched by the supervisor where no kernel limit holds (process sandboxes), else ignored."""
    cell_events: bool = False
    """Give the script a descriptor for events, one JSON object a line, named in ``FASTFLOW_CELL_EVENTS_FD``."""


class Offsets(msgspec.Struct, frozen=True):
    """How far each stream has got: bytes of stdout and stderr, number of events."""

    stdout: int = 0
    stderr: int = 0
    events: int = 0


class ScriptStarted(msgspec.Struct, frozen=True):
    """User code runs. Repeated to every session that attaches later."""

    at: datetime


class ScriptOutput(msgspec.Struct, frozen=True):
    """Bytes the script wrote: *offset* of the first in its stream, gapless and never twice in one session. The first
    of a resumed session may begin later than where that was to go on: see ``Session.resume``.
    """

    stream: Stream
    offset: int
    at: datetime
    data: bytes


class CellEvent(msgspec.Struct, frozen=True):
    """One line of JSON that a cell runner sent, counted from 0."""

    number: int
    at: datetime
    data: bytes


class UsageSample(msgspec.Struct, frozen=True):
    """What the sandbox used. Cores since the last sample; memory without the file cache, and its peak so far."""

    at: datetime
    cpu_cores: float
    memory_bytes: int
    memory_peak_bytes: int
    memory_limit_bytes: int | None


class Exited(msgspec.Struct, frozen=True):
    """The job is over and all its output has been received. The last event of a session. With ``setup_error`` and
    ``no_environment`` (see ``Job.holds``) user code was not started.

    ``exit_code`` is the script's own, 128 + n when signal n ended it, 126 or 127 when it could not be started.
    ``oom``: something was killed for want of memory. ``cpu_s``: processor time of all its processes.
    """

    exit_code: int
    reason: Reason
    oom: bool
    message: str
    at: datetime
    memory_peak_bytes: int
    cpu_s: float
    signal: int = 0
    """Which one ended the script; 0 = none did, or an older supervisor does not say."""


class Vanished(msgspec.Struct, frozen=True):
    """The sandbox ended without a word: killed from outside, or its supervisor was. The last event of a session."""

    exit_code: int | None
    oom_killed: bool


Event: TypeAlias = ScriptStarted | ScriptOutput | CellEvent | UsageSample | Exited | Vanished


class SessionError(RunnerError):
    """The conversation with a supervisor broke its rules."""


class Superseded(SessionError):
    """Another runner has attached to this sandbox: leave it alone."""


class Silent(SessionError):
    """The supervisor did not answer an attach in ``SYNC_TIMEOUT_S``: the sandbox is of no use."""


class JobTooLarge(SessionError):
    """Arguments and environment do not fit into one frame."""


class Session:
    """One attachment to one supervisor: iterate for events, call to steer.

    Iteration ends after ``Exited`` or ``Vanished``; a cancelled step loses nothing and may be taken again. It
    raises ``Detached`` and ``Unreachable`` as the channel does, ``Superseded``, and ``SessionError`` for bytes that
    are no conversation. Steering an ended sandbox does nothing: the iteration tells of the end.
    """

    def __init__(self, channel: Channel, acked: Offsets) -> None:
        """For ``start`` and ``resume`` only."""
        self._channel = channel
        self._nonce = secrets.token_bytes(NONCE_BYTES)
        self._decoder = Decoder(mark(self._nonce))
        self._frames: deque[tuple[int, bytes]] = deque()
        self._output_at = {STDOUT: acked.stdout, STDERR: acked.stderr}
        self._event_at = acked.events
        self._may_begin_later: set[int] = set()
        self._phase: Phase = "waiting"
        self._over = False

    @classmethod
    async def start(cls, channel: Channel, job: Job, bundle: Bundle | None = None) -> Self:
        """Attach to a fresh sandbox and hand it its job, without waiting for any answer.

        Without a bundle the job starts in an empty directory. Raises ``JobTooLarge``, ``Unreachable``.
        """
        session = cls(channel, Offsets())
        await session._attach(Offsets())
        await session.hand_over(job, bundle)
        return session

    @classmethod
    async def resume(cls, channel: Channel, acked: Offsets) -> Self:
        """Attach to a sandbox that another session served, and go on after *acked*, or later: what was acknowledged
        before by somebody else is nowhere if the bus keeps it no longer.

        Afterwards ``phase`` tells what is going on: a supervisor still ``waiting`` or ``preparing`` has not
        started user code and can be handed the job. Raises ``Silent``, ``Unreachable``, ``SessionError``.
        """
        session = cls(channel, acked)
        session._may_begin_later = {STDOUT, STDERR, EVENTS}
        await session._attach(acked)
        try:
            async with asyncio.timeout(SYNC_TIMEOUT_S):
                frame = await session._next_frame()
        except TimeoutError:
            raise Silent("The sandbox does not answer; remove it and count the attempt as lost.") from None
        if frame is not None:
            session._frames.appendleft(frame)
            if frame[0] == SYNC:
                await session._take()
        return session

    @property
    def phase(self) -> Phase:
        """What the supervisor was doing when it answered the attach; ``waiting`` until then."""
        return self._phase

    async def hand_over(self, job: Job, bundle: Bundle | None = None) -> None:
        """Send the job and its bytes. A supervisor that runs or ran one already ignores it."""
        stated = {
            "argv": job.argv,
            "cwd": job.cwd,
            "python": job.python,
            "holds": msgspec.to_builtins(job.holds),
            "env": dict(job.env),
            "timeout_s": job.timeout_s,
            "grace_s": job.grace_s,
            "dead_after_s": job.dead_after_s,
            "sample_s": job.sample_s,
            "memory_bytes": job.memory_bytes,
            "cell_events": job.cell_events,
            "files": [{"env": f.env, "name": f.name, "size_bytes": len(f.data)} for f in job.files],
            "bundle": None if bundle is None else {"sha256": bundle.sha256, "size_bytes": len(bundle.data)},
        }
        try:
            stated_job = message(JOB, **stated)
        except ProtocolError as error:
            raise JobTooLarge(
                f"Arguments and environment of the run exceed {FRAME_BYTES_MAX:,} bytes; "
                "pass large values as files or fetch them from the script."
            ) from error
        await self._send(stated_job)
        for data in (*(file.data for file in job.files), b"" if bundle is None else bundle.data):
            for at in range(0, len(data), _DATA_BYTES):
                await self._send(frame(DATA, data[at : at + _DATA_BYTES]))

    async def ack(self, offsets: Offsets) -> None:
        """Everything below *offsets* is safe elsewhere; the supervisor may forget it."""
        await self._tell(ACK, stdout=offsets.stdout, stderr=offsets.stderr, events=offsets.events)

    async def beat(self, dead_after_s: float | None = None) -> None:
        """The runner still owns the run; None keeps the time given before."""
        await self._tell(BEAT, dead_after_s=dead_after_s)

    async def stop(self, grace_s: float | None = None) -> None:
        """SIGTERM now, SIGKILL after the grace time; None takes the job's. Comes back as ``Exited``."""
        await self._tell(STOP, grace_s=grace_s)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._over:
            event = await self._take()
            self._over = isinstance(event, Exited | Vanished)
            if event is not None:
                return event
        raise StopAsyncIteration

    async def _attach(self, acked: Offsets) -> None:
        attach = message(ATTACH, nonce=self._nonce.hex(), acked=msgspec.to_builtins(acked))
        # One write: a mark torn from its frame by another writer would be worth nothing.
        await self._send(mark(self._channel.token) + attach)

    async def _tell(self, kind: int, **fields: Any) -> None:
        await self._send(message(kind, **fields))

    async def _send(self, data: bytes) -> None:
        with suppress(Detached):
            await self._channel.send(data)

    async def _next_frame(self) -> tuple[int, bytes] | None:
        """The next frame, or None when the channel is over."""
        while not self._frames:
            data = await self._channel.receive()
            if not data:
                return None
            try:
                self._frames.extend(self._decoder.feed(data))
            except frames.ForeignMark as error:
                raise Superseded("Another runner has attached to this sandbox; leave it alone.") from error
            except ProtocolError as error:
                raise SessionError(f"The supervisor sent what is no frame: {error}.") from error
        return self._frames.popleft()

    async def _take(self) -> Event | None:
        """The next frame's event; None for one that holds nothing new."""
        frame = await self._next_frame()
        if frame is None:
            ended = await self._channel.wait()
            return Vanished(exit_code=ended.exit_code, oom_killed=ended.oom_killed)
        kind, payload = frame
        try:
            if kind == OUTPUT:
                return self._output(payload)
            if kind == EVENT:
                return self._cell_event(payload)
            if kind == STARTED:
                return _decode(payload, ScriptStarted)
            if kind == SAMPLE:
                return _decode(payload, UsageSample)
            if kind == EXIT:
                return _decode(payload, Exited)
            if kind == SYNC:
                self._phase = _decode(payload, _Sync).phase
                return None
        except (msgspec.MsgspecError, struct.error, LookupError, ValueError, OverflowError) as error:
            raise SessionError(f"The supervisor sent a bad frame of kind {chr(kind)!r}: {error}.") from error
        raise SessionError(f"The supervisor sent a frame of unknown kind {chr(kind)!r}.")

    def _output(self, payload: bytes) -> ScriptOutput | None:
        stream, offset, at = OUTPUT_HEADER.unpack_from(payload)
        data = payload[OUTPUT_HEADER.size :]
        position = self._goes_on_at(stream, self._output_at[stream], offset)
        if offset < position:  # repeated after an attach; perhaps only in part
            data, offset = data[position - offset :], position
        if not data:
            return None
        self._output_at[stream] = offset + len(data)
        name: Stream = "stdout" if stream == STDOUT else "stderr"
        return ScriptOutput(stream=name, offset=offset, at=_utc(at), data=data)

    def _cell_event(self, payload: bytes) -> CellEvent | None:
        number, at = EVENT_HEADER.unpack_from(payload)
        if number < self._goes_on_at(EVENTS, self._event_at, number):
            return None
        self._event_at = number + 1
        return CellEvent(number=number, at=_utc(at), data=payload[EVENT_HEADER.size :])

    def _goes_on_at(self, stream: int, expected: int, heard: int) -> int:
        """Where *stream* goes on: as *expected*, or if it may, as *heard*. Raises ``ValueError`` for a gap."""
        if stream in self._may_begin_later:
            self._may_begin_later.remove(stream)
            return max(expected, heard)
        if heard > expected:
            raise ValueError(f"stream {stream} goes on at {heard} instead of {expected}, something is missing")
        return expected


class _Sync(msgspec.Struct, frozen=True):
    version: Literal[1]
    phase: Phase


_T = TypeVar("_T")


def _decode(payload: bytes, kind: type[_T]) -> _T:
    # Not strict: a time is a number of seconds since 1970 here.
    return msgspec.json.decode(payload, type=kind, strict=False)


def _utc(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
