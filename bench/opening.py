"""The steps of one sandbox of bubblewrap, from the call to the first line of its script; no bus and no gateway.

The next step begins where one ends, so they sum up. ``python -m bench.opening 40`` makes forty rounds.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any

from bench.report import report
from bench.start import SCRIPT
from bench.table import Table, figure, ms
from fastflow_contracts.pipelines.folder.bundle import File, pack
from fastflow_runner.sandbox import SandboxSpec
from fastflow_runner.sandbox.bubble import sandboxes as bubble
from fastflow_runner.sandbox.bubble.cgroups import Cgroups, find_cgroups
from fastflow_runner.sandbox.bubble.launch import Launcher, launch
from fastflow_runner.sandbox.bubble.network import BubbleNetworks, NetworkPlan
from fastflow_runner.sandbox.bubble.stage import Stage
from fastflow_runner.sandbox.bubble.syscalls import program
from fastflow_runner.sandbox.bubble.system import system_view
from fastflow_runner.sandbox.bubble.tools import find_bubblewrap
from fastflow_runner.sandbox.events import ScriptOutput
from fastflow_runner.sandbox.job import SandboxJob
from fastflow_runner.sandbox.session import Session

ROUNDS = 30
STEPS = (
    "folder and control group",
    "bubblewrap: its start, to the process that waits",
    "into the control group",
    "order of its network",
    "walls and supervisor's interpreter, meanwhile its network",
    "the channel",
    "job → first line",
    "removal",
)


class Watch:
    """Notes when each step ends."""

    def __init__(self) -> None:
        self.laps_s: list[float] = []
        self._last = time.perf_counter()

    def lap(self) -> None:
        """End a step."""
        now = time.perf_counter()
        self.laps_s.append(now - self._last)
        self._last = now


async def measure(rounds: int = ROUNDS) -> Table:
    """Measure with the network that users get, and without one."""
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        for network in ("fastflow", "none"):
            found = [await _once(Path(folder), network, number) for number in range(-2, rounds)][2:]
            for step, laps_s in zip(STEPS, zip(*found, strict=True), strict=True):
                figures.append(figure(f"`FASTFLOW_NETWORK={network}`: {step}", ms(laps_s), "ms"))
            figures.append(figure("all but the removal", ms([sum(laps[:-1]) for laps in found]), "ms"))
    return Table("The steps of one sandbox of `bubble`", tuple(figures))


async def _once(root: Path, network: str, number: int) -> list[float]:
    """Return the seconds of each step."""
    launcher, networks, cgroups = _shared(network)
    name = f"ff-opening-{network}-{number}"
    spec = SandboxSpec(name=name, network=network, memory_bytes=256 << 20, cpu_cores=1.0)
    sandboxes = bubble.BubbleSandboxes(root, launcher, networks, cgroups)
    plan = await networks.plan(network, None)
    watch = Watch()

    async def watched(
        launcher: Launcher,
        folder: Any,
        seen: SandboxSpec,
        plan: NetworkPlan,
        _: Callable[[int], Awaitable[None]],
        *,
        limits_processes: bool,
    ) -> Any:
        watch.lap()

        async def prepare(pid: int) -> asyncio.Task[None] | None:
            watch.lap()
            await asyncio.to_thread(cgroups.get(name).join, pid)
            watch.lap()
            joining = await networks.begin_join(pid, plan)
            watch.lap()
            return joining

        process = await launch(launcher, folder, seen, plan, prepare, limits_processes=limits_processes)
        watch.lap()
        return process

    bubble.launch = watched  # type: ignore[assignment]  # the only place between the steps
    channel = await sandboxes._open(spec, plan)
    watch.lap()
    job = SandboxJob(argv=("{python}", "-u", "main.py"), cwd="pipeline")
    session = await Session.start(channel, job, pack({"main.py": File(SCRIPT.encode())}))
    async for event in session:
        if isinstance(event, ScriptOutput):
            break
    watch.lap()
    await channel.close()
    await sandboxes.remove(name)
    watch.lap()
    return watch.laps_s


@cache
def _shared(network: str) -> tuple[Launcher, BubbleNetworks, Cgroups]:
    """Return what one runner makes once."""
    launcher = Launcher(find_bubblewrap(), system_view(), Stage(), program())
    return launcher, BubbleNetworks(network=network), find_cgroups()


if __name__ == "__main__":
    report(measure)
