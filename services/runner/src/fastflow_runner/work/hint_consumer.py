"""Takes hints while a slot is free, and claims their runs. I/O.

A hint is acknowledged as soon as the claim has succeeded or failed: from then on the record governs the run.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Protocol

from fastflow_contracts.bus import streams
from fastflow_contracts.bus.decoding import Unreadable, decoded
from fastflow_contracts.bus.errors import BusError
from fastflow_contracts.bus.pull import ConsumerGone, Pull
from fastflow_contracts.bus.subjects import Kind
from fastflow_contracts.clock import now
from fastflow_contracts.log import get_logger
from fastflow_contracts.runs.concurrency import Full
from fastflow_contracts.runs.messages import HINT, Hint
from fastflow_contracts.runs.state_machine import CommandRefused, NotYet
from fastflow_contracts.runs.store import NoSuchRun
from fastflow_runner.attempts.attempt import RunningAttempt
from fastflow_runner.attempts.context import AttemptContext
from fastflow_runner.sandbox.naming import AttemptId
from fastflow_runner.work.runner import AttemptRunner

log = get_logger(__name__)

AGAIN_S = 1.0
SOON_S = 10.0
"""A hint that is early by at most this much is redelivered when it is due: our clock may be behind the scheduler's."""
FRESH_S = 2.0
"""A hint that has waited for longer may be stale: then the record is read before anything is fetched for the run."""
HINTS_AT_ONCE_MAX = 8
"""Most hints of one request. A runner that freezes holds as many back until they are delivered again."""


class HintMessage(Protocol):
    """A hint that was delivered here, with the verbs of ``Message``."""

    data: bytes
    subject: str
    delivered: int
    stored_at: datetime

    async def ack_soon(self) -> None: ...

    async def nak(self, delay_s: float) -> None: ...

    async def term(self) -> None: ...


class HintConsumer:
    """Brings work to a runner."""

    def __init__(self, context: AttemptContext, runner: AttemptRunner) -> None:
        self._context = context
        self._runner = runner
        self._pulls: dict[Kind, Pull] = {}

    async def take(self, kind: Kind) -> None:
        """Take work of *kind* until cancelled. Attempts under way continue: see ``AttemptRunner.finish``."""
        async with Pull(self._context.bus, streams.WORK, kind) as pull:
            self._pulls[kind] = pull
            while True:
                if not pull.outstanding:
                    # Wait for a free slot, but do not keep it while waiting: the other kind of work may need it.
                    await self._runner.slots.acquire()
                    self._runner.slots.release()
                await self._runner.until_daemon_answers()
                try:
                    taken = await pull.take(self._hints_max(pull))
                except ConsumerGone as error:
                    log.warning("consumer lost", error=str(error))
                    await asyncio.sleep(AGAIN_S)
                    continue
                for message in taken:
                    if self._runner.slots.locked() or self._runner.is_paused:
                        await message.nak(AGAIN_S)
                        continue
                    await self._runner.slots.acquire()
                    self._runner.spawn(self.handle(message), f"hint-{message.sequence}")

    def _hints_max(self, pull: Pull) -> int:
        """How many hints to ask for at once: no more than there are slots for, with what the other kinds ask for."""
        asked = sum(each.outstanding for each in self._pulls.values() if each is not pull)
        return max(1, min(HINTS_AT_ONCE_MAX, (self._runner.free - asked) // len(self._pulls)))

    async def handle(self, message: HintMessage) -> None:
        """Claim the run of one hint, and carry it out."""
        hint = decoded(HINT, message.data, where=message.subject)
        if hint is None:
            await message.term()
            return
        wanted = AttemptId(hint.run_id, hint.attempt)
        if self._runner.has(wanted):
            await message.ack_soon()  # a duplicate hint
            return
        self._runner.claiming.add(wanted)
        try:
            age_s = (now() - message.stored_at).total_seconds()
            attempt = await self._claim(hint, is_fresh=message.delivered == 1 and age_s < FRESH_S)
        except NotYet as early:
            early_s = max(0.0, (early.until - now()).total_seconds())
            # An earlier one is stale: the scheduler hints again when the run is due.
            await (message.nak(early_s) if early_s <= SOON_S else message.ack_soon())
            return
        else:
            await message.ack_soon()
        finally:
            self._runner.claiming.discard(wanted)
        if attempt is not None:
            await self._runner.keep(attempt)

    async def _claim(self, hint: Hint, *, is_fresh: bool) -> RunningAttempt | None:
        """None if there is nothing to carry out. Raises ``NotYet``."""
        while True:
            try:
                return await RunningAttempt.claim(self._context, hint, is_fresh=is_fresh)
            except NotYet:
                raise
            except Full:
                return None  # the scheduler hints again when the limit allows it
            except (NoSuchRun, Unreadable, CommandRefused) as error:
                log.info("stale hint ignored", run=hint.run_id, error=str(error))
                return None
            except BusError as error:
                # The claim may be stored nevertheless, and then no other runner handles this run.
                log.warning("claim delayed", run=hint.run_id, error=str(error))
                is_fresh = False
                await asyncio.sleep(AGAIN_S)
