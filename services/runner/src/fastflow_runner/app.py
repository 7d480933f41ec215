"""Wires the runner together: resources open from top to bottom and close in reverse. Nothing else may live here."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from typing import Any

from msgspec.structs import replace

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import BusError, Unavailable
from fastflow_contracts.bus.streams import bucket_stream
from fastflow_contracts.bus.subjects import Kind
from fastflow_contracts.clock import now
from fastflow_contracts.labels import runner_labels
from fastflow_contracts.log import get_logger
from fastflow_contracts.pipelines.pauses import pause_sets
from fastflow_contracts.pipelines.store import PipelineStore
from fastflow_contracts.runs.artifacts.store import ArtifactStore
from fastflow_contracts.runs.lease import Lease
from fastflow_contracts.runs.presence import Presence
from fastflow_contracts.runs.store import RunStore
from fastflow_contracts.service.lifecycle import until_stopped
from fastflow_contracts.service.parts import degraded, keep
from fastflow_runner.attempts.context import AttemptContext
from fastflow_runner.attempts.removals import Removals
from fastflow_runner.backend.backend import Backend
from fastflow_runner.backend.choose import open_backend
from fastflow_runner.bundles import Bundles
from fastflow_runner.drain import drain_asked
from fastflow_runner.output.quota import OutputQuota
from fastflow_runner.preheat import preheat
from fastflow_runner.presence import PresenceWriter, Replaced
from fastflow_runner.sandbox.folders import FolderBounds
from fastflow_runner.secrets import SecretBox
from fastflow_runner.settings import RunnerSettings, check
from fastflow_runner.work.hint_consumer import HintConsumer
from fastflow_runner.work.labelled_hints import LabelledHints
from fastflow_runner.work.recovery import Recovery
from fastflow_runner.work.runner import AttemptRunner

log = get_logger(__name__)

STOP_S = 20.0
"""Beyond the grace time: for stopping scripts and recording that."""


def _log_progress(line: str) -> None:
    log.info("start progressed", step=line)


async def serve(
    settings: RunnerSettings,
    bus: Bus,
    stop: asyncio.Event,
    ready: Callable[[], None],
    *,
    say: Callable[[str], None] = _log_progress,
) -> None:
    """Run scripts until *stop* is set or this runner is asked to drain.

    After *stop*, the settings decide what happens to runs under way. After a drain request, they all finish.

    Args:
        say: gets lines of progress.
    """
    check(settings)
    runner_id = settings.runner_id or re.sub(r"[^A-Za-z0-9_-]", "-", os.uname().nodename)
    installation = await PipelineStore(bus).installation()
    lease = Lease(lease_s=settings.lease_s, fence_s=settings.fence_s)
    with suppress(Unavailable):  # a complaint can wait for the next start
        if complaint := lease.complaint(copies=await bus.copies(bucket_stream(subjects.RUNNERS))):
            log.warning("lease misconfigured", reason=complaint)
    opening = open_backend(settings, runner=runner_id, installation=installation, environ=os.environ, say=say)
    async with opening as backend:
        runner: AttemptRunner
        presence = PresenceWriter(
            bus, _presence(settings, runner_id, backend), lease, look=lambda shown: _seen(shown, runner, backend)
        )
        context = _context(settings, bus, runner_id, backend, presence)
        runner = AttemptRunner(context, settings.slots)
        await presence.announce()
        try:
            async with asyncio.TaskGroup() as group:

                def start(name: str, part: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
                    return group.create_task(keep(f"runner/{name}", part), name=name)

                keepers = [start("presence", presence.serve), start("environments", backend.environments.keep)]
                keepers.append(start("removals", context.removals.keep))
                if backend.pool is not None:
                    keepers.append(start("pool", backend.pool.keep))
                if backend.firewall is not None:
                    keepers.append(start("firewall", partial(backend.firewall.keep, settings.network_check_s)))
                if backend.image_gc is not None:
                    keepers.append(start("image-gc", backend.image_gc.keep))
                recovery = Recovery(context, runner)
                await recovery.recover()
                keepers.append(start("recovery", recovery.keep_order))
                if settings.pre_heat:
                    warm = partial(preheat, context, default_python_version=settings.default_python_version)
                    keepers.append(start("preheat", warm))
                hints = HintConsumer(context, runner)
                plain = [] if settings.only_labelled else _kinds(settings)
                takers = [start(f"take-{kind}", partial(hints.take, kind)) for kind in plain]
                if context.labels:
                    labelled = LabelledHints(context, runner, hints, kinds=_kinds(settings))
                    takers.append(start("take-labelled", labelled.take))
                drained = asyncio.Event()
                keepers.append(start("drain", partial(_drain, bus, runner_id, runner, presence, takers, drained)))
                ready()
                await until_stopped(stop, drained, bus=bus)
                for taker in takers:
                    taker.cancel()
                presence.leave()
                await _finish(settings, backend, runner)
                for keeper in keepers:
                    keeper.cancel()
        finally:
            left = await runner.let_go()
        with suppress(BusError, Replaced):
            await presence.record_end(left=left)
        await context.removals.close()


async def _drain(
    bus: Bus,
    runner_id: str,
    runner: AttemptRunner,
    presence: PresenceWriter,
    takers: list[asyncio.Task[None]],
    drained: asyncio.Event,
) -> None:
    """Wait for a drain request; then take no more work, finish all runs under way, and set *drained*."""
    async with drain_asked(bus, runner_id) as asked:
        await asked.wait()
        log.info("drain requested")
        for taker in takers:
            taker.cancel()
        presence.leave()
        await runner.finish(None)
    drained.set()


async def _finish(settings: RunnerSettings, backend: Backend, runner: AttemptRunner) -> None:
    """Give runs the grace time; then stop them, or leave them to the next runner if sandboxes outlive this one."""
    await runner.finish(settings.grace_s)
    if runner.busy and not (settings.leave_running and backend.outlives):
        runner.abandon_all("Fast-Flow was stopped while this ran; start it again")
        await runner.finish(STOP_S)


def _kinds(settings: RunnerSettings) -> list[Kind]:
    asked_for = {kind.strip() for kind in settings.kinds.split(",")}
    kinds: tuple[Kind, ...] = ("script", "notebook")
    return [kind for kind in kinds if kind in asked_for]


def _presence(settings: RunnerSettings, runner_id: str, backend: Backend) -> Presence:
    return Presence(
        runner=runner_id,
        instance="",
        host=os.uname().nodename,
        version=version("fastflow-runner"),
        sandbox=backend.kind,
        sandbox_reason=backend.why,
        daemon=backend.daemon,
        slots=settings.slots,
        kinds=tuple(_kinds(settings)),
        labels=runner_labels(settings.labels),
        only_labelled=settings.only_labelled,
        unenforced=backend.sandboxes.unenforced,
        started_at=now(),
        seen_at=now(),
    )


def _seen(presence: Presence, runner: AttemptRunner, backend: Backend) -> Presence:
    """*presence* with the values that change while the runner lives."""
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    return replace(
        presence,
        busy=runner.busy,
        load=round(load, 2),
        environments=backend.environments.known,
        paused=runner.is_paused,
        degraded=tuple(str(part) for part in degraded() if part.part.startswith("runner/")),
        unenforced=backend.sandboxes.unenforced,
    )


def _context(
    settings: RunnerSettings, bus: Bus, runner_id: str, backend: Backend, presence: PresenceWriter
) -> AttemptContext:
    waiting_max = 2 * settings.pool_size_max if backend.pool is not None else 0
    return AttemptContext(
        runner=runner_id,
        labels=frozenset(runner_labels(settings.labels)),
        only_labelled=settings.only_labelled,
        bus=bus,
        runs=RunStore(bus),
        pauses=pause_sets(bus),
        bundles=Bundles(bus),
        sandboxes=backend.sandboxes,
        removals=Removals(backend.sandboxes, waiting_max=waiting_max),
        environments=backend.environments,
        secrets=SecretBox(settings.encryption_key),
        presence=presence,
        spec=backend.spec,
        name=backend.name,
        cell_runner=backend.cell_runner,
        memory_bytes_max=backend.memory_bytes_max,
        artifacts=ArtifactStore(bus),
        artifact_bounds=FolderBounds(settings.artifacts_files_max, settings.artifacts_bytes_max),
        log_bytes_max=settings.log_bytes_max,
        quota=OutputQuota(settings.pipeline_log_bytes_max),
        public_url=settings.public_url.rstrip("/"),
    )
