"""Text without a newline is shown while its line is open: on the bus with each sandbox, and by the command."""

from __future__ import annotations

import asyncio
import subprocess
from contextlib import aclosing
from pathlib import Path

import pytest

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.feed import feed
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.logs import CHUNK, OpenText
from fastflow_contracts.runs.run import RunStatus
from fastflow_contracts.runs.state_machine import Cancel
from tests.support.installation import FASTFLOW, Installation, clean
from tests.support.system import RUN_S, system

WAITS = "import pathlib, sys, time\nprint('Connecting … ', end='')\nfor n in range(3):\n    {}\n"
UNTIL = "while not pathlib.Path({!r} + str(n)).exists(): time.sleep(0.01)\n    print(f'\\r{{n}}0%', end='')\n"


@pytest.mark.parametrize("sandbox", ["process", pytest.param("docker", marks=pytest.mark.docker)])
async def test_an_open_line_is_on_the_bus_before_it_ends(bus_url: str, tmp_path: Path, sandbox: str) -> None:
    """The script waits forever; only what is sent early can be seen. The stored line is what was written."""
    async with system(bus_url, tmp_path / "data", sandbox=sandbox) as made:
        main = "import sys, time\nsys.stdout.write('ok?')\nsys.stderr.write('\\r10%')\ntime.sleep(600)\n"
        await made.pipeline("open", main)
        ref = await made.start("open")
        shown: set[OpenText] = set()
        async with (
            asyncio.timeout(RUN_S),
            aclosing(feed(made.bus, streams.LOGS, subjects.logs_of(ref), after=0)) as log,
        ):
            async for batch in log:
                chunks = [CHUNK.decode(message.data) for message in batch.messages]
                shown |= {chunk.open for chunk in chunks if isinstance(chunk.open, OpenText)}
                if len(shown) == 2:
                    break
        assert shown == {OpenText(1, 0, "ok?"), OpenText(2, 0, "\r10%")}
        await made.bus.publish(subjects.command(ref), messages.CANCEL.encode(Cancel()))
        run = await made.end(ref)
        assert run.status is RunStatus.INTERRUPTED
        assert (await made.text(run), await made.text(run, "stderr")) == ("ok?", "\r10%")


def test_the_command_prints_an_open_line_as_it_grows(tmp_path: Path) -> None:
    """Each update lets the script continue, so each must have come; in the end the bytes are those of plain Python."""
    with Installation(tmp_path) as made:
        gate = str(tmp_path / "gate")
        made.add("bar", WAITS.format(UNTIL.format(gate)) + "print('\\ndone')\n")
        made.start()
        run = made.api("/api/pipelines/bar/run", {})["id"]
        command = [*FASTFLOW, "logs", run, "--follow"]
        with subprocess.Popen(command, cwd=tmp_path, env=clean({}), stdout=subprocess.PIPE) as following:
            assert following.stdout is not None
            read = b""
            for number, text in enumerate(["Connecting … ", "\r00%", "\r10%", "\r20%\ndone\n"]):
                while not read.endswith(text.encode()):
                    piece = following.stdout.read1()
                    assert piece, read
                    read += piece
                Path(f"{gate}{number}").touch()
            assert following.stdout.read() == b""
        whole = "Connecting … \r00%\r10%\r20%\ndone\n"
        assert read.decode() == whole
        again = subprocess.run(
            [*FASTFLOW, "logs", run], cwd=tmp_path, env=clean({}), stdout=subprocess.PIPE, check=True
        )
        assert again.stdout.decode() == whole
        assert made.stop() == 0
