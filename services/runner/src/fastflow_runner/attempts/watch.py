"""Notices that a held run must stop, or that it is no longer ours. I/O.

The bus repeats every change of a run's record on a core subject, which is fast. That only wakes: what counts is the
record, which nobody forges. It is also read every ``LOOK_S`` seconds, which is reliable.

The watch begins ``UNWATCHED_S`` after the claim. Until then the writes of the attempt itself find a change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import nats.errors
from nats.aio.msg import Msg

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.decoding import Unreadable
from fastflow_contracts.bus.errors import BusError
from fastflow_contracts.log import get_logger
from fastflow_contracts.runs.run import Running, RunRecord
from fastflow_contracts.runs.store import NoSuchRun, RunStore

log = get_logger(__name__)

LOOK_S = 5.0
UNWATCHED_S = 0.5
"""A run that ends sooner needs no subscription and no look at its record: half of a runner's messages."""


async def watch(bus: Bus, runs: RunStore, held: RunRecord, *, on_cancel: Callable[[], None]) -> None:
    """Call *on_cancel* once when the held run must stop; return when it is no longer ours."""
    assert isinstance(held.state, Running)
    epoch = held.state.epoch
    await asyncio.sleep(UNWATCHED_S)
    changed = asyncio.Event()

    async def receive(_: Msg) -> None:
        changed.set()

    subscription = await bus.client.subscribe(subjects.run_event(held.ref), cb=receive)
    try:
        cancelled = False
        while True:
            run = await _read(runs, held)  # the first time for what changed before the subscription
            if run is not None:
                if not isinstance(run.state, Running) or run.state.epoch != epoch:
                    return
                if run.state.cancel_requested_at is not None and not cancelled:
                    cancelled = True
                    on_cancel()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await changed.wait()
            changed.clear()
    finally:
        try:
            await subscription.unsubscribe()
        except nats.errors.Error as error:
            log.debug("subscription not ended", run=held.id, error=str(error))


async def _read(runs: RunStore, held: RunRecord) -> RunRecord | None:
    """Return the record as it is now; None if it cannot be read."""
    try:
        return (await runs.load(held.ref)).run
    except (NoSuchRun, Unreadable, BusError) as error:
        log.debug("record not read", run=held.id, error=str(error))
        return None
