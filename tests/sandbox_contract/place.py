"""A backend under test, and what its sandboxes sent."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import msgspec

from fastflow_contracts.pipelines.folder.bundle import Bundle, File, pack
from fastflow_runner.sandbox import Channel, Sandboxes, SandboxSpec
from fastflow_runner.sandbox.events import (
    CellRunnerEvent,
    Event,
    Exited,
    Offsets,
    ScriptOutput,
)
from fastflow_runner.sandbox.job import SandboxJob
from fastflow_runner.sandbox.session import Session

PATIENCE_S = 60.0
"""Bounds a hang, and measures nothing: one second of a processor takes 15 where a dozen other programs want it."""
NOTHING = Offsets()


class Transcript:
    """Everything that one or more sessions of a sandbox have sent."""

    def __init__(self, start: Offsets = NOTHING) -> None:
        self.events: list[Event] = []
        self.start = {"stdout": start.stdout, "stderr": start.stderr}
        self.data = {"stdout": bytearray(), "stderr": bytearray()}

    def add(self, event: Event) -> None:
        if isinstance(event, ScriptOutput):
            position = self.start[event.stream] + len(self.data[event.stream])
            assert event.offset == position, "lost or doubled output"
            self.data[event.stream] += event.data
        else:
            self.events.append(event)

    @property
    def stdout(self) -> bytes:
        return bytes(self.data["stdout"])

    @property
    def stderr(self) -> bytes:
        return bytes(self.data["stderr"])

    @property
    def offsets(self) -> Offsets:
        events = sum(isinstance(event, CellRunnerEvent) for event in self.events)
        return Offsets(stdout=len(self.data["stdout"]), stderr=len(self.data["stderr"]), events=events)

    @property
    def exited(self) -> Exited:
        (last,) = (event for event in self.events if isinstance(event, Exited))
        return last

    @property
    def last(self) -> Event:
        return self.events[-1]

    def all(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


class Place:
    """One backend, and sandboxes in it that are always removed."""

    def __init__(self, sandboxes: Sandboxes, spec: SandboxSpec) -> None:
        self.sandboxes = sandboxes
        self._spec = spec
        self._names: dict[bytes, str] = {}

    def spec(self, **changes: Any) -> SandboxSpec:
        return msgspec.structs.replace(self._spec, name=f"ff-test-{uuid4()}", **changes)

    async def open(self, **changes: Any) -> Channel:
        spec = self.spec(**changes)
        channel = await self.sandboxes.open(spec)
        self._names[channel.token] = spec.name
        return channel

    def name(self, channel: Channel) -> str:
        return self._names[channel.token]

    async def start(self, source: str, channel: Channel | None = None, **job: Any) -> tuple[Session, Channel]:
        channel = channel or await self.open()
        return await Session.start(channel, a_job(**job), script(source)), channel

    async def run(self, source: str, channel: Channel | None = None, **job: Any) -> Transcript:
        """Run to the end."""
        session, channel = await self.start(source, channel, **job)
        transcript = await listen(session)
        await channel.close()
        return transcript

    async def again(self, channel: Channel, acked: Offsets) -> tuple[Session, Channel]:
        """Detach, and attach a new session as another runner would, from the result of ``held``."""
        await channel.close()
        (held,) = (held for held in await self.sandboxes.held() if held.name == self.name(channel))
        channel = await self.sandboxes.attach(held)
        return await Session.resume(channel, acked), channel

    async def clear(self) -> None:
        for held in await self.sandboxes.held():
            await self.sandboxes.remove(held.name)


def a_job(**changes: Any) -> SandboxJob:
    return msgspec.structs.replace(SandboxJob(argv=("{python}", "-u", "main.py"), cwd="pipeline"), **changes)


def script(source: str) -> Bundle:
    return pack({"main.py": File(textwrap.dedent(source).encode())})


async def listen(
    session: Session,
    transcript: Transcript | None = None,
    *,
    until: Callable[[Transcript], bool] = lambda _: False,
    acknowledge: bool = True,
) -> Transcript:
    """Receive to the end, or until a condition holds, and acknowledge as a runner would."""
    transcript = transcript or Transcript()
    async with asyncio.timeout(PATIENCE_S):
        async for event in session:
            transcript.add(event)
            if acknowledge and isinstance(event, ScriptOutput | CellRunnerEvent):
                await session.ack(transcript.offsets)
            if until(transcript):
                break
    return transcript


LINES = """
    import sys
    for number in range({count}):
        sys.stdout.write(f"{{number:099d}}\\n")
"""


def lines(count: int) -> bytes:
    return b"".join(b"%099d\n" % number for number in range(count))
