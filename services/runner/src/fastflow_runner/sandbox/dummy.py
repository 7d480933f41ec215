"""A backend that runs nothing and simulates outcomes, for tests and measurements.

Its small supervisor follows the protocol: it answers an attach, repeats unacknowledged output and obeys stop. It
starts no process and does not unpack the bundle.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Any

import msgspec

from fastflow_runner.guest.supervisor import pipes
from fastflow_runner.guest.supervisor.frames import (
    ACK,
    ATTACH,
    DATA,
    EVENT,
    EVENT_HEADER,
    EVENTS,
    EXIT,
    EXITED,
    JOB,
    NONCE_BYTES,
    OUTPUT,
    OUTPUT_HEADER,
    PROTOCOL_VERSION,
    RUNNING,
    STARTED,
    STDERR,
    STDOUT,
    STOP,
    SYNC,
    WAITING,
    Decoder,
    OutputWindow,
    frame,
    mark,
    message,
)
from fastflow_runner.sandbox import (
    AlreadyExists,
    Detached,
    Held,
    Missing,
    SandboxEnd,
    SandboxSpec,
)


class DummyOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a job: it writes its output and exits at once."""

    stdout: bytes = b""
    stderr: bytes = b""
    events: tuple[bytes, ...] = ()
    exit_code: int = 0
    reason: str = "exited"
    oom: bool = False
    message: str = ""
    hangs: bool = False
    """The job does not exit by itself; a stop ends it with exit code 143."""
    vanishes: bool = False
    """The sandbox ends without ``Exited``, as if killed from outside."""


Script = Callable[[SandboxSpec, dict[str, Any]], DummyOutcome]
"""Chooses the outcome from the sandbox's specification and the JOB payload."""


def succeed(spec: SandboxSpec, job: dict[str, Any]) -> DummyOutcome:
    """Return success without output. The default script."""
    return DummyOutcome()


class _DummySandbox:
    """The simulated supervisor and all state of one sandbox."""

    def __init__(self, spec: SandboxSpec, script: Script) -> None:
        self.spec = spec
        self.token = secrets.token_bytes(NONCE_BYTES)
        self.outbox = bytearray()
        self.ready = asyncio.Event()
        self.ended: SandboxEnd | None = None
        self._script = script
        self._decoder = Decoder()
        self._window = OutputWindow()
        self._started = b""
        self._exit = b""
        self._phase = WAITING

    def receive(self, data: bytes) -> None:
        for kind, payload in self._decoder.feed(data):
            if kind == DATA:
                continue
            fields = msgspec.json.decode(payload)
            if kind == ATTACH:
                self._attach(bytes.fromhex(fields["nonce"]), fields["acked"])
            elif kind == JOB and self._phase == WAITING:
                self._play(self._script(self.spec, fields))
            elif kind == ACK:
                self._acknowledge(fields)
            elif kind == STOP and not self._exit:
                self._leave(DummyOutcome(exit_code=143, reason="stopped"))

    def end(self, ended: SandboxEnd) -> None:
        self.ended = self.ended or ended
        self.ready.set()

    def _say(self, data: bytes) -> None:
        self.outbox += data
        self.ready.set()

    def _attach(self, nonce: bytes, acked: dict[str, int]) -> None:
        self._acknowledge(acked)
        self.outbox.clear()
        sync = message(SYNC, version=PROTOCOL_VERSION, phase=self._phase)
        self._say(b"".join((mark(nonce), sync, self._started, *self._window, self._exit)))

    def _acknowledge(self, acked: dict[str, int]) -> None:
        ends = {
            STDOUT: acked["stdout"],
            STDERR: acked["stderr"],
            EVENTS: acked["events"],
        }
        self._window.acknowledge(ends)

    def _play(self, outcome: DummyOutcome) -> None:
        self._phase = RUNNING
        self._started = message(STARTED, pid=2, at=time.time())
        self._say(self._started)
        for stream, data in ((STDOUT, outcome.stdout), (STDERR, outcome.stderr)):
            for at in range(0, len(data), pipes.READ_BYTES):
                piece = data[at : at + pipes.READ_BYTES]
                header = OUTPUT_HEADER.pack(stream, at, time.time())
                self._keep(stream, at + len(piece), frame(OUTPUT, header + piece))
        for number, event in enumerate(outcome.events):
            header = EVENT_HEADER.pack(number, time.time())
            self._keep(EVENTS, number + 1, frame(EVENT, header + event))
        if outcome.vanishes:
            self.end(SandboxEnd(exit_code=137, oom_killed=outcome.oom))
        elif not outcome.hangs:
            self._leave(outcome)

    def _keep(self, stream: int, end: int, frame: bytes) -> None:
        self._window.push(stream, end, frame)
        self._say(frame)

    def _leave(self, outcome: DummyOutcome) -> None:
        self._phase = EXITED
        self._exit = message(
            EXIT,
            exit_code=outcome.exit_code,
            reason=outcome.reason,
            oom=outcome.oom,
            message=outcome.message,
            at=time.time(),
            memory_peak_bytes=0,
            cpu_s=0.0,
        )
        self._say(self._exit)


class DummyChannel:
    """A channel to a simulated sandbox."""

    def __init__(self, sandbox: _DummySandbox) -> None:
        self._sandbox = sandbox
        self._closed = False

    @property
    def token(self) -> bytes:
        return self._sandbox.token

    async def send(self, data: bytes) -> None:
        if self._closed or self._sandbox.ended is not None:
            raise Detached("the channel is closed.")
        self._sandbox.receive(data)

    async def receive(self) -> bytes:
        sandbox = self._sandbox
        while not self._closed and not sandbox.outbox and sandbox.ended is None:
            sandbox.ready.clear()
            await sandbox.ready.wait()
        if self._closed:
            return b""
        data = bytes(sandbox.outbox)
        sandbox.outbox.clear()
        return data

    async def wait(self) -> SandboxEnd:
        if self._sandbox.ended is None:
            raise Detached("the sandbox still runs; attach again.")
        return self._sandbox.ended

    async def close(self) -> None:
        self._closed = True
        self._sandbox.ready.set()


class DummySandboxes:
    """Simulated sandboxes of one daemon. Runners that share a daemon in a test share one instance."""

    def __init__(self, script: Script = succeed) -> None:
        self._script = script
        self._sandboxes: dict[str, _DummySandbox] = {}

    @property
    def unenforced(self) -> tuple[str, ...]:
        return ("Nothing runs at all.",)

    async def open(self, spec: SandboxSpec) -> DummyChannel:
        if spec.name in self._sandboxes:
            raise AlreadyExists(f"there is a sandbox {spec.name} already.")
        self._sandboxes[spec.name] = _DummySandbox(spec, self._script)
        return DummyChannel(self._sandboxes[spec.name])

    async def held(self) -> tuple[Held, ...]:
        return tuple(
            Held(name=name, labels=dict(sandbox.spec.labels), running=sandbox.ended is None)
            for name, sandbox in self._sandboxes.items()
        )

    async def attach(self, held: Held) -> DummyChannel:
        if (sandbox := self._sandboxes.get(held.name)) is None:
            raise Missing(f"there is no sandbox {held.name}.")
        return DummyChannel(sandbox)

    async def remove(self, name: str) -> None:
        if (sandbox := self._sandboxes.pop(name, None)) is not None:
            sandbox.end(SandboxEnd(exit_code=137, oom_killed=False))

    async def close(self) -> None:
        """Do nothing: the sandboxes remain, like Docker's."""
