"""The contract on the files that a script leaves for its runner."""

from __future__ import annotations

import pytest

from fastflow_runner.sandbox.events import Answer
from fastflow_runner.sandbox.job import AnswerFile
from tests.sandbox_contract.place import NOTHING, Place, listen

ROUTE = AnswerFile(env="ROUTE_FILE", name="route", bytes_max=100)
PATH = "import os, sys, time\npath = os.environ['ROUTE_FILE']\n"


class AnswersContract:
    """Tests of any backend. A subclass provides the fixture ``place``."""

    @pytest.mark.parametrize(
        ("source", "answer"),
        [
            ("open(path, 'w').write('approved')", Answer(data=b"approved")),
            ("os.system('echo approved >> $ROUTE_FILE')", Answer(data=b"approved\n")),
            ("open(path, 'wb').write(bytes(range(100)))", Answer(data=bytes(range(100)))),
            ("open(path, 'wb').write(b'x' * 10_000_000)", Answer(data=b"x" * 101)),
            ("open(path, 'w').write('failed'); sys.exit(3)", Answer(data=b"failed")),
            ("open(path, 'w').write('killed'); os.kill(os.getpid(), 9)", Answer(data=b"killed")),
            ("pass", None),
            ("open(path, 'w').close()", None),
            ("os.rmdir(os.path.dirname(path))", None),
            ("os.mkfifo(path)", Answer(problem="it is not a regular file")),
            ("os.mkdir(path)", Answer(problem="it is not a regular file")),
            ("os.symlink('/dev/zero', path)", Answer(problem="it is a link")),
            ("os.symlink('/etc/passwd', path)", Answer(problem="it is a link")),
            (
                "import socket; os.chdir(os.path.dirname(path)); socket.socket(socket.AF_UNIX).bind('route')",
                Answer(problem="No such device or address"),
            ),
        ],
    )
    async def test_an_answer_is_what_the_file_holds_at_the_end(
        self, place: Place, source: str, answer: Answer | None
    ) -> None:
        """However the script ends. What is no plain file is named, and nothing waits for it."""
        transcript = await place.run(PATH + source, answers=(ROUTE,))
        assert transcript.exited.answers == ({} if answer is None else {"route": answer})
        assert transcript.exited.reason == "exited"

    async def test_an_answer_survives_the_time_limit(self, place: Place) -> None:
        """The script was stopped, but what it wrote is there."""
        source = PATH + "open(path, 'w').write('early')\ntime.sleep(600)"
        transcript = await place.run(source, answers=(ROUTE,), timeout_s=2.0, grace_s=1.0)
        assert (transcript.exited.reason, transcript.exited.answers) == ("timeout", {"route": Answer(data=b"early")})

    async def test_an_answer_waits_for_the_runner_that_records_it(self, place: Place) -> None:
        """It comes again to each runner that attaches, whole."""
        result = AnswerFile(env="ROUTE_FILE", name="result", bytes_max=64 * 1024)
        session, channel = await place.start(PATH + "open(path, 'w').write('x' * 65536)", answers=(result,))
        first = await listen(session, acknowledge=False)
        session, channel = await place.again(channel, NOTHING)
        second = await listen(session, acknowledge=False)
        assert first.exited.answers == second.exited.answers == {"result": Answer(data=b"x" * 65536)}
        await channel.close()
