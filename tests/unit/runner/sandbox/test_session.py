"""The runner's end of a session, against the dummy: what it makes of what it receives."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from fastflow_runner.guest.supervisor.frames import (
    ATTACH,
    EVENT,
    EVENT_HEADER,
    EXIT,
    FRAME_BYTES_MAX,
    OUTPUT,
    OUTPUT_HEADER,
    SYNC,
    Decoder,
    frame,
    mark,
    message,
)
from fastflow_runner.sandbox import (
    AlreadyExists,
    Channel,
    Detached,
    Missing,
    SandboxEnd,
    SandboxSpec,
)
from fastflow_runner.sandbox.dummy import DummyOutcome, DummySandboxes
from fastflow_runner.sandbox.events import CellRunnerEvent, Exited, Offsets, ScriptOutput, ScriptStarted, Vanished
from fastflow_runner.sandbox.job import SandboxJob
from fastflow_runner.sandbox.session import JobTooLarge, Session, SessionError, Silent, Superseded

SPEC = SandboxSpec(name="ff-1", labels={"fastflow.run": "1"})
JOB = SandboxJob(argv=("{python}", "main.py"), cwd="p")
LONG = bytes(range(256)) * 1_000


class Line:
    """A channel whose other end is the test, which sends frames and reads what was sent."""

    def __init__(self) -> None:
        self.token = bytes(16)
        self.sent = Decoder()
        self.heard: list[tuple[int, bytes]] = []
        self.said: asyncio.Queue[bytes] = asyncio.Queue()

    async def send(self, data: bytes) -> None:
        self.heard += self.sent.feed(data)

    async def receive(self) -> bytes:
        return await self.said.get()

    async def wait(self) -> SandboxEnd:
        return SandboxEnd(exit_code=0, oom_killed=False)

    async def close(self) -> None:
        pass

    def say(self, *frames: bytes, nonce: str | None = None) -> None:
        if nonce is None:
            nonce = json.loads(self.heard[0][1])["nonce"]
        self.said.put_nowait(mark(bytes.fromhex(nonce)) + b"".join(frames))


def output(offset: int, data: bytes, stream: int = 1) -> bytes:
    return frame(OUTPUT, OUTPUT_HEADER.pack(stream, offset, 0.0) + data)


def event(number: int) -> bytes:
    return frame(EVENT, EVENT_HEADER.pack(number, 0.0) + b"{}")


HELLO = message(SYNC, version=1, phase="running")


async def play(outcome: DummyOutcome) -> list[Any]:
    sandboxes = DummySandboxes(lambda spec, job: outcome)
    session = await Session.start(await sandboxes.open(SPEC), JOB)
    return [event async for event in session]


async def test_a_session_yields_every_event() -> None:
    """Started, output of both streams, cell events, exit; then the iteration ends."""
    events = await play(DummyOutcome(stdout=LONG, stderr=b"oh", events=(b"{}", b"[]"), exit_code=3))
    assert isinstance(events[0], ScriptStarted)
    assert b"".join(e.data for e in events if isinstance(e, ScriptOutput) and e.stream == "stdout") == LONG
    assert b"".join(e.data for e in events if isinstance(e, ScriptOutput) and e.stream == "stderr") == b"oh"
    assert [(e.number, e.data) for e in events if isinstance(e, CellRunnerEvent)] == [(0, b"{}"), (1, b"[]")]
    assert isinstance(events[-1], Exited)
    assert (events[-1].exit_code, events[-1].reason) == (3, "exited")


async def test_a_sandbox_that_ends_without_an_exit_has_vanished() -> None:
    """The end of the channel is passed on; output before it still counts."""
    events = await play(DummyOutcome(stdout=b"before", vanishes=True, oom=True))
    assert [e.data for e in events if isinstance(e, ScriptOutput)] == [b"before"]
    assert events[-1] == Vanished(exit_code=137, oom_killed=True)


async def test_a_stop_comes_back_as_an_exit() -> None:
    """A hanging script ends on a stop."""
    sandboxes = DummySandboxes(lambda spec, job: DummyOutcome(hangs=True))
    session = await Session.start(await sandboxes.open(SPEC), JOB)
    assert isinstance(await anext(session), ScriptStarted)
    await session.stop()
    ended = await anext(session)
    assert isinstance(ended, Exited)
    assert ended.reason == "stopped"
    with pytest.raises(StopAsyncIteration):
        await anext(session)


async def test_a_later_session_resumes_where_the_first_published() -> None:
    """Output above the acknowledged offsets is repeated, and nothing below them."""
    sandboxes = DummySandboxes(lambda spec, job: DummyOutcome(stdout=LONG, events=(b"1", b"2", b"3")))
    await Session.start(await sandboxes.open(SPEC), JOB)
    (held,) = await sandboxes.held()
    session = await Session.resume(await sandboxes.attach(held), Offsets(stdout=100_000, events=2))
    assert session.phase == "exited"
    events = [event async for event in session]
    assert b"".join(e.data for e in events if isinstance(e, ScriptOutput)) == LONG[100_000:]
    assert next(e.offset for e in events if isinstance(e, ScriptOutput)) == 100_000
    assert [e.data for e in events if isinstance(e, CellRunnerEvent)] == [b"3"]


async def test_repeated_output_is_cut_and_missing_output_is_an_error() -> None:
    """A session never yields a byte twice, and never skips one silently."""
    line = Line()
    session = await Session.start(line, JOB)
    line.say(HELLO, output(0, b"abc"), output(0, b"abc"), output(1, b"bcde"), output(9, b"z"))
    assert [(await anext(session)).data for _ in range(2)] == [b"abc", b"de"]  # type: ignore[union-attr]
    with pytest.raises(SessionError, match="missing"):
        await anext(session)


async def test_output_that_is_no_longer_stored_is_not_awaited() -> None:
    """The bus may have dropped what a former session acknowledged: a resumed one begins where there is output.
    Later gaps are errors there, too.
    """
    line = Line()
    resuming = asyncio.create_task(Session.resume(line, Offsets()))
    while not line.heard:
        await asyncio.sleep(0)
    line.say(HELLO, output(7, b"abc"), output(0, b"de", stream=2), event(4), output(10, b"f"), event(5), event(7))
    session = await resuming
    heard = [await anext(session) for _ in range(5)]
    assert [(e.stream, e.offset, e.data) for e in heard if isinstance(e, ScriptOutput)] == [
        ("stdout", 7, b"abc"),
        ("stderr", 0, b"de"),
        ("stdout", 10, b"f"),
    ]
    assert [e.number for e in heard if isinstance(e, CellRunnerEvent)] == [4, 5]
    with pytest.raises(SessionError, match="missing"):
        await anext(session)


async def test_an_attach_by_another_runner_ends_the_session() -> None:
    """It reads the mark of the other attach."""
    line = Line()
    session = await Session.start(line, JOB)
    line.say(HELLO)
    line.say(HELLO, nonce="ab" * 16)
    with pytest.raises(Superseded):
        await anext(session)


@pytest.mark.parametrize(
    "nonsense",
    [
        frame(ord("?"), b""),
        frame(EXIT, b"{}"),
        frame(EXIT, b"no json"),
        frame(OUTPUT, b"short"),
        output(0, b"x", stream=9),
        message(SYNC, version=2, phase="running"),
        b"X\xff\xff\xff\xff",
    ],
)
async def test_bytes_that_are_not_a_frame_are_an_error(nonsense: bytes) -> None:
    """They end the session with a typed error."""
    line = Line()
    session = await Session.start(line, JOB)
    line.say(HELLO, nonsense)
    with pytest.raises(SessionError):
        await anext(session)


async def test_a_cancelled_step_loses_nothing() -> None:
    """An iteration that was cancelled while it waited continues with the next event."""
    line = Line()
    session = await Session.start(line, JOB)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await anext(session)
    line.say(HELLO, output(0, b"still here"))
    event = await anext(session)
    assert isinstance(event, ScriptOutput)
    assert event.data == b"still here"


async def test_an_attach_without_a_response_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not wait forever."""
    monkeypatch.setattr("fastflow_runner.sandbox.session.SYNC_TIMEOUT_S", 0.0)
    with pytest.raises(Silent):
        await Session.resume(Line(), Offsets())


async def test_a_job_that_does_not_fit_is_refused_before_it_is_sent() -> None:
    """An environment larger than a frame is the caller's error, with a sentence."""
    line = Line()
    with pytest.raises(JobTooLarge, match="files"):
        await Session.start(line, SandboxJob(argv=("x",), cwd="p", env={"BIG": "x" * FRAME_BYTES_MAX}))
    assert [kind for kind, _ in line.heard] == [ATTACH]


async def test_the_dummy_keeps_the_contract() -> None:
    """One sandbox for each name, found again with its labels, gone after remove, which may be repeated."""
    sandboxes = DummySandboxes(lambda spec, job: DummyOutcome(hangs=True))
    channel: Channel = await sandboxes.open(SPEC)
    with pytest.raises(AlreadyExists):
        await sandboxes.open(SPEC)
    (held,) = await sandboxes.held()
    assert (held.name, held.labels, held.running) == ("ff-1", {"fastflow.run": "1"}, True)
    session = await Session.start(channel, JOB)
    await anext(session)
    with pytest.raises(Detached):
        await channel.wait()
    await sandboxes.remove("ff-1")
    await sandboxes.remove("ff-1")
    assert await anext(session) == Vanished(exit_code=137, oom_killed=False)
    with pytest.raises(Missing):
        await sandboxes.attach(held)
