"""Carries operations on: takes one, does its items in order, and stores how far it is. I/O; ``step`` does the items.

Every scheduler follows the records. One of them holds an operation: it wrote its id there by compare-and-set, and
writes again at least every ``RENEW_S``. If it has not for ``LEFT_S``, another one takes over where the record says. So
a scheduler that was only slow loses its next write and stops; what both did in between is done once, because an item
that is carried out twice does it once.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from contextlib import aclosing, suppress
from datetime import datetime
from typing import Final, NamedTuple

from msgspec.structs import replace

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.decoding import Unreadable
from fastflow_contracts.bus.errors import BusError, RevisionConflict
from fastflow_contracts.clock import now as wall_clock
from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.ids import RunId
from fastflow_contracts.log import get_logger
from fastflow_contracts.runs.operations.records import CHUNK_ITEMS, OperationRecord, advanced, ended
from fastflow_contracts.runs.operations.store import Items, OperationStore
from fastflow_scheduler.operations.step import OperationStep, WaitFor

log = get_logger(__name__)

HELD_MAX: Final = 4
"""Operations that one scheduler carries on at once; others wait, the oldest first."""
LEFT_S: Final = 10.0
"""An operation whose record did not change for this long is left."""
RENEW_S: Final = 3.0
SAVE_S: Final = 1.0
"""Longest time of which the progress is not stored."""
LOOK_S: Final = 1.0
"""Pause between two looks at what is left."""
WAIT_S: Final = 0.2
"""Pause before an item that cannot be carried out now is tried again."""
LOST: Final = "its items are not stored any more, or unreadable; ask for the rest again."


class _Heard(NamedTuple):
    record: OperationRecord
    revision: int
    at: float
    """When that revision came, by a monotonic clock."""


class _Taken(Exception):
    """Another scheduler holds the operation now."""


class OperationWorker:
    """Carries operations on. One per scheduler."""

    def __init__(
        self, bus: Bus, step: OperationStep, *, left_s: float = LEFT_S, now: Callable[[], datetime] = wall_clock
    ) -> None:
        self._store = OperationStore(bus)
        self._step = step
        self._left_s = left_s
        self._now = now
        self._own = uuid.uuid4().hex
        self._heard: dict[RunId, _Heard] = {}
        self._held: set[RunId] = set()
        self._changed = asyncio.Event()

    async def serve(self) -> None:
        """Carry operations on until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(), name="follow-operations")
            while True:
                self._changed.clear()
                for operation in self._left():
                    self._held.add(operation)
                    group.create_task(self._hold(operation), name=f"operation-{operation}")
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await self._changed.wait()

    async def _follow(self) -> None:
        async with aclosing(self._store.records.follow()) as batches:
            async for batch in batches:
                if batch.restarted:
                    self._heard.clear()
                for operation, record, revision, _ in batch.changes:
                    if record is None or record.ended_at is not None:
                        self._heard.pop(operation, None)
                    else:
                        self._heard[operation] = _Heard(record, revision, _monotonic())
                self._changed.set()

    def _left(self) -> list[RunId]:
        """The operations to take now, the oldest first."""
        at = _monotonic()
        found = [
            heard.record
            for operation, heard in self._heard.items()
            if operation not in self._held and (heard.record.holder in ("", self._own) or at - heard.at >= self._left_s)
        ]
        found.sort(key=lambda record: (record.created_at, record.id))
        return [record.id for record in found[: max(0, HELD_MAX - len(self._held))]]

    async def _hold(self, operation: RunId) -> None:
        try:
            await self._carry_on(operation)
        except (_Taken, RevisionConflict):
            log.info("operation lost", operation=operation)
        except BusError as error:
            log.warning("operation delayed", operation=operation, error=str(error))
            await asyncio.sleep(LOOK_S)
        except FastFlowError as error:  # its record or its items cannot be read; ``decoding`` has counted it
            log.warning("operation not carried on", operation=operation, error=str(error))
            await asyncio.sleep(self._left_s)
        finally:
            self._held.discard(operation)
            self._changed.set()

    async def _carry_on(self, operation: RunId) -> None:
        """Take the operation and do what is left of it. Raises ``_Taken``, and what the bus raises."""
        known = await self._store.records.get(operation)
        if known is None or known.value.ended_at is not None:
            self._heard.pop(operation, None)
            return
        held = _Held(self._store, known.value, known.revision, self._own)
        await held.save()  # from here on it is ours, or another's
        log.info("operation claimed", operation=operation, kind=held.record.kind, position=held.record.position)
        items: Items = ()
        first = -1
        while held.record.position < held.record.total and not self._is_cancelled(held.record):
            position = held.record.position
            if first != position - position % CHUNK_ITEMS:
                first, items = position - position % CHUNK_ITEMS, await self._chunk(operation, position)
            if position - first >= len(items):
                held.record = replace(held.record, total=position, reasons=(*held.record.reasons, LOST))
                break
            result = await self._step.carry_out(held.record, items[position - first])
            if isinstance(result, WaitFor):
                await self._wait(held, result.reason)
            else:
                held.record = advanced(held.record, changed=result.changed, refusal=result.refusal)
                await held.save_if_old(SAVE_S)
        await held.save()
        # Its runs belong to it until they are over: until then all of them can be cancelled at once.
        while (left := self._step.under_way(held.record)) is None or left:
            if self._is_cancelled(held.record):
                await self._step.cancel_all(held.record)
            await self._wait(held, f"{len(left)} of its runs are waiting or running." if left else "")
        held.record = ended(replace(held.record, cancel_requested=self._is_cancelled(held.record)), self._now())
        await held.save()
        log.info("operation ended", operation=operation, state=held.record.state, changed=held.record.changed)

    async def _chunk(self, operation: RunId, position: int) -> Items:
        try:
            return await self._store.chunk(operation, position)
        except Unreadable:  # counted; they are as good as gone
            return ()

    async def _wait(self, held: _Held, reason: str) -> None:
        if held.record.waiting_on != reason:
            held.record = replace(held.record, waiting_on=reason[:300])
            await held.save_if_old(SAVE_S)
        await held.save_if_old(RENEW_S)
        await asyncio.sleep(WAIT_S)

    def _is_cancelled(self, record: OperationRecord) -> bool:
        heard = self._heard.get(record.id)
        return record.cancel_requested or (heard is not None and heard.record.cancel_requested)


class _Held:
    """A record as its holder knows it, which is ahead of the stored one."""

    def __init__(self, store: OperationStore, record: OperationRecord, revision: int, own: str) -> None:
        self.record = replace(record, holder=own)
        self._own = own
        self._store = store
        self._revision = revision
        self._saved_at = _monotonic()

    async def save_if_old(self, after_s: float) -> None:
        if _monotonic() - self._saved_at >= after_s:
            await self.save()

    async def save(self) -> None:
        """Store the record. Raises ``_Taken``, and what the bus raises."""
        try:
            self._revision = await self._store.records.put(self.record.id, self.record, expect=self._revision)
        except RevisionConflict:
            stored = await self._store.records.get(self.record.id)
            if stored is None or stored.value.ended_at or stored.value.holder not in ("", self._own):
                raise _Taken from None
            # Somebody asked for the end meanwhile; nobody else may change a record that is held.
            self.record = replace(self.record, cancel_requested=stored.value.cancel_requested)
            self._revision = await self._store.records.put(self.record.id, self.record, expect=stored.revision)
        self._saved_at = _monotonic()


def _monotonic() -> float:
    return asyncio.get_running_loop().time()
