"""Wires the scheduler together. Nothing else may live here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from fastflow_contracts import subjects
from fastflow_contracts.lease import Lease
from fastflow_contracts.runs import RunStore
from fastflow_contracts.service import run_until
from fastflow_contracts.streams import bucket_stream
from fastflow_contracts.wire import Bus, Unavailable
from fastflow_scheduler.admission import Defaults
from fastflow_scheduler.agenda import Agenda
from fastflow_scheduler.clock import Clock
from fastflow_scheduler.commands import Commands
from fastflow_scheduler.intake import Intake
from fastflow_scheduler.reactor import Reactor
from fastflow_scheduler.reconcile import Reconciler
from fastflow_scheduler.restarter import Restarter
from fastflow_scheduler.retention import Retention
from fastflow_scheduler.settings import Settings
from fastflow_scheduler.starter import Starter

log = logging.getLogger(__name__)


async def serve(settings: Settings, bus: Bus, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Schedule until *stop* is set. Whatever is under way then is on the bus and will be done by another one."""
    defaults = Defaults(
        python_version=settings.default_python_version,
        timeout_s=settings.container_timeout_s,
        retry_attempts=settings.retry_attempts,
    )
    lease = Lease(lease_s=settings.lease_s, fence_s=settings.fence_s)
    with suppress(Unavailable):  # a complaint can wait for the next start
        if complaint := lease.complaint(copies=await bus.copies(bucket_stream(subjects.RUNNERS))):
            log.warning("%s", complaint)
    runs = RunStore(bus)
    starter = Starter(bus, runs, defaults, concurrent_max=settings.concurrent_runs_max)

    async def work() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(Intake(bus, starter).serve(), name="intake")
            group.create_task(Commands(bus, runs).serve(), name="commands")
            group.create_task(Reactor(bus, runs, starter).serve(), name="reactor")
            clock = Clock(bus, starter, Restarter(bus, runs, starter).restart)
            group.create_task(clock.serve(), name="clock")
            agenda = Agenda(lease, concurrent_max=settings.concurrent_runs_max)
            reconciler = Reconciler(bus, runs, starter, agenda)
            group.create_task(reconciler.serve(), name="reconcile")
            group.create_task(Retention(bus).serve(), name="retention")
            ready()

    await run_until(stop, work(), bus=bus)
