"""A job starts as it says, once, or fails with the reason."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import msgspec
import pytest

from fastflow_contracts.pipelines.folder.bundle import File, pack
from fastflow_runner.sandbox.events import (
    ScriptStarted,
)
from fastflow_runner.sandbox.job import JobFile
from fastflow_runner.sandbox.session import Session
from tests.sandbox_contract.place import NOTHING, Place, a_job, listen, script


class StartContract:
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
    async def test_variables_too_large_for_the_system_are_named(
        self, place: Place, env: dict[str, str], message: str
    ) -> None:
        """They fail the run, with the limit and a way out."""
        exited = (await place.run("print('never')", env=env)).exited
        assert (exited.exit_code, exited.reason) == (126, "setup_error")
        assert re.search(message, exited.message)
        assert re.search(r"Linux accepts at most [\d,]+; pass large values as files", exited.message)

    async def test_a_second_job_is_ignored(self, place: Place) -> None:
        """A sandbox runs one job in its life, whichever runner sends another."""
        channel = await place.open()
        session = await Session.start(channel, a_job(), script("print('first', input.__name__)"))
        transcript = await listen(session, until=lambda t: bool(t.all(ScriptStarted)))
        await session.hand_over(a_job(), script("print('second')"))
        assert (await listen(session, transcript)).stdout == b"first input\n"
        assert transcript.exited.reason == "exited"
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

    async def test_a_failed_start_says_why(self, place: Place) -> None:
        """An unknown command, or a bundle with another hash: reported within a second, as the shell's 127 and 126."""
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

    async def test_each_sandbox_starts_clean(self, place: Place) -> None:
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
