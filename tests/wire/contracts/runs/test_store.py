"""Creating runs with their inputs on a real bus, with other writers and after a crash."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus, Put
from fastflow_contracts.runs.run import RUN_INPUT, RunInput
from fastflow_contracts.runs.state_machine import Cancel
from fastflow_contracts.runs.store import RunStore
from tests.support.records import a_run

RUN = a_run("demo", has_input=True)


@pytest.mark.parametrize("left", [RunInput(overrides={"A": "old"}), RunInput(overrides={"A": "new"})])
async def test_an_input_that_a_crash_left_behind_is_used_or_replaced(bus: Bus, left: RunInput) -> None:
    """Used if it is the same; replaced if the pipeline has changed since."""
    given = RunInput(overrides={"A": "new"})
    await bus.commit(subjects.INPUTS, [Put(subjects.input_key(RUN.ref), RUN_INPUT.encode(left), 0)])
    runs = RunStore(bus)
    assert await runs.create(RUN, given) is not None
    assert await runs.input(RUN) == given


async def test_one_of_many_creators_creates_a_run(bus: Bus) -> None:
    """Its input is stored; later creators change neither run nor input."""
    given = RunInput(overrides={"A": "new"})
    created = await asyncio.gather(*(RunStore(bus).create(RUN, given) for _ in range(20)))
    assert sum(each is not None for each in created) == 1
    assert await RunStore(bus).create(RUN, RunInput(overrides={"A": "later"})) is None
    assert await RunStore(bus).input(RUN) == given


async def test_renewing_a_run_rewrites_record_and_input_unchanged(bus: Bus) -> None:
    """Of a run that is not over; nothing else is written."""
    given = RunInput(overrides={"A": "1"})
    runs = RunStore(bus)
    created = await runs.create(RUN, given)
    assert created is not None
    await runs.renew(RUN.ref)
    renewed = await runs.load(RUN.ref)
    assert renewed.revision > created.revision
    assert replace(renewed.run, write_id="") == RUN
    entry = await bus.get(subjects.INPUTS, subjects.input_key(RUN.ref))
    assert entry is not None
    assert entry.revision == 2
    ended = (await runs.change(RUN.ref, Cancel())).stored
    await runs.renew(RUN.ref)
    assert (await runs.load(RUN.ref)).revision == ended.revision
