"""Recovers what was left behind: runs that the records assign to us, and sandboxes that no runner holds. I/O.

``orphans`` decides about one sandbox, ``silence`` which runners are gone.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from fastflow_contracts.bus.decoding import Unreadable
from fastflow_contracts.bus.errors import BusError
from fastflow_contracts.ids import RunId
from fastflow_contracts.log import get_logger
from fastflow_contracts.runs.run import Running, RunRecord
from fastflow_contracts.runs.state_machine import CommandRefused
from fastflow_contracts.runs.store import NoSuchRun
from fastflow_runner.attempts.context import AttemptContext
from fastflow_runner.sandbox import Held, SandboxError
from fastflow_runner.sandbox.naming import LABEL_KEEPER, LABEL_PREPARER, AttemptId, attempt_of, is_warm
from fastflow_runner.work.orphans import OrphanDecision, decide
from fastflow_runner.work.runner import AttemptRunner
from fastflow_runner.work.silence import RunnerSilence

log = get_logger(__name__)


class Recovery:
    """Adopts, gives back and removes. Use it in one task only: two must not adopt at the same time."""

    def __init__(self, context: AttemptContext, runner: AttemptRunner) -> None:
        self._context = context
        self._runner = runner
        self._silence = RunnerSilence(context)
        self._recovered = 0
        """The bus's generation when the records were last read."""

    async def recover(self, why: str = "was restarted") -> None:
        """Continue every run that the records assign to us but no attempt here carries out; give back unprepared ones.

        At the start these are the runs of our previous process. Later they are runs that we hold without knowing,
        because the bus's answer got lost. Raises ``Replaced``.
        """
        generation = self._context.bus.generation
        await self.sweep()
        ours = await self._ours_by_the_records()
        await self._context.presence.renew()  # fails if another process has our id now, and with it these runs
        for run in ours:
            assert isinstance(run.state, Running)
            attempt = AttemptId(run.id, run.state.attempt)
            if self._runner.has(attempt):
                continue
            try:
                if run.state.prepared_at is None:
                    await self._runner.give_back(run, run.state, why)
                else:
                    await self._runner.adopt(run, None)
            except (NoSuchRun, Unreadable, CommandRefused) as error:
                # Its record has changed since we read it; the epoch fences the rest.
                log.info("run skipped at recovery", run=run.id, error=str(error))
        self._recovered = generation

    async def keep_order(self) -> None:
        """Sweep periodically until cancelled. After the bus was away, also read the records: answers may be lost.

        Begin after ``recover``.
        """
        while True:
            await asyncio.sleep(self._context.presence.lease.sweep_s)
            try:
                if self._context.bus.generation == self._recovered:
                    await self.sweep()
                else:
                    await self.recover("lost the response to its claim")
            except (SandboxError, BusError) as error:
                log.warning("sweep failed", error=str(error))

    async def sweep(self) -> None:
        """Adopt or remove every sandbox that no runner holds. What cannot be removed is tried again next time."""
        for held in await self._context.sandboxes.held():
            try:
                if preparer_of := held.labels.get(LABEL_PREPARER):
                    await self._sweep_preparer(held, preparer_of)
                else:
                    await (self._sweep_warm(held) if is_warm(held.name) else self._sweep_one(held))
            except SandboxError as error:
                log.warning("sandbox sweep failed", sandbox=held.name, error=str(error))

    async def _sweep_one(self, held: Held) -> None:
        attempt = attempt_of(held.name)
        if attempt is None or attempt in self._runner.attempts or held.name in self._context.removals:
            return
        try:
            run: RunRecord | None = (await self._context.runs.find(attempt.run_id)).run
        except NoSuchRun:
            run = None
        except Unreadable as error:
            log.warning("run record not read", sandbox=held.name, error=str(error))
            return
        gone = run is not None and isinstance(run.state, Running) and await self._silence.is_gone(run.state.runner)
        if attempt in self._runner.attempts:
            return  # claimed while we looked
        match decide(run, attempt.number, runner=self._context.runner, holder_is_gone=gone):
            case OrphanDecision.REMOVE:
                await self._context.sandboxes.remove(held.name)
                log.info("orphan sandbox removed", sandbox=held.name)
            case OrphanDecision.ADOPT:
                assert run is not None
                await self._runner.adopt(run, held)
            case OrphanDecision.LEAVE:
                pass

    async def _sweep_warm(self, held: Held) -> None:
        """Remove warm sandboxes of dead runners. Our pool hides its own, so ours here are from our previous process."""
        keeper = held.labels.get(LABEL_KEEPER, "")
        if keeper == self._context.runner or await self._silence.is_gone(keeper):
            await self._context.sandboxes.remove(held.name)
            log.info("warm sandbox removed", sandbox=held.name, runner=keeper)

    async def _sweep_preparer(self, held: Held, runner: str) -> None:
        """Remove preparers of dead runners: no other runner can use them. Ours are under way."""
        if await self._silence.is_gone(runner):
            await self._context.sandboxes.remove(held.name)
            log.info("preparer removed", sandbox=held.name, runner=runner)

    async def _ours_by_the_records(self) -> list[RunRecord]:
        found: dict[RunId, RunRecord] = {}
        async with aclosing(self._context.runs.records.once()) as batches:
            async for batch in batches:
                for _, run, _, _ in batch.changes:
                    if run and isinstance(run.state, Running) and run.state.runner == self._context.runner:
                        found[run.id] = run
        return list(found.values())
