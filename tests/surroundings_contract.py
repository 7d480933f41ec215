"""What a script finds around it as on a laptop, and that nothing of it outlives a stop: tests to inherit."""

from __future__ import annotations

import pytest

from fastflow_runner.sandbox import MIB, Channel
from tests.sandbox_contract import Place, listen

LIMIT_BYTES = 128 * MIB

HOARDS = "x = bytearray(400 << 20); x[::4096] = b'1' * len(x[::4096]); import time; time.sleep(600)"

RESISTS = """
import multiprocessing, os, signal, subprocess, threading, time
if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.write(1, b"up")
    {}
    time.sleep(600)
"""


class SurroundingsContract:
    """A subclass provides the fixture ``place`` and says how many processes a sandbox has."""

    async def processes(self, place: Place, channel: Channel) -> int:
        """Return how many processes the sandbox has, its supervisor included."""
        raise NotImplementedError

    async def test_a_socket_has_room_in_a_temporary_directory(self, place: Place) -> None:
        """Wherever the data directory is: a path of a socket has at most 107 bytes."""
        transcript = await place.run(
            """
            import multiprocessing, os, socket, tempfile
            if __name__ == "__main__":
                path = os.path.join(tempfile.mkdtemp(), "a-name-of-a-server.sock")
                socket.socket(socket.AF_UNIX).bind(path)
                with multiprocessing.Manager() as manager:
                    print(dict(manager.dict(a=1)), len(path) < 108, oct(os.stat(tempfile.gettempdir()).st_mode))
            """
        )
        assert transcript.stderr == b""
        private = b"0o40700"
        shared = b"0o41777"  # in its own container
        assert transcript.stdout in (b"{'a': 1} True %s\n" % mode for mode in (private, shared))

    async def test_a_child_killed_for_memory_is_reported_and_the_script_goes_on(self, place: Place) -> None:
        """Only the process that is too large is killed, by the kernel or in its place."""
        transcript = await place.run(
            f"""
            import subprocess, sys
            child = subprocess.run([sys.executable, "-c", {HOARDS!r}])
            print("child", child.returncode); print("goes on")
            """,
            channel=await place.open(memory_bytes=LIMIT_BYTES),
            memory_bytes=LIMIT_BYTES,
        )
        assert transcript.stdout == b"child -9\ngoes on\n"
        assert (transcript.exited.exit_code, transcript.exited.oom) == (0, True)

    @pytest.mark.parametrize(
        "resists",
        [
            "pass",
            "os.close(1); os.close(2)",
            "os.kill(os.getpid(), signal.SIGSTOP)",
            "os.setsid() if os.fork() == 0 else None",
            "subprocess.Popen(['sh', '-c', 'trap \"\" TERM; sleep 600 & wait; sleep 600'], start_new_session=True)",
            "os.fork() or (os.setsid(), os.fork())",
            "threading.Thread(target=time.sleep, args=(600,)).start()",
            "multiprocessing.get_context('fork').Process(target=time.sleep, args=(600,)).start()",
            "[os.fork() for _ in range(5)]",
        ],
    )
    async def test_a_stop_ends_every_process(self, place: Place, resists: str) -> None:
        """For a script that does anything about signals, sessions, descriptors and children."""
        session, channel = await place.start(RESISTS.format(resists), grace_s=0.3)
        transcript = await listen(session, until=lambda t: t.stdout == b"up")
        await session.stop()
        await listen(session, transcript)
        assert (transcript.exited.exit_code, transcript.exited.reason) == (137, "stopped")
        assert await self.processes(place, channel) == 1, "only the supervisor is left"
        await channel.close()

    @pytest.mark.parametrize("resists", ["os.close(1); os.close(2); os.fork()", "os.kill(os.getpid(), signal.SIGSTOP)"])
    async def test_a_timeout_ends_every_process(self, place: Place, resists: str) -> None:
        """Also of a script that stops itself, however far it has come."""
        deaf = ("sh", "-c", "trap '' TERM; exec \"$@\"", "sh", "{python}", "-u", "main.py")
        session, channel = await place.start(RESISTS.format(resists), argv=deaf, grace_s=0.3, timeout_s=2.0)
        transcript = await listen(session)
        assert (transcript.exited.exit_code, transcript.exited.reason) == (137, "timeout")
        assert await self.processes(place, channel) == 1, "only the supervisor is left"
        await channel.close()
