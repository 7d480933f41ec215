"""Publishes hints: that of a new run at once if there is room, all others in turn. I/O; ``hint_queue`` decides.

Every scheduler does this. A hint has its attempt's subject, and the bus keeps one message on each; it also has an id
made from the record's revision. So schedulers that decide the same at the same time leave one hint.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import BusError, Rejected
from fastflow_contracts.bus.subjects import Kind
from fastflow_contracts.clock import now as wall_clock
from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.ids import RunId
from fastflow_contracts.log import get_logger
from fastflow_contracts.pipelines.pauses import PauseSet
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.messages import Hint
from fastflow_contracts.runs.run import REPLACED, Pending, RunRecord
from fastflow_contracts.runs.state_machine import Cancel
from fastflow_contracts.runs.store import RunStore, Stored
from fastflow_contracts.starting.hint_queue import REHINT_S, DueHint, HintQueue

log = get_logger(__name__)

ROUND_S = 1.0
"""Longest pause between two looks at the queue."""
AGAIN_S = 1.0
HINTING_MAX = 8
"""Hints to send at once: when many runs are due at one instant, all of them exist before most get a hint."""
OUTSTANDING_ALREADY = "maximum messages per subject"


class Dispatcher:
    """Brings waiting runs to the runners. One per scheduler."""

    def __init__(self, bus: Bus, queue: HintQueue | None = None, *, clock: Callable[[], datetime] = wall_clock) -> None:
        """Without a *queue* that is fed, every new run gets its hint at once."""
        self._bus = bus
        self.queue = queue or HintQueue()
        self.free_slots: Callable[[], Mapping[Kind, int]] = dict
        """Returns the free slots of the runners that take each kind of work."""
        self._runs = RunStore(bus, clock=clock)
        self._clock = clock
        self._hinting = asyncio.Semaphore(HINTING_MAX)
        self._changed = asyncio.Event()

    async def created(self, stored: Stored) -> None:
        """Take in a run that this scheduler has just created, and hint it if it is its turn."""
        run, revision = stored
        if self.queue.add(run, revision, self.free_slots(), now=self._clock(), at=self._monotonic()):
            await self.hint(DueHint(run, revision, is_repeat=False))
        else:
            self._changed.set()

    def begin(self) -> None:
        """Forget all runs: a new feed begins."""
        pauses = self.queue.pauses
        self.queue = HintQueue(concurrent_max=self.queue.concurrent_max)
        self.queue.hold(pauses)

    def see(self, run: RunRecord, revision: int) -> None:
        """Take in a change, in the order of the bus."""
        self.queue.see(run, revision, at=self._monotonic())
        self._changed.set()

    def forget(self, run_id: RunId) -> None:
        """Take in that a record was deleted."""
        self.queue.forget(run_id)
        self._changed.set()

    def hold(self, pauses: PauseSet) -> None:
        """Take in what is paused now: new runs of that get no hints."""
        self.queue.hold(pauses)
        self._changed.set()

    def wake(self) -> None:
        """Take in that slots may be free."""
        self._changed.set()

    async def serve(self) -> None:
        """Hint waiting runs until cancelled. Begin when the queue has seen all of them."""
        self.queue.is_following = True
        while True:
            self._changed.clear()
            try:
                async with asyncio.TaskGroup() as group:
                    for run in self.queue.replaced():
                        group.create_task(self._replace(run), name=f"replace-{run.id}")
                    for hint in await self.look():
                        group.create_task(self.hint(hint), name=f"hint-{hint.run.id}")
            except BusError as error:
                log.warning("hints delayed", error=str(error))
                await asyncio.sleep(AGAIN_S)
            pause_s = min(ROUND_S, self.queue.next_due_s(now=self._clock()))
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._changed.wait()

    async def _replace(self, run: RunRecord) -> None:
        """Cancel a run that a newer one replaces. The feed names it again until it has ended."""
        try:
            async with self._hinting:
                changed = await self._runs.change(run.ref, Cancel(reason=REPLACED))
        except FastFlowError as error:
            log.warning("replace delayed", run=run.id, error=str(error))
        else:
            if changed.events:
                log.info("run replaced", run=run.id, pipeline=run.pipeline)

    async def look(self) -> list[DueHint]:
        """Return the hints to publish now: see what is outstanding, and whose turn it is. Raises ``BusError``."""
        now, at = self._clock(), self._monotonic()
        if not self.queue.wants_look(self.free_slots(), now=now, at=at):
            return []
        self.queue.see_outstanding(await self._outstanding(), at=at)
        return self.queue.due(self.free_slots(), now=now, at=at)

    async def _outstanding(self) -> set[tuple[RunId, int]]:
        found = set()
        for subject in await self._bus.subjects_in(streams.WORK, subjects.WORK):
            with suppress(FastFlowError):  # an older version's subject
                found.add(subjects.parse_work(subject))
        return found

    async def hint(self, hint: DueHint) -> None:
        """Publish one hint. A lost one is repeated later."""
        run, state = hint.run, hint.run.state
        assert isinstance(state, Pending)
        body = Hint(
            pipeline=run.pipeline,
            run_id=run.id,
            attempt=state.attempt,
            concurrent_max=self.queue.concurrent_max,
            run=run,
            revision=hint.revision,
        )
        message_id = f"{run.id}.{hint.revision}"
        if hint.is_repeat:  # the same in all schedulers for a while
            message_id += f".{int(self._clock().timestamp() // REHINT_S)}"
        subject = subjects.work(run.order.kind, run.ref, state.attempt)
        try:
            async with self._hinting:
                await self._bus.publish(subject, messages.HINT.encode(body), message_id=message_id)
        except Rejected as error:
            if OUTSTANDING_ALREADY not in str(error):
                log.warning("hint refused", run=run.id, error=str(error))
        except BusError as error:
            log.warning("hint not sent", run=run.id, error=str(error))

    def _monotonic(self) -> float:
        return asyncio.get_running_loop().time()
