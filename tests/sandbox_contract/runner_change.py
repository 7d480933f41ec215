"""A sandbox outlives its runner: another one attaches, or the sandbox ends by itself."""

from __future__ import annotations

import asyncio

from fastflow_runner.guest.supervisor.frames import (
    ATTACH,
    BEAT,
    JOB,
    ORPHANED_EXIT_CODE,
    mark,
    message,
)
from fastflow_runner.sandbox.events import (
    ScriptStarted,
    UsageSample,
    Vanished,
)
from fastflow_runner.sandbox.session import Session
from tests.sandbox_contract.place import LINES, NOTHING, PATIENCE_S, Place, Transcript, a_job, lines, listen, script


class RunnerChangeContract:
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
        """An empty sandbox whose runner has died ends by itself."""
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

    async def test_without_a_runner_the_script_is_stopped(self, place: Place) -> None:
        """Without heartbeats for its time, the script is stopped, and the supervisor ends with its own code."""
        session, channel = await place.start("import time; time.sleep(60)", dead_after_s=0.5)
        transcript = await listen(session)
        assert (transcript.exited.exit_code, transcript.exited.reason) == (143, "orphaned")
        assert (await channel.wait()).exit_code == ORPHANED_EXIT_CODE
        await channel.close()

    async def test_heartbeats_keep_a_script_alive(self, place: Place) -> None:
        """A heartbeat may also change the time."""
        session, channel = await place.start("import time; time.sleep(1.2)", dead_after_s=0.6, sample_s=0.1)
        transcript = Transcript()
        async with asyncio.timeout(PATIENCE_S):
            async for event in session:
                transcript.add(event)
                if isinstance(event, UsageSample):
                    await session.beat()
        assert transcript.exited.reason == "exited"
        await channel.close()
