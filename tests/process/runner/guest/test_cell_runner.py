"""The cell runner as a process with a real kernel, with and without a reader at its pipes."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from fastflow_contracts.runs.cells import EVENT, CellEvent, Noted, Raised, Wrote
from fastflow_runner.guest import cells
from fastflow_runner.guest.cells.report import WROTE_CHARACTERS_MAX
from tests.support.notebooks import only, statuses, text_of, written

READ_BYTES = 256 * 1024
STILL_S = 1.5
"""A cell without progress for this long counts as waiting."""
AHEAD_BYTES_MAX = 30_000_000
"""What may be between ``print`` and a reader: messages, their sockets, and the pipe."""
LINE = 10_000
FLOOD = (
    "import os\nfor number in range({lines}):\n    print('%09d' % number, 'x' * ({line} - 11))\n"
    "    if number % 10 == 9:\n        open('progress', 'w').write(str(number))\n"
)


class Running(NamedTuple):
    """A running cell runner: its output, its events, and its working directory."""

    process: asyncio.subprocess.Process
    events: int
    directory: Path

    async def progress(self) -> int:
        """Return how many lines the cell has written when it makes no more progress."""
        seen, last_at, loop = -1, 0.0, asyncio.get_running_loop()
        while seen < 0 or loop.time() - last_at < STILL_S:
            now = self.directory / "progress"
            number = int(now.read_text() or 0) if now.exists() else -1
            if number != seen:
                seen, last_at = number, loop.time()
            await asyncio.sleep(0.05)
        return seen

    async def read(self, *, exit_code: int = 0) -> tuple[list[str], list[CellEvent]]:
        """Read all its output to the end."""
        assert self.process.stdout is not None
        told = asyncio.create_task(asyncio.to_thread(_read_all, self.events))
        output = await self.process.stdout.read()
        lines = (await told).splitlines()
        assert await self.process.wait() == exit_code, output[-2000:]
        return output.decode().splitlines(), [EVENT.decode(line) for line in lines]


def _read_all(descriptor: int) -> bytes:
    data = b""
    while piece := os.read(descriptor, READ_BYTES):
        data += piece
    return data


@asynccontextmanager
async def running(directory: Path, *each: Any) -> AsyncIterator[Running]:
    """The cell runner with a notebook of these cells, on this interpreter, like its kernel.

    Its output is not read yet.
    """
    work = directory / "work"
    work.mkdir()
    (work / "main.ipynb").write_bytes(written(*each))
    orders = directory / "orders.json"
    orders.write_text(json.dumps({"python": sys.executable, "parameters": {}, "cells": [], "secrets": []}))
    read, write = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", str(Path(cells.__file__).parent)),
        cwd=work,
        env={"PATH": os.defpath, "FASTFLOW_CELL_EVENTS_FD": str(write), cells.ORDERS_FILE: str(orders)},
        pass_fds=(write,),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=READ_BYTES,
    )
    os.close(write)
    try:
        yield Running(process, read, work)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
        os.close(read)


async def test_a_cell_waits_while_its_output_is_not_read_and_loses_nothing(tmp_path: Path) -> None:
    """However much it prints, the amount ahead of the reader is bounded, and all of it arrives once it is read."""
    count = 3 * AHEAD_BYTES_MAX // LINE
    async with running(tmp_path, FLOOD.format(lines=count, line=LINE), "print('after')") as runner:
        assert 0 < await runner.progress() < AHEAD_BYTES_MAX // LINE
        lines, events = await runner.read()
    assert [int(line[:9]) for line in lines if line[:9].isdigit()] == list(range(count))
    assert statuses(events) == [(0, "SUCCESS"), (1, "SUCCESS")]
    assert text_of(events).endswith("after\n")
    assert sum(len(event.text) for event in only(Wrote, events)) == WROTE_CHARACTERS_MAX + len("after\n")
    (noted,) = only(Noted, events)
    assert "is left out here; see the log" in noted.text


async def test_output_that_bypasses_print_is_shown_once(tmp_path: Path) -> None:
    """Output of a child on the descriptor, and of a thread that an earlier cell has left behind."""
    thread = (
        "import os, threading\ngo, gone = threading.Event(), threading.Event()\n"
        "def late():\n    go.wait()\n    print('from a thread')\n    gone.set()\n"
        "threading.Thread(target=late).start()\nos.system('echo from a child; echo and an error >&2')"
    )
    async with running(tmp_path, thread, "go.set()\nprint(gone.wait())") as runner:
        lines, events = await runner.read()
    for text in ("from a child", "and an error", "from a thread"):
        assert lines.count(text) == 1, lines
    # The kernel reads what a child wrote in its own thread, perhaps a moment after the cell has ended.
    shown = sorted("".join(event.text for event in only(Wrote, events)).splitlines())
    assert shown == ["True", "and an error", "from a child", "from a thread"]


async def test_output_of_a_kernel_before_its_death_is_reported(tmp_path: Path) -> None:
    """Also if it was dead before its output was read."""
    dies = (
        f"import os, time\nfor number in range(12):\n    print('%09d' % number, 'x' * {LINE - 11})\n"
        "open('progress', 'w').write(str(os.getpid()))\ntime.sleep(0.5)\nos._exit(3)"
    )
    async with running(tmp_path, dies) as runner:
        pid = await runner.progress()
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            await asyncio.sleep(0.05)
        lines, events = await runner.read(exit_code=1)
    assert [int(line[:9]) for line in lines if line[:9].isdigit()] == list(range(12))
    assert len(text_of(events)) == 12 * LINE
    assert [raised.value for raised in only(Raised, events)] == ["the kernel ended with exit code 3"]


async def test_half_a_character_is_shown_as_an_escape(tmp_path: Path) -> None:
    """File names may contain it; the text beside it is not lost."""
    async with running(tmp_path, "print('before')\nprint('a\\udc80b')\nprint('after')") as runner:
        lines, events = await runner.read()
    assert text_of(events) == "before\na\\udc80b\nafter\n"
    assert lines[1:] == ["before", "a\\udc80b", "after"]


async def test_commands_of_a_cell_are_those_of_the_kernels_environment(tmp_path: Path) -> None:
    """`python` in a shell is the kernel's interpreter; what the sandbox has comes behind it."""
    ask = "import os, shutil\nprint(shutil.which('python'), os.environ['VIRTUAL_ENV'], os.environ['PATH'])"
    async with running(tmp_path, ask) as runner:
        lines, _ = await runner.read()
    bin_dir = Path(sys.executable).parent
    told = f"{bin_dir / 'python'} {bin_dir.parent} {bin_dir}{os.pathsep}{os.defpath}"
    assert any(told in line for line in lines), lines
