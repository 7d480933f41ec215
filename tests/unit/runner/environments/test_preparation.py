"""The output of a preparation, and who receives it."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from fastflow_runner.environments import preparer
from fastflow_runner.environments.preparation import (
    LAST_CHARACTERS_MAX,
    LAST_LINES_MAX,
    LINE_CHARACTERS_MAX,
    SAID_LINES_MAX,
    Preparation,
    Words,
)
from fastflow_runner.sandbox.events import Vanished
from fastflow_runner.sandbox.session import Session


async def test_a_flood_of_output_is_bounded_and_its_end_is_kept() -> None:
    """Beyond the bound a mark replaces the rest; the last lines, where the error is, are kept."""
    words = Words()
    for number in range(SAID_LINES_MAX * 2):
        words.add(str(number))
    assert words.lines == [*map(str, range(SAID_LINES_MAX)), "…"]
    assert words.last().split("\n") == [str(SAID_LINES_MAX * 2 - n) for n in range(LAST_LINES_MAX, 0, -1)]


def test_long_lines_are_cut_in_the_middle() -> None:
    """A line, and the last lines together, have bounds; their beginning and end are kept."""
    words = Words()
    words.add("x" * LINE_CHARACTERS_MAX)
    words.add("begin" + "x" * 300_000 + "end")
    whole, cut = words.lines
    assert whole == "x" * LINE_CHARACTERS_MAX
    assert (cut[:5], cut[-3:], len(cut), cut.count("…")) == ("begin", "end", LINE_CHARACTERS_MAX, 1)
    for number in range(LAST_LINES_MAX):
        words.add(f"{number} {'x' * 300_000}")
    words.add("the end")
    assert words.last().startswith("1 x")
    assert words.last().endswith("x\nthe end")
    assert len(words.last()) == LAST_CHARACTERS_MAX


def test_the_last_lines_begin_with_the_error() -> None:
    """What uv said before it failed is left out."""
    words = Words()
    for line in ("Resolved 3 packages", "error: no", "  cause: because"):
        words.add(line)
    assert words.last() == "error: no\n  cause: because"


async def test_an_error_reaches_everyone_after_the_last_word() -> None:
    """Every follower, early or late, gets all output and then the error."""
    go = asyncio.Event()
    heard: list[list[str]] = [[], []]

    async def steps(words: Words) -> None:
        words.add("one")
        await go.wait()
        words.add("two")
        raise ValueError("no")

    async def follow(number: int) -> None:
        async def say(text: str) -> None:
            heard[number].append(text)
            go.set()

        with pytest.raises(ValueError, match="no"):
            await preparation.follow(say)

    preparation = Preparation(steps, name="test")
    await follow(0)
    assert preparation.is_needless
    await follow(1)
    assert heard == [["one", "two"], ["one\ntwo"]]


async def test_a_follower_that_fails_ends_alone() -> None:
    """If passing on the output fails, only that caller gets the error."""
    done = asyncio.Event()

    async def steps(words: Words) -> None:
        words.add("one")
        await done.wait()

    async def deaf(text: str) -> None:
        raise ConnectionError("the bus is away")

    async def say(text: str) -> None:
        done.set()

    preparation = Preparation(steps, name="test")
    with pytest.raises(ConnectionError):
        await preparation.follow(deaf)
    await preparation.follow(say)


async def test_giving_up_ends_the_steps() -> None:
    """The steps are cancelled, and have cleaned up when ``give_up`` returns."""
    begun, ended = asyncio.Event(), False

    async def steps(words: Words) -> None:
        nonlocal ended
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended = True

    preparation = Preparation(steps, name="test")
    await begun.wait()
    assert preparation.is_needless
    await preparation.give_up()
    assert ended


class _Over:
    """A session that is over at once."""

    def __aiter__(self) -> _Over:
        return self

    async def __anext__(self) -> Vanished:
        return Vanished(exit_code=1, oom_killed=False)


async def test_no_cancellation_is_lost_at_the_end_of_a_step() -> None:
    """Whenever it comes before the step is over, it ends the waiting task."""
    for turns in range(10):
        following = asyncio.create_task(preparer._follow(cast(Session, _Over()), Words()))
        for _ in range(turns):
            await asyncio.sleep(0)
        if following.done():
            break
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following
    assert turns > 1
