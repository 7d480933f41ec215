"""Wires the runner together: resources open from top to bottom and close in reverse. Nothing else may live here."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version

from msgspec.structs import replace

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import BusError, Unavailable
from fastflow_contracts.bus.streams import bucket_stream
from fastflow_contracts.bus.subjects import Kind
from fastflow_contracts.clock import now
from fastflow_contracts.runs.lease import Lease
from fastflow_contracts.runs.presence import Presence
from fastflow_contracts.runs.store import RunStore
from fastflow_contracts.service.lifecycle import until_stopped
from fastflow_runner.attempts.context import Tools
from fastflow_runner.attempts.runner import Runner
from fastflow_runner.backend import Adapter, open_adapter
from fastflow_runner.bundles import Bundles
from fastflow_runner.drain import drain_asked
from fastflow_runner.preheat import preheat
from fastflow_runner.presence import Beacon, Replaced
from fastflow_runner.secrets import SecretBox
from fastflow_runner.settings import Settings

log = logging.getLogger(__name__)

STOP_S = 20.0
"""Beyond the grace time: for stopping scripts and recording that."""


async def serve(
    settings: Settings,
    bus: Bus,
    stop: asyncio.Event,
    ready: Callable[[], None],
    *,
    say: Callable[[str], None] = log.info,
) -> None:
    """Run scripts until *stop* is set, then end what is under way as the settings say; or until somebody asks this
    runner to leave, and what it has is finished. *say* gets lines of progress.
    """
    runner_id = settings.runner_id or re.sub(r"[^A-Za-z0-9_-]", "-", os.uname().nodename)
    entry = await bus.get(subjects.PIPELINES, subjects.INSTALLATION_KEY)
    assert entry is not None, "made with the streams"
    installation = entry.value.decode()
    lease = Lease(lease_s=settings.lease_s, fence_s=settings.fence_s)
    with suppress(Unavailable):  # a complaint can wait for the next start
        if complaint := lease.complaint(copies=await bus.copies(bucket_stream(subjects.RUNNERS))):
            log.warning("%s", complaint)
    opening = open_adapter(settings, runner=runner_id, installation=installation, environ=os.environ, say=say)
    async with opening as adapter:
        runner: Runner
        beacon = Beacon(
            bus, _presence(settings, runner_id, adapter), lease, look=lambda shown: _seen(shown, runner, adapter)
        )
        tools = _tools(settings, bus, runner_id, adapter, beacon)
        runner = Runner(tools, settings.slots)
        await beacon.announce()
        try:
            async with asyncio.TaskGroup() as group:
                keepers = [
                    group.create_task(beacon.serve(), name="beacon"),
                    group.create_task(adapter.environments.keep(), name="environments"),
                ]
                if adapter.pool is not None:
                    keepers.append(group.create_task(adapter.pool.keep(), name="pool"))
                if adapter.former_images is not None:
                    keepers.append(group.create_task(adapter.former_images.keep(), name="former-images"))
                await runner.recover()
                keepers.append(group.create_task(runner.keep_order(), name="keep-order"))
                if settings.pre_heat:
                    warming = preheat(tools, default_python_version=settings.default_python_version)
                    keepers.append(group.create_task(warming, name="preheat"))
                takers = [group.create_task(runner.take(kind), name=f"take-{kind}") for kind in _kinds(settings)]
                drained = asyncio.Event()
                draining = _drain(bus, runner_id, runner, beacon, takers, drained)
                keepers.append(group.create_task(draining, name="drain"))
                ready()
                await until_stopped(stop, drained, bus=bus)
                for taker in takers:
                    taker.cancel()
                beacon.leave()
                await _finish(settings, adapter, runner)
                for keeper in keepers:
                    keeper.cancel()
        finally:
            left = await runner.let_go()
        with suppress(BusError, Replaced):
            await beacon.say_goodbye(left=left)


async def _drain(
    bus: Bus, runner_id: str, runner: Runner, beacon: Beacon, takers: list[asyncio.Task[None]], drained: asyncio.Event
) -> None:
    """Once somebody asks for it: take no more, finish what is under way however long that takes, and say so."""
    async with drain_asked(bus, runner_id) as asked:
        await asked.wait()
        log.info("draining")
        for taker in takers:
            taker.cancel()
        beacon.leave()
        await runner.finish(None)
    drained.set()


async def _finish(settings: Settings, adapter: Adapter, runner: Runner) -> None:
    """Give what is under way its grace; then stop it, or leave it to the next runner where sandboxes outlive us."""
    await runner.finish(settings.grace_s)
    if runner.busy and not (settings.leave_running and adapter.kind == "docker"):
        runner.abandon_all("Fast-Flow was stopped while this ran; start it again")
        await runner.finish(STOP_S)


def _kinds(settings: Settings) -> list[Kind]:
    asked_for = {kind.strip() for kind in settings.kinds.split(",")}
    kinds: tuple[Kind, ...] = ("script", "notebook")
    return [kind for kind in kinds if kind in asked_for]


def _presence(settings: Settings, runner_id: str, adapter: Adapter) -> Presence:
    return Presence(
        runner=runner_id,
        instance="",
        host=os.uname().nodename,
        version=version("fastflow-runner"),
        sandbox=adapter.kind,
        sandbox_reason=adapter.why,
        daemon=adapter.daemon,
        slots=settings.slots,
        kinds=tuple(_kinds(settings)),
        unenforced=adapter.sandboxes.unenforced,
        started_at=now(),
        seen_at=now(),
    )


def _seen(presence: Presence, runner: Runner, adapter: Adapter) -> Presence:
    """With what changes while it lives."""
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    return replace(
        presence,
        busy=runner.busy,
        load=round(load, 2),
        environments=adapter.environments.known,
        paused=runner.is_paused,
    )


def _tools(settings: Settings, bus: Bus, runner_id: str, adapter: Adapter, beacon: Beacon) -> Tools:
    return Tools(
        runner=runner_id,
        bus=bus,
        runs=RunStore(bus),
        bundles=Bundles(bus),
        sandboxes=adapter.sandboxes,
        environments=adapter.environments,
        secrets=SecretBox(settings.encryption_key),
        beacon=beacon,
        spec=adapter.spec,
        name=adapter.name,
        cell_runner=adapter.cell_runner,
        log_bytes_max=settings.log_bytes_max,
    )
