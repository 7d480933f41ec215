"""Takes hints of runs that ask for labels, if this runner has them, while a slot is free. I/O.

Such hints have no consumer: which sets of labels there are changes with every pipeline, and no service may create
consumers. So every runner with labels follows these hints, and takes one by removing it from the stream: of several
runners that try, the bus lets one succeed. A hint that its taker loses is repeated by the schedulers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import aclosing
from datetime import datetime

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.decoding import decoded
from fastflow_contracts.bus.direct import StoredMessage
from fastflow_contracts.bus.errors import BusError
from fastflow_contracts.bus.feed import feed
from fastflow_contracts.clock import now
from fastflow_contracts.labels import BadLabel, lacking
from fastflow_contracts.log import get_logger
from fastflow_contracts.runs.messages import HINT
from fastflow_contracts.runs.run import Pending
from fastflow_runner.attempts.context import AttemptContext
from fastflow_runner.work.hint_consumer import HintConsumer
from fastflow_runner.work.runner import AttemptRunner

log = get_logger(__name__)

AGAIN_S = 1.0
WAITING_MAX = 1000
"""Hints to remember. What is beyond them is read again once these are taken."""


class TakenHint:
    """A hint that was removed from the stream: nobody else has it, and there is nothing to acknowledge."""

    delivered = 1

    def __init__(self, message: StoredMessage) -> None:
        self.data = message.data
        self.subject = message.subject
        self.sequence = message.sequence
        self.stored_at: datetime = message.stored_at

    async def ack_soon(self) -> None:
        """Do nothing."""

    async def nak(self, delay_s: float) -> None:
        """Do nothing: schedulers repeat the hint."""

    async def term(self) -> None:
        """Do nothing."""


class LabelledHints:
    """Brings a runner the work that asks for its labels."""

    def __init__(
        self, context: AttemptContext, runner: AttemptRunner, hints: HintConsumer, *, kinds: Collection[str]
    ) -> None:
        self._context = context
        self._runner = runner
        self._hints = hints
        self._kinds = kinds
        self._waiting: dict[str, StoredMessage] = {}
        """By subject, in the order of the stream."""
        self._came = asyncio.Event()
        self._emptied = asyncio.Event()

    async def take(self) -> None:
        """Take work until cancelled. Attempts under way continue: see ``AttemptRunner.finish``."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(), name="follow-labelled")
            group.create_task(self._serve(), name="serve-labelled")

    async def _follow(self) -> None:
        while True:
            await self._fill()
            log.info("hints postponed", remembered=WAITING_MAX)
            await self._emptied.wait()

    async def _fill(self) -> None:
        """Remember hints from the first one on, until there are more than can be remembered."""
        async with aclosing(feed(self._context.bus, streams.WORK, subjects.LABELLED_WORK)) as batches:
            async for batch in batches:
                if batch.restarted:
                    self._waiting.clear()
                for message in filter(self._is_ours, batch.messages):
                    if len(self._waiting) >= WAITING_MAX and message.subject not in self._waiting:
                        return
                    self._waiting[message.subject] = message
                    self._emptied.clear()
                    self._came.set()

    def _is_ours(self, message: StoredMessage) -> bool:
        try:
            kind, labels = subjects.parse_labelled_work(message.subject)
        except BadLabel:
            return False
        return kind in self._kinds and not lacking(labels, self._context.labels)

    async def _serve(self) -> None:
        while True:
            await self._came.wait()
            # In the order of those who wait for a slot: neither these hints nor the others keep all slots.
            await self._runner.slots.acquire()
            taken = None
            try:
                await self._runner.until_daemon_answers()
                taken = await self._taken()
            finally:
                if taken is None:
                    self._runner.slots.release()
            if taken is not None:
                self._runner.spawn(self._hints.handle(taken), f"hint-{taken.sequence}")
            elif self._waiting:
                await asyncio.sleep(AGAIN_S)

    async def _taken(self) -> TakenHint | None:
        """Take the oldest hint that is due; None: there is none."""
        for message in list(self._waiting.values()):
            if not _is_due(message):
                continue
            try:
                is_ours = await self._context.bus.take(streams.WORK, message.sequence)
            except BusError as error:
                log.warning("hint delayed", subject=message.subject, error=str(error))
                return None
            if self._waiting.get(message.subject) is message:
                del self._waiting[message.subject]
            if is_ours:
                return TakenHint(message)
        if not self._waiting:
            self._came.clear()
            self._emptied.set()
        return None


def _is_due(message: StoredMessage) -> bool:
    """Whether its run is due by our clock, which may be behind the scheduler's."""
    hint = decoded(HINT, message.data, where=message.subject)
    if hint is None or hint.run is None or not isinstance(hint.run.state, Pending):
        return True
    return hint.run.state.not_before <= now()
