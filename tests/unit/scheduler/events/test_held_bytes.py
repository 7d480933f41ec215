"""Triggers share a number of bytes: those beyond it wait, and none waits for ever."""

from __future__ import annotations

import asyncio

from fastflow_contracts.bus.direct import BATCH_BYTES_MAX
from fastflow_scheduler.events.held_bytes import HeldBytes


async def test_no_more_than_the_bound_is_held_and_all_get_their_turn() -> None:
    held, now, most, done = HeldBytes(3 * BATCH_BYTES_MAX), 0, 0, 0

    async def work() -> None:
        nonlocal now, most, done
        async with held.hold():
            now += 1
            most = max(most, now)
            await asyncio.sleep(0)
            now -= 1
        done += 1

    await asyncio.gather(*(work() for _ in range(50)))
    assert (most, done) == (3, 50)


async def test_what_is_small_leaves_room_for_others() -> None:
    held = HeldBytes(BATCH_BYTES_MAX + 1_000)
    async with held.hold() as first:
        second = asyncio.create_task(_enter(held))
        await asyncio.sleep(0)
        assert not second.done()
        held.keep(first, 1_000)
        await second
        held.keep(first, 2 * BATCH_BYTES_MAX)  # a message may be larger than what was asked for
        third = asyncio.create_task(_enter(held))
        await asyncio.sleep(0)
        assert not third.done()
    await third


async def test_one_that_is_cancelled_gives_back_what_it_holds() -> None:
    held = HeldBytes(BATCH_BYTES_MAX)
    first = asyncio.create_task(_enter(held, for_ever=True))
    waiting = asyncio.create_task(_enter(held))
    await asyncio.sleep(0)
    first.cancel()
    await waiting


async def _enter(held: HeldBytes, *, for_ever: bool = False) -> None:
    async with held.hold():
        if for_ever:
            await asyncio.Event().wait()
