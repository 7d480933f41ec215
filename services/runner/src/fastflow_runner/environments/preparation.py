"""One preparation shared by several runs: its task, and its output for each of them from the start. No I/O."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Final

from fastflow_runner.guest.prepare.steps import MADE_WITH
from fastflow_runner.guest.prepare.tree import WITHOUT_INTERPRETER

SAID_LINES_MAX: Final = 2000
LINE_CHARACTERS_MAX: Final = 2_000
LAST_LINES_MAX: Final = 20
LAST_CHARACTERS_MAX: Final = 8_000
"""The last lines become part of the run's record, which must fit into a bus message."""

_VERSION: Final = re.compile(r"\d+(\.\d+)*[0-9a-z.+]{0,20}")

Say = Callable[[str], Awaitable[None]]
"""Takes whole lines, without the last line end."""


class Words:
    """A preparer's output so far, line by line, and its last lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.python_version = ""
        """Of the interpreter in the environment; empty as long as it is not known."""
        self.without_interpreter: list[str] = []
        """Why uv has no interpreter of its own. Not among the lines."""
        self._last: deque[str] = deque(maxlen=LAST_LINES_MAX)
        self._news = asyncio.Event()

    def add(self, line: str) -> None:
        """Add one line, a long one without its middle; beyond ``SAID_LINES_MAX`` only the last ones are remembered."""
        if line.startswith(MADE_WITH):
            self.python_version = as_version(line.removeprefix(MADE_WITH))
            return
        if line.startswith(WITHOUT_INTERPRETER):
            self.without_interpreter.append(line.removeprefix(WITHOUT_INTERPRETER))
            return
        line = _cut(line, LINE_CHARACTERS_MAX)
        self._last.append(line)
        if len(self.lines) < SAID_LINES_MAX:
            self.lines.append(line)
        elif len(self.lines) == SAID_LINES_MAX:
            self.lines.append("…")
        self.wake()

    def last(self) -> str:
        """The last lines, beginning with uv's error if it is among them."""
        lines = list(self._last)
        begin = next((n for n, line in enumerate(lines) if line.startswith(("error", "  ×"))), 0)
        return _cut("\n".join(lines[begin:]), LAST_CHARACTERS_MAX)

    async def news(self) -> None:
        """Wait for the next ``add`` or ``wake``."""
        await self._news.wait()

    def wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


class Preparation:
    """A shared task. It ends by itself, or when the last waiting caller leaves."""

    def __init__(self, steps: Callable[[Words], Coroutine[None, None, None]], *, name: str) -> None:
        self._words = Words()
        self._task = asyncio.create_task(steps(self._words), name=name)
        self._task.add_done_callback(lambda _: self._words.wake())
        self._waiting = 0

    @property
    def is_needless(self) -> bool:
        """Whether it is over, or no caller waits for it."""
        return self._task.done() or self._waiting == 0

    async def follow(self, say: Say) -> None:
        """Pass all output to *say*, from the beginning to the end. Raises what the task raised."""
        self._waiting += 1
        try:
            told = 0
            while True:
                # No output can arrive between this check and the wait: there is no other await in between.
                if told < len(self._words.lines):
                    fresh, told = self._words.lines[told:], len(self._words.lines)
                    await say("\n".join(fresh))
                elif self._task.done():
                    return self._task.result()
                else:
                    await self._words.news()
        finally:
            self._waiting -= 1

    async def give_up(self) -> None:
        """Cancel the task if it is not over, and wait for it."""
        if not self._task.done():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


def as_version(text: str) -> str:
    """Return *text* if it is a version of Python, else "": the code of a package may have written it."""
    return text if _VERSION.fullmatch(text) else ""


def _cut(text: str, characters_max: int) -> str:
    """Cut out the middle: the important part of an error is at its beginning or end."""
    if len(text) <= characters_max:
        return text
    half = characters_max // 2
    return f"{text[:half]}…{text[half + 1 - characters_max :]}"
