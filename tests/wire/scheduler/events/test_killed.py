"""A scheduler that is killed at any step of a trigger loses no message and starts no second run for one."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import RevisionConflict
from fastflow_contracts.clock import now
from fastflow_contracts.pipelines.expressions.evaluator import ExpressionEvaluator
from fastflow_contracts.pipelines.format.event_triggers import BatchSpec, TriggerSpec
from fastflow_contracts.pipelines.store import PipelineStore
from fastflow_contracts.runs.store import RunStore
from fastflow_contracts.starting.admission import Defaults
from fastflow_scheduler.events.held_bytes import HeldBytes
from fastflow_scheduler.events.reading import Reading
from fastflow_scheduler.starting.starter import Starter
from tests.support.records import publish_pipeline
from tests.wire.scheduler.events.test_triggers import CODE, DEMO, REF, events_of, make_stream, publish

KINDS = {
    "each": {},
    "batch": {"batch": BatchSpec(max=3, within_seconds=0.1)},
    "quiet": {"debounce_seconds": 0.1, "key": "string(event)"},
}
NUMBERS = list(range(20))


class Killed(BaseException):
    """The process ends here."""


class Scheduler:
    """A scheduler's reading of one trigger, which ends at its *dies_at*-th step, before or after it."""

    def __init__(self, bus: Bus, evaluator: ExpressionEvaluator, *, dies_at: int = -1, after: bool = False) -> None:
        self._bus, self._evaluator = bus, evaluator
        self._left, self._after = dies_at, after
        self.is_dead = False

    async def work(self, until: int) -> None:
        """Read until all up to *until* is done, or the end comes."""
        record = await PipelineStore(self._bus).records.get(DEMO)
        assert record is not None
        assert record.value.live is not None
        starter: Any = Starter(self._bus, RunStore(self._bus), Defaults())
        reading: Any = Reading(
            self._bus, starter, self._evaluator, REF, record.value.live, HeldBytes(), idle_s=0.02, clock=now
        )
        starter.start = self._step(starter.start)
        reading.position._cursors.put = self._step(reading.position._cursors.put)
        async with asyncio.timeout(60):
            while not reading.position._is_loaded or reading.position.cursor.done < until:
                try:
                    await asyncio.sleep(await reading.go_on())
                except RevisionConflict:
                    reading.forget()
                except Killed:
                    return

    def _step(self, do: Any) -> Any:
        async def step(*args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            self.is_dead = self.is_dead or self._left == -1
            if self.is_dead and not (self._after and self._left == -1):
                raise Killed
            done = await do(*args, **kwargs)
            if self.is_dead:
                raise Killed
            return done

        if self._left < 0:
            return do
        return step


def counted(events: list[bytes | None]) -> Counter[int]:
    """How often each number is in an event."""
    return Counter(json.loads(each) for event in events for each in (event or b"").splitlines())


@pytest.mark.parametrize("after", [False, True], ids=["before the step", "after the step"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_scheduler_that_is_killed_at_a_step_loses_nothing(bus: Bus, kind: str, after: bool) -> None:
    """Each scheduler ends one step later than the one before it, while messages arrive; the last one lives."""
    await make_stream(bus)
    spec = TriggerSpec(id="orders", subject="orders.>", when="event >= 0", **KINDS[kind])  # type: ignore[arg-type]
    await publish_pipeline(bus, "demo", CODE, triggers=(spec,))
    evaluator = ExpressionEvaluator()
    try:
        last = 0
        for dies_at, number in enumerate(NUMBERS):
            last = await publish(bus, number, -1)
            victim = Scheduler(bus, evaluator, dies_at=dies_at % 7, after=after)
            await victim.work(last)
        await Scheduler(bus, evaluator).work(last)
    finally:
        await evaluator.close()
    assert counted(await events_of(bus)) == Counter(NUMBERS)


@pytest.mark.parametrize("kind", KINDS)
async def test_three_schedulers_that_read_one_trigger_start_each_run_once(bus: Bus, kind: str) -> None:
    """None of them knows of the others: what they start follows from the messages and the cursor."""
    await make_stream(bus)
    spec = TriggerSpec(id="orders", subject="orders.>", when="event >= 0", **KINDS[kind])  # type: ignore[arg-type]
    await publish_pipeline(bus, "demo", CODE, triggers=(spec,))
    evaluators = [ExpressionEvaluator() for _ in range(3)]
    last = await publish(bus, *range(200))
    try:
        await asyncio.gather(*(Scheduler(bus, each).work(last) for each in evaluators))
    finally:
        for each in evaluators:
            await each.close()
    assert counted(await events_of(bus)) == Counter(range(200))
