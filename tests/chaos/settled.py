"""How most tests here start and end."""

from __future__ import annotations

from typing import Any

from fastflow_contracts.bus.subjects import RunRef
from fastflow_contracts.runs.run import RunRecord
from tests.chaos.evidence import gather
from tests.chaos.verdict import wrongs
from tests.chaos.world import World
from tests.support.processes import Service


async def under_way(world: World, main: str, *services: Service, **spec: Any) -> RunRef:
    """A run of *main* that has printed its first line."""
    await world.running(*services)
    await world.pipeline("script", main, **spec)
    ref = await world.start("script")
    await world.first_output(ref)
    return ref


async def settled(world: World, runner: Service, *refs: RunRef, lines: int | None = None) -> list[RunRecord]:
    """Return the runs once they are over and their runner has stopped; check that they leave nothing wrong."""
    runs = [await world.end(ref) for ref in refs]
    assert await runner.terminate() == 0
    assert wrongs(await gather(world), refs, lines={"script": lines}) == []
    return runs
