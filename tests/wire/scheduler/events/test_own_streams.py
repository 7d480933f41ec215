"""A trigger starts no runs by what Fast-Flow itself stores, even if a version has it that no sync has checked."""

from __future__ import annotations

import pytest

from fastflow_contracts.bus import foreign
from fastflow_contracts.bus.client import Bus
from tests.wire.scheduler.events.test_triggers import deploy, runs_of, schedulers, until_problem

__all__ = ["schedulers"]


@pytest.mark.parametrize(
    "subject", ["$KV.ff_inputs.>", "$KV.ff_sessions.>", "ff.log.>", "$O.ff_bundles.C.>", ">", "*.*.>"]
)
async def test_a_stream_of_our_own_is_refused(bus: Bus, subject: str) -> None:
    with pytest.raises(foreign.NoSuchStream, match="belongs to Fast-Flow"):
        await foreign.stream_with(bus, subject)


async def test_a_trigger_on_one_says_so_and_starts_nothing(schedulers: Bus) -> None:
    await deploy(schedulers, subject="$KV.ff_pipelines.>")
    await until_problem(schedulers, "belongs to Fast-Flow")
    assert await runs_of(schedulers) == []
