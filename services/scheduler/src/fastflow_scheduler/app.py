"""Wires the scheduler together. Keep everything else out."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import timedelta
from typing import Any

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import Unavailable
from fastflow_contracts.bus.streams import bucket_stream
from fastflow_contracts.log import get_logger
from fastflow_contracts.pipelines.expressions.evaluator import ExpressionEvaluator
from fastflow_contracts.pipelines.store import PipelineStore
from fastflow_contracts.runs.lease import Lease
from fastflow_contracts.runs.room import Room
from fastflow_contracts.runs.store import RunStore
from fastflow_contracts.service.lifecycle import run_until
from fastflow_contracts.service.parts import keep
from fastflow_contracts.starting.active_runs import ActiveRuns
from fastflow_contracts.starting.admission import Defaults
from fastflow_contracts.starting.ceilings import Ceilings
from fastflow_contracts.starting.hint_queue import HintQueue
from fastflow_scheduler.command_consumer import CommandConsumer
from fastflow_scheduler.events.listener import EventListener
from fastflow_scheduler.followups.restarter import Restarter
from fastflow_scheduler.followups.run_ended_consumer import RunEndedConsumer
from fastflow_scheduler.maintenance.artifact_collector import ArtifactCollector
from fastflow_scheduler.maintenance.due_work import DueWork
from fastflow_scheduler.maintenance.reconciler import Reconciler
from fastflow_scheduler.maintenance.retention import Retention
from fastflow_scheduler.maintenance.state_collector import StatesCollector
from fastflow_scheduler.operations.step import OperationStep
from fastflow_scheduler.operations.worker import OperationWorker
from fastflow_scheduler.schedules.clock import Clock
from fastflow_scheduler.schedules.share import Share
from fastflow_scheduler.settings import SchedulerSettings
from fastflow_scheduler.starting.dispatcher import Dispatcher
from fastflow_scheduler.starting.redriver import Redriver
from fastflow_scheduler.starting.starter import Starter
from fastflow_scheduler.starting.trigger_consumer import TriggerConsumer

log = get_logger(__name__)


async def serve(settings: SchedulerSettings, bus: Bus, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Schedule until *stop* is set. Unfinished work stays on the bus, where another scheduler does it."""
    defaults = Defaults(
        python_version=settings.default_python_version,
        retry_attempts=settings.retry_attempts,
        policy=settings.policy,
    )
    lease = Lease(lease_s=settings.lease_s, fence_s=settings.fence_s)
    with suppress(Unavailable):  # the check can wait for the next start
        if complaint := lease.complaint(copies=await bus.copies(bucket_stream(subjects.RUNNERS))):
            log.warning("lease misconfigured", reason=complaint)
    runs = RunStore(bus)
    active = ActiveRuns()
    dispatcher = Dispatcher(bus, HintQueue(concurrent_max=settings.concurrent_runs_max))
    ceilings = Ceilings(
        chain_runs=settings.chain_runs_max,
        waiting=settings.waiting_runs_max,
        chain_waiting=settings.chain_waiting_runs_max,
    )
    room = Room(bus, full_percent=settings.runs_full_percent)
    evaluator, filters = ExpressionEvaluator(), ExpressionEvaluator()
    share = Share(uuid.uuid4().hex)
    starter = Starter(
        *(bus, runs, defaults),
        active=active,
        dispatcher=dispatcher,
        ceilings=ceilings,
        room=room,
        evaluator=evaluator,
    )

    # Each start of a part makes it anew: nothing that a failure left behind stays.
    def triggers() -> TriggerConsumer:
        return TriggerConsumer(bus, starter, Redriver(bus, runs, starter))

    def run_ended() -> RunEndedConsumer:
        return RunEndedConsumer(bus, runs, starter, depth_max=settings.chain_depth_max)

    def reconciler() -> Reconciler:
        return Reconciler(bus, runs, active=active, dispatcher=dispatcher, due_work=DueWork(lease))

    def operations() -> OperationWorker:
        step = OperationStep(runs, PipelineStore(bus), starter, active, runs_max=settings.operation_runs_max)
        return OperationWorker(bus, step)

    parts: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
        "triggers": lambda: triggers().serve(),
        "events": lambda: EventListener(bus, starter, filters, share, policy=settings.policy).serve(),
        "commands": lambda: CommandConsumer(bus, runs).serve(),
        "run-ended": lambda: run_ended().serve(),
        "clock": lambda: Clock(bus, starter, Restarter(bus, runs, starter).restart, share=share).serve(),
        "reconcile": lambda: reconciler().serve(),
        "operations": lambda: operations().serve(),
        "retention": lambda: Retention(bus, room).serve(),
        "states": lambda: StatesCollector(bus).serve(),
        "artifacts": lambda: ArtifactCollector(bus, keep=timedelta(days=settings.artifacts_days)).serve(),
    }

    async def work() -> None:
        async with asyncio.TaskGroup() as group:
            for name, part in parts.items():
                group.create_task(keep(f"scheduler/{name}", part), name=name)
            ready()

    try:
        await run_until(stop, work(), bus=bus)
    finally:
        await evaluator.close()
        await filters.close()
