"""Output arrives complete, in order and unchanged, and its amount is bounded."""

from __future__ import annotations

import asyncio
import hashlib

from fastflow_runner.guest.supervisor import pipes
from fastflow_runner.guest.supervisor.frames import (
    EXIT,
    WINDOW_BYTES,
    message,
)
from fastflow_runner.sandbox.events import (
    CellRunnerEvent,
    Offsets,
    ScriptOutput,
    UsageSample,
)
from tests.sandbox_contract.place import LINES, NOTHING, PATIENCE_S, Place, Transcript, lines, listen


class OutputContract:
    async def test_prints_before_a_failure_come_before_its_traceback(self, place: Place) -> None:
        """Even if a line and its end are written one after the other."""
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

    async def test_a_line_may_have_any_length(self, place: Place) -> None:
        """A line of 20 MB needs no line break to pass, and no buffer of its size."""
        source = "import sys; sys.stdout.write('x' * 20_000_000)"
        transcript = await place.run(source)
        assert hashlib.sha256(transcript.stdout).digest() == hashlib.sha256(b"x" * 20_000_000).digest()

    async def test_output_may_be_any_bytes(self, place: Place) -> None:
        """Random bytes on both streams, without a final line break, are neither decoded nor changed."""
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

    async def test_the_last_output_is_read_after_the_end(self, place: Place) -> None:
        """Output in the pipe when a script ends is not lost, however long there is no room for it."""
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
