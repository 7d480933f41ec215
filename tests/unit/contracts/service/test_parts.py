"""A part of a service that fails starts again; it is degraded until it lasts, and the others do not notice."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable

import pytest

from fastflow_contracts.errors import FastFlowError, Fatal
from fastflow_contracts.service import parts
from fastflow_contracts.service.parts import degraded, keep

ERRORS: tuple[BaseException, ...] = (
    MemoryError(),
    OSError(errno.EMFILE, "Too many open files"),
    OSError(errno.ENOSPC, "No space left on device"),
    RecursionError("maximum recursion depth exceeded"),
    KeyError("a bug"),
    FastFlowError("an error of ours."),
    ExceptionGroup("tasks", [KeyError("x"), ExceptionGroup("more", [MemoryError()])]),
    asyncio.CancelledError(),
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PAUSES_S", (0.01, 0.02))


def failing(error: BaseException, times: int, then: Callable[[], None]) -> Callable[[], object]:
    """Work that fails *times* times, and then lasts."""
    lives = 0

    async def work() -> None:
        nonlocal lives
        lives += 1
        if lives <= times:
            raise error
        then()
        await asyncio.Event().wait()

    return work


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_a_part_that_fails_starts_again_and_the_others_go_on(error: BaseException) -> None:
    """Whatever it raises; the other part never starts again."""
    lasts, lives = asyncio.Event(), 0

    async def other() -> None:
        nonlocal lives
        lives += 1
        await asyncio.Event().wait()

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(keep("test/failing", failing(error, 3, lasts.set))),  # type: ignore[arg-type]
            group.create_task(keep("test/other", other)),
        ]
        await lasts.wait()
        (found,) = degraded()
        assert (found.part, found.failures) == ("test/failing", 3)
        assert "test/failing failed 3 times since" in str(found)
        for task in tasks:
            task.cancel()
    assert (lives, degraded()) == (1, ())


async def test_a_part_that_lasts_is_well_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its next failure counts as the first."""
    monkeypatch.setattr(parts, "STEADY_S", 0.05)
    lasts = asyncio.Event()
    async with asyncio.timeout(30):
        part = asyncio.create_task(keep("test/part", failing(KeyError(), 2, lasts.set)))  # type: ignore[arg-type]
        await lasts.wait()
        while degraded():
            await asyncio.sleep(0.01)
        part.cancel()


@pytest.mark.parametrize("error", [Fatal("act."), ExceptionGroup("tasks", [KeyError(), Fatal("act.")])])
async def test_what_only_a_person_can_mend_leaves_the_part(error: Exception) -> None:
    with pytest.raises((Fatal, ExceptionGroup)):
        await keep("test/part", failing(error, 1, lambda: None))  # type: ignore[arg-type]
    assert degraded() == ()


async def test_a_cancelled_part_ends() -> None:
    """Also in the pause after a failure."""
    part = asyncio.create_task(keep("test/part", failing(KeyError(), 10**6, lambda: None)))  # type: ignore[arg-type]
    async with asyncio.timeout(30):
        while not degraded():
            await asyncio.sleep(0)
        part.cancel()
        with pytest.raises(asyncio.CancelledError):
            await part
    assert degraded() == ()
