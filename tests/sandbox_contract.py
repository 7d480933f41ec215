"""What every sandbox that runs something must keep, as tests to inherit. pytest collects nothing here by itself."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from fastflow_contracts.pipelines.folder.bundle import Bundle, File, pack
from fastflow_runner.guest.supervisor import pipes
from fastflow_runner.guest.supervisor.frames import (
    ATTACH,
    BEAT,
    EXIT,
    JOB,
    ORPHANED_EXIT_CODE,
    WINDOW_BYTES,
    mark,
    message,
)
from fastflow_runner.sandbox import AlreadyExists, Channel, Missing, Sandboxes, SandboxSpec
from fastflow_runner.sandbox.events import (
    CellRunnerEvent,
    Event,
    Exited,
    Offsets,
    ScriptOutput,
    ScriptStarted,
    UsageSample,
    Vanished,
)
from fastflow_runner.sandbox.job import JobFile, SandboxJob
from fastflow_runner.sandbox.session import Session

PATIENCE_S = 20.0
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


class SandboxContract:
    """Tests of any backend. A subclass provides the fixture ``place``."""

    async def test_prints_before_a_failure_come_before_its_traceback(self, place: Place) -> None:
        """Even though a line and its end are written one after the other."""
        code = """
            import sys, time
            for number in range(30):
                sys.stdout.write(f"out {number}"); sys.stdout.flush()
                time.sleep(0.0002)
                sys.stdout.write("\\n"); sys.stdout.flush()
                sys.stderr.write(f"err {number}\\n"); sys.stderr.flush()
                time.sleep(0.005)
        """
        session, channel = await place.start(code)
        begun, whole = {"stdout": b"", "stderr": b""}, list[bytes]()
        async for event in session:
            if isinstance(event, ScriptOutput):
                *lines, begun[event.stream] = (begun[event.stream] + event.data).split(b"\n")
                whole += lines
        await channel.close()
        for number in range(30):
            assert whole.index(b"out %d" % number) < whole.index(b"err %d" % number)

    async def test_many_lines_arrive_in_order(self, place: Place) -> None:
        """Two hundred thousand lines come out byte for byte."""
        transcript = await place.run(LINES.format(count=200_000), argv=("{python}", "main.py"))
        assert transcript.stdout == lines(200_000)
        assert transcript.exited.exit_code == 0

    async def test_fast_lines_are_sent_together(self, place: Place) -> None:
        """Written one by one, and read at intervals: a flood of lines is not a flood of frames."""
        session, channel = await place.start(LINES.format(count=50_000))
        frames: list[ScriptOutput] = []
        async with asyncio.timeout(PATIENCE_S):
            async for event in session:
                if isinstance(event, ScriptOutput):
                    frames.append(event)
                    await session.ack(Offsets(stdout=event.offset + len(event.data)))
        await channel.close()
        assert b"".join(frame.data for frame in frames) == lines(50_000)
        took_s = (frames[-1].at - frames[0].at).total_seconds()
        large = sum(len(frame.data) >= pipes.GATHER_BYTES for frame in frames)
        assert len(frames) - large <= took_s / pipes.GATHER_S + 3  # the end does not wait

    async def test_one_line_of_any_length(self, place: Place) -> None:
        """A line of 20 MB needs no newline to pass, and no buffer of its size."""
        source = "import sys; sys.stdout.write('x' * 20_000_000)"
        transcript = await place.run(source)
        assert hashlib.sha256(transcript.stdout).digest() == hashlib.sha256(b"x" * 20_000_000).digest()

    async def test_bytes_are_not_text(self, place: Place) -> None:
        """Random bytes on both streams, without a final newline, are neither decoded nor changed."""
        transcript = await place.run(
            """
            import random, sys
            dice = random.Random(7)
            for _ in range(300):
                sys.stdout.buffer.write(dice.randbytes(999)); sys.stderr.buffer.write(b"\\xff\\x00\\r" * 33)
            """
        )
        import random

        dice = random.Random(7)
        assert transcript.stdout == b"".join(dice.randbytes(999) for _ in range(300))
        assert transcript.stderr == b"\xff\x00\r" * 33 * 300

    async def test_a_script_is_run_as_python_would(self, place: Place) -> None:
        """Folder as working directory, siblings importable, argv, environment, closed stdin, own session."""
        channel = await place.open(env={"FROM_SPEC": "spec"})
        bundle = pack(
            {
                "main.py": File(
                    b"import json, os, sys, sub.helper\n"
                    b"print(json.dumps([sys.argv, __name__, os.path.basename(os.getcwd()), dict(os.environ),"
                    b" sys.stdin.read(), os.getsid(0) == os.getpid(), os.access('tool', os.X_OK)]))\n"
                    b"open('new', 'w').close()\n"
                ),
                "sub/helper.py": File(b""),
                "tool": File(b"#!/bin/sh\n", executable=True),
            }
        )
        job = a_job(
            argv=("{python}", "main.py", "-x"),
            env={"SECRET": "s3", "PATH": "/usr/bin:/bin"},
            files=(JobFile("EVENT_FILE", "event.json", b"\x00 body"), JobFile("EMPTY", "empty", b"")),
        )
        session = await Session.start(channel, job, bundle)
        transcript = await listen(session)
        assert transcript.stderr == b""
        argv, name, cwd, env, stdin, leads, executable = json.loads(transcript.stdout)
        assert (argv, name, cwd, stdin, leads, executable) == (
            ["main.py", "-x"],
            "__main__",
            "pipeline",
            "",
            True,
            True,
        )
        assert env["SECRET"] == "s3"
        assert env["FROM_SPEC"] == "spec"
        assert env["PATH"] == "/usr/bin:/bin"
        assert Path(env["EVENT_FILE"]).name == "event.json"
        await channel.close()

    async def test_large_environments_arrive(self, place: Place) -> None:
        """As many as allowed, in any language, up to the system's limit for a program."""
        env = {f"LARGE_{number}": f"{number:03d}" + "ä" * 16_381 for number in range(40)} | {
            "ESCAPED": '"\\\n\x01' * 4_000
        }
        transcript = await place.run(
            """
            import hashlib, os
            found = sorted(entry for entry in os.environ.items() if entry[0].startswith(("LARGE_", "ESCAPED")))
            print(hashlib.sha256(repr(found).encode()).hexdigest())
            """,
            env=env,
        )
        assert transcript.stderr == b""
        assert transcript.stdout.decode().strip() == hashlib.sha256(repr(sorted(env.items())).encode()).hexdigest()

    @pytest.mark.parametrize(
        ("env", "message"),
        [
            (
                {f"LARGE_{n}": "🙂" * 16_384 for n in range(100)},
                r"variables and its arguments take 6,5\d\d,\d{3} bytes",
            ),
            ({"SMALL": "x", "LARGE": "ä" * 70_000}, r"the variable LARGE takes 140,007 bytes.* at most 131,072;"),
        ],
        ids=["in-all", "in-one"],
    )
    async def test_what_is_too_large_for_the_system_is_named(
        self, place: Place, env: dict[str, str], message: str
    ) -> None:
        """Variables too large to start any program fail the run, with the limit and a way out."""
        exited = (await place.run("print('never')", env=env)).exited
        assert (exited.exit_code, exited.reason) == (126, "setup_error")
        assert re.search(message, exited.message)
        assert re.search(r"Linux accepts at most [\d,]+; pass large values as files", exited.message)

    async def test_output_survives_a_change_of_runners(self, place: Place) -> None:
        """A runner that drops its connection during output loses and doubles nothing for the next one."""
        session, channel = await place.start(LINES.format(count=40_000), argv=("{python}", "main.py"))
        published = Transcript()
        for limit in (300_000, 1_500_000, 2_500_000):
            await listen(session, published, until=lambda t, n=limit: len(t.stdout) > n)
            # Data that was received and not published is lost with the runner; the supervisor must send it again.
            unpublished = Transcript(published.offsets)
            await listen(session, unpublished, until=lambda t: len(t.stdout) > 200_000, acknowledge=False)
            session, channel = await place.again(channel, published.offsets)
        await listen(session, published)
        assert published.stdout == lines(40_000)
        assert published.exited.exit_code == 0
        assert len(published.all(ScriptStarted)) == 4, "every session learns that the script runs"
        await channel.close()

    async def test_an_exit_waits_for_the_runner_that_records_it(self, place: Place) -> None:
        """An exit that no runner has recorded is sent again to each one that attaches."""
        session, channel = await place.start("import sys; print('last words'); sys.exit(5)")
        first = await listen(session, acknowledge=False)
        session, channel = await place.again(channel, NOTHING)
        second = await listen(session, acknowledge=False)
        assert session.phase == "exited"
        assert (second.stdout, second.exited) == (first.stdout, first.exited)
        assert second.exited.exit_code == 5
        session, channel = await place.again(channel, second.offsets)
        assert (await listen(session)).stdout == b"", "what is acknowledged is not repeated"
        await channel.close()

    async def test_a_script_blocks_while_its_output_is_not_acknowledged(self, place: Place) -> None:
        """Unacknowledged output is bounded: at the window the script stops, and continues when there is room."""
        session, channel = await place.start(
            """
            import os
            for megabyte in range(4):
                os.write(1, b"x" * 1_000_000)
                os.write(2, b"%d" % megabyte)
            """,
            sample_s=0.05,
        )
        seen = Transcript()

        # Samples after the last output: nothing moves any more.
        def blocked(transcript: Transcript) -> bool:
            return len(transcript.stdout) >= 900_000 and len(transcript.all(UsageSample)) > 20

        await listen(session, seen, until=blocked, acknowledge=False)
        assert len(seen.stdout) < WINDOW_BYTES + pipes.READ_BYTES
        assert seen.stderr == b"0"[: len(seen.stderr)]
        await session.ack(seen.offsets)
        await listen(session, seen)
        assert (len(seen.stdout), seen.stderr) == (4_000_000, b"0123")
        await channel.close()

    async def test_a_waiting_sandbox_can_get_its_job_from_another_runner(self, place: Place) -> None:
        """If a runner dies before or during the handover, the next one hands over the whole job."""
        channel = await place.open()
        half = message(JOB, argv=["{python}", "-c", "print('wrong')"])[:-3]
        attach = message(ATTACH, nonce="00" * 16, acked={"stdout": 0, "stderr": 0, "events": 0})
        await channel.send(mark(channel.token) + attach + half)
        session, channel = await place.again(channel, NOTHING)
        assert session.phase == "waiting"
        await session.hand_over(a_job(), script("print('right')"))
        assert (await listen(session)).stdout == b"right\n"
        await channel.close()

    async def test_a_waiting_sandbox_ends_without_a_runner(self, place: Place) -> None:
        """An empty sandbox whose runner has died does not stay for ever."""
        channel = await place.open()
        session = await Session.resume(channel, NOTHING)
        await session.beat(dead_after_s=0.3)
        async with asyncio.timeout(10):
            assert [event async for event in session] == [Vanished(ORPHANED_EXIT_CODE, oom_killed=False)]
        await channel.close()

    async def test_a_supervisor_ignores_what_it_does_not_know(self, place: Place) -> None:
        """A runner of another version may send more."""
        session, channel = await place.start("print('done')")
        await channel.send(message(ord("Q")) + message(BEAT, unheard_of=1))
        transcript = await listen(session)
        assert transcript.stdout == b"done\n"
        await channel.send(message(ord("Q")))
        session, channel = await place.again(channel, transcript.offsets)
        assert (await listen(session)).exited == transcript.exited
        await channel.close()

    async def test_a_second_job_is_ignored(self, place: Place) -> None:
        """A sandbox runs one job in its life, whichever runner sends another."""
        channel = await place.open()
        session = await Session.start(channel, a_job(), script("print('first', input.__name__)"))
        transcript = await listen(session, until=lambda t: bool(t.all(ScriptStarted)))
        await session.hand_over(a_job(), script("print('second')"))
        assert (await listen(session, transcript)).stdout == b"first input\n"
        assert transcript.exited.reason == "exited"
        await channel.close()

    @pytest.mark.parametrize(
        ("ending", "exit_code", "signal"),
        [("sys.exit(3)", 3, 0), ("os.kill(os.getpid(), 9)", 137, 9), ("sys.exit(137)", 137, 0), ("1/0", 1, 0)],
    )
    async def test_exit_codes_are_those_of_a_shell(
        self, place: Place, ending: str, exit_code: int, signal: int
    ) -> None:
        """The script's own code, or 128 plus the signal; the report distinguishes the two."""
        transcript = await place.run(f"import os, sys; {ending}")
        exited = transcript.exited
        assert (exited.exit_code, exited.signal, exited.reason) == (exit_code, signal, "exited")
        assert not transcript.exited.oom

    async def test_the_timeout_counts_user_code_only(self, place: Place) -> None:
        """A script beyond its time gets SIGTERM and may still clean up."""
        transcript = await place.run(
            """
            import signal, sys, time
            def leave(*_): print("cleaned up"); sys.exit(4)
            signal.signal(signal.SIGTERM, leave)
            time.sleep(60)
            """,
            timeout_s=0.4,
        )
        assert transcript.stdout == b"cleaned up\n"
        assert (transcript.exited.exit_code, transcript.exited.reason) == (4, "timeout")
        (started,) = transcript.all(ScriptStarted)
        assert 0.4 <= (transcript.exited.at - started.at).total_seconds() < 5

    async def test_a_script_that_will_not_stop_is_killed(self, place: Place) -> None:
        """After the grace time SIGKILL ends what ignores SIGTERM; the exit code is 137."""
        session, channel = await place.start(
            "import signal, time; signal.signal(15, signal.SIG_IGN); print('up'); time.sleep(60)", grace_s=0.3
        )
        transcript = await listen(session, until=lambda t: t.stdout == b"up\n")
        await session.stop()
        await listen(session, transcript)
        assert (transcript.exited.exit_code, transcript.exited.reason) == (137, "stopped")
        await channel.close()

    async def test_a_stop_before_the_start_starts_nothing(self, place: Place) -> None:
        """A run that is cancelled before its code has arrived never starts."""
        channel = await place.open()
        session = await Session.resume(channel, NOTHING)
        await session.stop()
        await session.hand_over(a_job(), script("print('no')"))
        transcript = await listen(session)
        assert transcript.stdout == b""
        assert transcript.exited.reason == "stopped"
        await channel.close()

    async def test_nothing_survives_the_script(self, place: Place) -> None:
        """Children left behind, even in sessions of their own, are gone when the exit is reported."""
        session, channel = await place.start(
            """
            import subprocess, sys
            code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
            for detached in (False, True):
                command = [sys.executable, "-c", code]
                child = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=detached)
                child.stdout.readline()
            subprocess.Popen(["sh", "-c", "sleep 60 & sleep 60"], start_new_session=True)
            print("parent leaves")
            """
        )
        transcript = await listen(session, until=lambda t: bool(t.all(ScriptStarted)))
        await listen(session, transcript)
        assert transcript.stdout == b"parent leaves\n"
        assert transcript.exited.exit_code == 0
        assert await self.processes(place, channel) == 1, "only the supervisor is left"
        await channel.close()

    async def processes(self, place: Place, channel: Channel) -> int:
        """Return how many processes the sandbox has, its supervisor included."""
        raise NotImplementedError

    async def test_the_last_output_is_read_after_the_end(self, place: Place) -> None:
        """Output left in the pipe when a script ends is not lost, however long there is no room for it."""
        size = WINDOW_BYTES + 40_000
        session, channel = await place.start(f"import os; os.write(1, b'x' * {size})")
        async with asyncio.timeout(PATIENCE_S):
            while session.phase != "draining":
                session, channel = await place.again(channel, NOTHING)
        transcript = await listen(session)
        assert len(transcript.stdout) == size
        await channel.close()

    async def test_descriptors_give_no_access_to_the_supervisor(self, place: Place) -> None:
        """Frames written to any descriptor of a script arrive as output, or not at all; nor do signals stop it."""
        forged = message(
            EXIT,
            exit_code=0,
            reason="exited",
            oom=False,
            message="forged",
            at=0,
            memory_peak_bytes=0,
            cpu_s=0,
        )
        transcript = await place.run(
            f"""
            import os, sys
            for number in range(1, 256):
                try: os.write(number, {forged!r})
                except OSError: pass
            for number in (1, 2, 15): os.kill(os.getppid(), number)
            sys.exit(9 if len(os.listdir("/proc/self/fd")) == 4 else 1)  # 0, 1, 2, and the listing's own
            """
        )
        assert transcript.exited.exit_code == 9
        assert (transcript.stdout, transcript.stderr) == (forged, forged)

    async def test_without_a_runner_the_script_is_stopped(self, place: Place) -> None:
        """Without a beat for its time the script is stopped, and the supervisor ends with its own code."""
        session, channel = await place.start("import time; time.sleep(60)", dead_after_s=0.5)
        transcript = await listen(session)
        assert (transcript.exited.exit_code, transcript.exited.reason) == (143, "orphaned")
        assert (await channel.wait()).exit_code == ORPHANED_EXIT_CODE
        await channel.close()

    async def test_beats_keep_a_script_alive(self, place: Place) -> None:
        """With beats it lives longer than without; a beat may also change the time."""
        session, channel = await place.start("import time; time.sleep(1.2)", dead_after_s=0.6, sample_s=0.1)
        transcript = Transcript()
        async with asyncio.timeout(PATIENCE_S):
            async for event in session:
                transcript.add(event)
                if isinstance(event, UsageSample):
                    await session.beat()
        assert transcript.exited.reason == "exited"
        await channel.close()

    async def test_short_memory_is_137_and_reported(self, place: Place) -> None:
        """A script above its memory limit ends with 137 and the mark of memory."""
        transcript = await place.run(
            """
            import time
            hoard = []
            while True: hoard.append(b"x" * 4_000_000); time.sleep(0.005)
            """,
            channel=await place.open(memory_bytes=100_000_000),
            memory_bytes=100_000_000,
        )
        assert transcript.exited.exit_code == 137
        assert transcript.exited.oom
        assert transcript.exited.memory_peak_bytes >= 90_000_000

    async def test_usage_is_measured(self, place: Place) -> None:
        """Samples report the cores and the memory of the whole tree; the exit sums them up."""
        transcript = await place.run(
            """
            import subprocess, sys, time
            # Until it used its share of a processor, however busy the machine is.
            busy = "import time; hoard = b'x' * 50_000_000\\nwhile time.process_time() < 1.0: pass"
            subprocess.run([sys.executable, "-c", busy])
            """,
            sample_s=0.3,
            memory_bytes=500_000_000,
            channel=await place.open(memory_bytes=500_000_000),
        )
        samples = transcript.all(UsageSample)
        assert any(sample.cpu_cores > 0.05 for sample in samples)
        assert any(sample.memory_bytes > 50_000_000 for sample in samples)
        assert {sample.memory_limit_bytes // 4096 for sample in samples} == {500_000_000 // 4096}
        assert transcript.exited.cpu_s > 0.5
        assert 50_000_000 < transcript.exited.memory_peak_bytes < 400_000_000

    async def test_a_failed_start_says_why(self, place: Place) -> None:
        """An unknown command, a bundle with another hash: reported within a second, as the shell's 127 and 126."""
        missing = await place.run("", argv=("no-such-command",))
        assert (missing.exited.exit_code, missing.exited.reason) == (127, "setup_error")
        assert "no-such-command" in missing.exited.message

        channel = await place.open()
        bundle = msgspec.structs.replace(script("print('no')"), sha256="0" * 64)
        session = await Session.start(channel, a_job(), bundle)
        other = await listen(session)
        assert (other.exited.exit_code, other.exited.reason) == (126, "setup_error")
        assert other.stdout == b""
        assert not other.all(ScriptStarted)
        await channel.close()

    async def test_cell_events_pass_beside_the_output(self, place: Place) -> None:
        """A script with the event descriptor sends lines of JSON; they are numbered and acknowledged."""
        transcript = await place.run(
            """
            import os
            events = int(os.environ["FASTFLOW_CELL_EVENTS_FD"])
            for number in range(100): os.write(events, b'{"cell": %d}\\n' % number)
            os.write(events, b"x" * 600_000 + b"\\n" + b'{"after": "one that was too long"}\\n')
            """,
            cell_events=True,
        )
        events = transcript.all(CellRunnerEvent)
        assert [event.data for event in events[:100]] == [b'{"cell": %d}' % number for number in range(100)]
        assert events[100].data == b'{"after": "one that was too long"}'
        assert len(events) == 101

    async def test_a_sandbox_killed_from_outside_has_vanished(self, place: Place) -> None:
        """Without an exit there is no exit code of the script, only the end of the place."""
        session, channel = await place.start("import time; print('up'); time.sleep(60)")
        transcript = await listen(session, until=lambda t: t.stdout == b"up\n")
        await self.kill(place, channel)
        await listen(session, transcript)
        assert transcript.last == Vanished(exit_code=137, oom_killed=False)
        await session.beat()
        await session.stop()
        await channel.close()

    async def kill(self, place: Place, channel: Channel) -> None:
        """SIGKILL to the supervisor, from outside."""
        raise NotImplementedError

    async def test_a_name_is_taken_once(self, place: Place) -> None:
        """A second sandbox of a name is refused until the first is removed; removing twice does no harm."""
        spec = place.spec()
        channel = await place.sandboxes.open(spec)
        with pytest.raises(AlreadyExists):
            await place.sandboxes.open(spec)
        assert [held.name for held in await place.sandboxes.held()] == [spec.name]
        await channel.close()
        await place.sandboxes.remove(spec.name)
        await place.sandboxes.remove(spec.name)
        assert await place.sandboxes.held() == ()
        await (await place.sandboxes.open(spec)).close()

    async def test_labels_come_back(self, place: Place) -> None:
        """A later runner finds what a sandbox was opened with; one that is gone is Missing."""
        channel = await place.open(labels={"fastflow.run": "r1", "fastflow.epoch": "7"})
        (held,) = await place.sandboxes.held()
        assert (held.labels["fastflow.run"], held.labels["fastflow.epoch"], held.running) == ("r1", "7", True)
        await channel.close()
        await place.sandboxes.remove(held.name)
        with pytest.raises(Missing):
            await place.sandboxes.attach(held)

    async def test_each_starts_clean(self, place: Place) -> None:
        """A run does not find what another one wrote."""
        source = """
            import os, pathlib, tempfile
            spots = [pathlib.Path(tempfile.gettempdir(), "mark"), pathlib.Path.home() / "mark"]
            print([spot.exists() for spot in spots])
            for spot in spots: spot.write_text("here")
        """
        first = await place.run(source)
        second = await place.run(source)
        assert first.stdout == second.stdout == b"[False, False]\n"
