"""Carries out one item of an operation. I/O through the objects that it receives; ``worker`` keeps the progress.

An item that is carried out twice does it once: each start has an id that derives from what it starts. A start that is
not possible now leaves no skip: it waits, and is tried again.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeAlias, assert_never

from fastflow_contracts.bus.decoding import Unreadable
from fastflow_contracts.bus.subjects import RunRef
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.store import PipelineStore
from fastflow_contracts.runs.messages import Skipped, Trigger
from fastflow_contracts.runs.operations.records import OperationItem, OperationRecord, retried_id
from fastflow_contracts.runs.room import NoRoom
from fastflow_contracts.runs.run import RunRecord
from fastflow_contracts.runs.state_machine import Cancel, CommandRefused
from fastflow_contracts.runs.store import NoSuchRun, RunStore
from fastflow_contracts.starting.active_runs import ActiveRuns
from fastflow_contracts.starting.admission import Cause
from fastflow_scheduler.settings import OPERATION_RUNS_MAX
from fastflow_scheduler.starting.starter import Starter

NOT_NOW: Final = 429


class Advanced(NamedTuple):
    """The item is done: it *changed* something, needed nothing, or was refused."""

    changed: bool = False
    refusal: str | None = None


class WaitFor(NamedTuple):
    """The item cannot be carried out now."""

    reason: str


StepResult: TypeAlias = Advanced | WaitFor


class OperationStep:
    """Carries out items. *runs_max*: most runs of one operation that wait or run at once."""

    def __init__(
        self,
        runs: RunStore,
        pipelines: PipelineStore,
        starter: Starter,
        active: ActiveRuns,
        *,
        runs_max: int = OPERATION_RUNS_MAX,
    ) -> None:
        self._runs = runs
        self._pipelines = pipelines
        self._starter = starter
        self._active = active
        self._runs_max = runs_max

    async def carry_out(self, operation: OperationRecord, item: OperationItem) -> StepResult:
        """Carry out *item*. Safe to repeat. Raises ``BusError``."""
        match operation.kind:
            case "cancel":
                return Advanced(await self._cancel(RunRef(item.pipeline, item.run_id)))
            case "backfill":
                trigger = Trigger(triggered_by="schedule", run_config_id=operation.run_config_id)
                cause = Cause(schedule=operation.schedule, scheduled_for=item.slot, operation_id=operation.id)
                return await self._start(RunRef(item.pipeline, item.run_id), trigger, cause)
            case "retry":
                trigger = Trigger(triggered_by=operation.triggered_by, retry_of=item.run_id, code=operation.code)
                ref = RunRef(item.pipeline, retried_id(operation.id, item.run_id))
                return await self._start(ref, trigger, Cause(operation_id=operation.id))
            case _:
                assert_never(operation.kind)

    def under_way(self, operation: OperationRecord) -> tuple[RunRef, ...] | None:
        """Return the runs of *operation* that are not over; None: that is not known yet."""
        return self._active.of_operation(operation.id) if self._active.is_complete else None

    async def cancel_all(self, operation: OperationRecord) -> None:
        """Cancel the runs of *operation* that are not over. Raises ``BusError``."""
        for ref in self.under_way(operation) or ():
            await self._cancel(ref)

    async def _start(self, ref: RunRef, trigger: Trigger, cause: Cause) -> StepResult:
        try:
            known = await self._stored(ref)
            if known is not None:
                return Advanced(changed=known.order.operation_id == cause.operation_id)
            if (reason := await self._no_place(ref.pipeline, cause)) is not None:
                return WaitFor(reason)
            # ``is_kept``: a refusal leaves no skip, and is counted here.
            decision = await self._starter.start(ref.pipeline, trigger, ref.run_id, cause=cause, is_kept=True)
        except NoRoom as error:
            return WaitFor(str(error))
        except Unreadable as error:
            return Advanced(refusal=str(error))
        if not isinstance(decision, Skipped):
            return Advanced(changed=True)
        return WaitFor(decision.reason) if decision.status == NOT_NOW else Advanced(refusal=decision.reason)

    async def _no_place(self, name: PipelineName, cause: Cause) -> str | None:
        """Why the next run of the operation must wait; None: it need not. One place is left to what is due now."""
        assert cause.operation_id is not None
        if not self._active.is_complete:
            return "the runs are still being read from the bus."
        record = await self._pipelines.get(name)
        instances = record.live.spec.max_instances if record is not None and record.live is not None else None
        most = self._runs_max if instances is None else min(self._runs_max, max(1, instances - 1))
        active = len(self._active.of_operation(cause.operation_id))
        return f"{active} of its runs are waiting or running." if active >= most else None

    async def _stored(self, ref: RunRef) -> RunRecord | None:
        try:
            return (await self._runs.load(ref)).run
        except NoSuchRun:
            return None

    async def _cancel(self, ref: RunRef) -> bool:
        """Cancel a run. Returns whether that changed it: one that is over stays as it is."""
        try:
            return bool((await self._runs.change(ref, Cancel())).events)
        except (NoSuchRun, CommandRefused, Unreadable):
            return False
