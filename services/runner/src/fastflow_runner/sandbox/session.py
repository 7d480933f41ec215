"""The runner's side of the protocol with one supervisor: sends a job over a channel, receives typed events.

It tracks offsets, drops what a supervisor repeats after an attach, and distinguishes an ended sandbox from a lost
connection. It must not know which sandbox this is, what is published, or what an exit means for the run.
"""

from __future__ import annotations

import asyncio
import secrets
import struct
from collections import deque
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from typing import Any, Final, Literal, Self, TypeAlias, TypeVar

import msgspec

from fastflow_contracts.pipelines.folder.bundle import Bundle
from fastflow_runner.errors import RunnerError
from fastflow_runner.guest.supervisor import frames
from fastflow_runner.sandbox import Channel, Detached
from fastflow_runner.sandbox.events import (
    CellRunnerEvent,
    Event,
    Exited,
    Offsets,
    ScriptOutput,
    ScriptStarted,
    Stream,
    UsageSample,
    Vanished,
)
from fastflow_runner.sandbox.folders import ContentMismatch, Contents, SandboxGone
from fastflow_runner.sandbox.job import SandboxJob

Phase: TypeAlias = Literal["waiting", "preparing", "running", "draining", "exited"]

SYNC_TIMEOUT_S: Final = 10.0
_DATA_BYTES: Final = 64 * 1024


class SessionError(RunnerError):
    """The supervisor violated the protocol."""


class Superseded(SessionError):
    """Another runner has attached to this sandbox; do not touch it."""


class Silent(SessionError):
    """The supervisor did not answer an attach within ``SYNC_TIMEOUT_S``: the sandbox is unusable."""


class JobTooLarge(SessionError):
    """Arguments and environment do not fit into one frame."""


class Session:
    """One attachment to one supervisor: iterate over events, call methods to control the job.

    Iteration ends after ``Exited`` or ``Vanished``. A cancelled step loses nothing and can be repeated. Iteration
    raises ``Detached`` and ``DaemonUnreachable`` like the channel, ``Superseded``, and ``SessionError`` for bytes that
    break the protocol. Control methods do nothing on an ended sandbox: the iteration reports the end.
    """

    def __init__(self, channel: Channel, acked: Offsets) -> None:
        """Use ``start`` or ``resume`` instead."""
        self._channel = channel
        self._nonce = secrets.token_bytes(frames.NONCE_BYTES)
        self._decoder = frames.Decoder(frames.mark(self._nonce))
        self._frames: deque[tuple[int, bytes]] = deque()
        self._output_at = {frames.STDOUT: acked.stdout, frames.STDERR: acked.stderr}
        self._event_at = acked.events
        self._may_begin_later: set[int] = set()
        self._phase: Phase = "waiting"
        self._over = False
        self._fetches = 0

    @classmethod
    async def start(cls, channel: Channel, job: SandboxJob, bundle: Bundle | None = None) -> Self:
        """Attach to a new sandbox and send its job, without waiting for an answer.

        Without a bundle, the job starts in an empty directory. Raises ``JobTooLarge``, ``DaemonUnreachable``.
        """
        session = cls(channel, Offsets())
        await session._attach(Offsets())
        await session.hand_over(job, bundle)
        return session

    @classmethod
    async def resume(cls, channel: Channel, acked: Offsets) -> Self:
        """Attach to a sandbox that another session served, and continue after *acked*.

        Streams may continue later than *acked*: the supervisor drops what any session has acknowledged, and the bus may
        no longer keep it. Afterwards ``phase`` is the supervisor's phase: while ``waiting`` or ``preparing``, it has
        not started user code and accepts the job.

        Raises:
            Silent: no answer within ``SYNC_TIMEOUT_S``.
            DaemonUnreachable: the daemon did not answer.
            SessionError: the supervisor violated the protocol, or another runner has attached.
        """
        session = cls(channel, acked)
        session._may_begin_later = {frames.STDOUT, frames.STDERR, frames.EVENTS}
        await session._attach(acked)
        try:
            async with asyncio.timeout(SYNC_TIMEOUT_S):
                frame = await session._next_frame()
        except TimeoutError:
            raise Silent("the sandbox does not answer; remove it and count the attempt as lost.") from None
        if frame is not None:
            session._frames.appendleft(frame)
            if frame[0] == frames.SYNC:
                await session._take()
        return session

    @property
    def phase(self) -> Phase:
        """The supervisor's phase when it answered the attach; ``waiting`` until then."""
        return self._phase

    async def hand_over(self, job: SandboxJob, bundle: Bundle | None = None) -> None:
        """Send the job, its files and the bundle. A supervisor that already has a job ignores them."""
        try:
            stated_job = frames.message(frames.JOB, **job.stated(bundle))
        except frames.ProtocolError as error:
            raise JobTooLarge(
                f"arguments and environment of the run exceed {frames.FRAME_BYTES_MAX:,} bytes; "
                "pass large values as files or fetch them from the script."
            ) from error
        await self._send(stated_job)
        for data in (*(file.data for file in job.files), b"" if bundle is None else bundle.data):
            for at in range(0, len(data), _DATA_BYTES):
                await self._send(frames.frame(frames.DATA, data[at : at + _DATA_BYTES]))

    async def deliver(self, job: SandboxJob, contents: Contents) -> None:
        """Send what the job's folders hold, after ``hand_over``. User code starts once all of it has arrived.

        Raises ``ContentMismatch``, and what *contents* raises. Does nothing more once the job has ended.
        """
        for folder in job.folders:
            for file in folder.files:
                sent_bytes = 0
                async with aclosing(contents[folder.name](file)) as pieces:
                    async for piece in pieces:
                        sent_bytes += len(piece)
                        if sent_bytes > file.size_bytes:
                            break
                        for at in range(0, len(piece), _DATA_BYTES):
                            await self._send(frames.frame(frames.DATA, piece[at : at + _DATA_BYTES]))
                if sent_bytes != file.size_bytes:
                    raise ContentMismatch(f"{file.path!r} does not have the {file.size_bytes:,} bytes it should have.")

    async def fetch(self, folder: str, number: int, offset: int, size_bytes: int) -> int:
        """Ask an ended job for bytes of a file that goes back, and return what ``part`` takes."""
        self._fetches += 1
        tag = self._fetches
        await self._tell(frames.FETCH, tag=tag, folder=folder, number=number, offset=offset, size_bytes=size_bytes)
        return tag

    async def part(self, tag: int) -> tuple[bool, bytes]:
        """Return what a ``fetch`` asked for: True with the bytes, or False with the reason.

        Call it in the order of the fetches; it drops the answers to earlier ones. Raises ``SandboxGone``, and what the
        iteration raises.
        """
        while (frame := await self._next_frame()) is not None:
            if frame[0] == frames.PART and len(frame[1]) >= frames.PART_HEADER.size:
                answered, is_file = frames.PART_HEADER.unpack_from(frame[1])
                if answered == tag:
                    return is_file, frame[1][frames.PART_HEADER.size :]
        await self._channel.wait()
        raise SandboxGone("its sandbox was killed or removed from outside.")

    async def ack(self, offsets: Offsets) -> None:
        """Confirm that everything below *offsets* is stored, so the supervisor can drop it."""
        await self._tell(frames.ACK, stdout=offsets.stdout, stderr=offsets.stderr, events=offsets.events)

    async def beat(self, dead_after_s: float | None = None) -> None:
        """Send a heartbeat. *dead_after_s*: how long the sandbox may run without another; None: as before."""
        await self._tell(frames.BEAT, dead_after_s=dead_after_s)

    async def stop(self, grace_s: float | None = None) -> None:
        """Stop the job: SIGTERM now, SIGKILL after *grace_s* seconds (None = the job's). ``Exited`` follows."""
        await self._tell(frames.STOP, grace_s=grace_s)

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
        attach = frames.message(frames.ATTACH, nonce=self._nonce.hex(), acked=msgspec.to_builtins(acked))
        # One write: another writer's bytes between the mark and its frame would make the mark useless.
        await self._send(frames.mark(self._channel.token) + attach)

    async def _tell(self, kind: int, **fields: Any) -> None:
        await self._send(frames.message(kind, **fields))

    async def _send(self, data: bytes) -> None:
        with suppress(Detached):
            await self._channel.send(data)

    async def _next_frame(self) -> tuple[int, bytes] | None:
        """Return the next frame, or None if the channel is over."""
        while not self._frames:
            data = await self._channel.receive()
            if not data:
                return None
            try:
                self._frames.extend(self._decoder.feed(data))
            except frames.ForeignMark as error:
                raise Superseded("another runner has attached to this sandbox; do not touch it.") from error
            except frames.ProtocolError as error:
                raise SessionError(f"the supervisor sent an invalid frame: {error}.") from error
        return self._frames.popleft()

    async def _take(self) -> Event | None:
        """Return the event of the next frame, or None if it contains nothing new."""
        frame = await self._next_frame()
        if frame is None:
            ended = await self._channel.wait()
            return Vanished(exit_code=ended.exit_code, oom_killed=ended.oom_killed)
        kind, payload = frame
        try:
            if kind == frames.OUTPUT:
                return self._output(payload)
            if kind == frames.EVENT:
                return self._cell_event(payload)
            if kind == frames.STARTED:
                return _decode(payload, ScriptStarted)
            if kind == frames.SAMPLE:
                return _decode(payload, UsageSample)
            if kind == frames.EXIT:
                return _decode(payload, Exited)
            if kind == frames.SYNC:
                self._phase = _decode(payload, _Sync).phase
                return None
        except (msgspec.MsgspecError, struct.error, LookupError, ValueError, OverflowError) as error:
            raise SessionError(f"the supervisor sent a bad frame of kind {chr(kind)!r}: {error}.") from error
        raise SessionError(f"the supervisor sent a frame of unknown kind {chr(kind)!r}.")

    def _output(self, payload: bytes) -> ScriptOutput | None:
        stream, offset, at = frames.OUTPUT_HEADER.unpack_from(payload)
        data = payload[frames.OUTPUT_HEADER.size :]
        position = self._position(stream, self._output_at[stream], offset)
        if offset < position:  # repeated after an attach, possibly only in part
            data, offset = data[position - offset :], position
        if not data:
            return None
        self._output_at[stream] = offset + len(data)
        name: Stream = "stdout" if stream == frames.STDOUT else "stderr"
        return ScriptOutput(stream=name, offset=offset, at=_utc(at), data=data)

    def _cell_event(self, payload: bytes) -> CellRunnerEvent | None:
        number, at = frames.EVENT_HEADER.unpack_from(payload)
        if number < self._position(frames.EVENTS, self._event_at, number):
            return None
        self._event_at = number + 1
        return CellRunnerEvent(number=number, at=_utc(at), data=payload[frames.EVENT_HEADER.size :])

    def _position(self, stream: int, expected: int, received: int) -> int:
        """Return where *stream* continues: *expected*, or later if that is allowed. Raises ``ValueError`` for a gap."""
        if stream in self._may_begin_later:
            self._may_begin_later.remove(stream)
            return max(expected, received)
        if received > expected:
            raise ValueError(f"stream {stream} continues at {received} instead of {expected}; output is missing")
        return expected


class _Sync(msgspec.Struct, frozen=True):
    version: Literal[1]
    phase: Phase


_T = TypeVar("_T")


def _decode(payload: bytes, kind: type[_T]) -> _T:
    # Not strict: times are numbers, seconds since 1970.
    return msgspec.json.decode(payload, type=kind, strict=False)


def _utc(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
