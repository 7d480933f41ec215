"""How a script ends, what is reported, and that nothing is left behind."""

from __future__ import annotations

import pytest

from fastflow_runner.sandbox import Channel
from fastflow_runner.sandbox.events import (
    ScriptStarted,
    Vanished,
)
from tests.sandbox_contract.place import Place, listen


class EndContract:
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
        """A script beyond its time gets SIGTERM and may clean up."""
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
        assert (transcript.exited.at - started.at).total_seconds() >= 0.4

    async def test_a_script_that_will_not_stop_is_killed(self, place: Place) -> None:
        """After the grace time SIGKILL ends a script that ignores SIGTERM; the exit code is 137."""
        session, channel = await place.start(
            "import signal, time; signal.signal(15, signal.SIG_IGN); print('up'); time.sleep(60)", grace_s=0.3
        )
        transcript = await listen(session, until=lambda t: t.stdout == b"up\n")
        await session.stop()
        await listen(session, transcript)
        assert (transcript.exited.exit_code, transcript.exited.reason) == (137, "stopped")
        await channel.close()

    async def test_nothing_survives_the_script(self, place: Place) -> None:
        """Child processes, even in other sessions, are gone when the exit is reported."""
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

    async def test_a_sandbox_killed_from_outside_has_vanished(self, place: Place) -> None:
        """There is no exit code of the script, only the end of the sandbox."""
        session, channel = await place.start("import time; print('up'); time.sleep(60)")
        transcript = await listen(session, until=lambda t: t.stdout == b"up\n")
        await self.kill(place, channel)
        await listen(session, transcript)
        assert transcript.last == Vanished(exit_code=137, oom_killed=False)
        await session.beat()
        await session.stop()
        await channel.close()

    async def kill(self, place: Place, channel: Channel) -> None:
        """Send SIGKILL to the supervisor, from outside."""
        raise NotImplementedError
