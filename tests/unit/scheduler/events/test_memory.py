"""What triggers keep of messages is bounded, whatever the messages are made of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fastflow_contracts.bus.foreign import EventMessage
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.expressions.evaluator import ExpressionEvaluator
from fastflow_contracts.pipelines.format.event_triggers import BatchSpec, TriggerSpec
from fastflow_contracts.pipelines.format.spec import PipelineSpec
from fastflow_scheduler.events.quiet import BYTES_MAX, Quiet
from fastflow_scheduler.events.sieve import Sieve

AT = datetime(2026, 1, 1, tzinfo=UTC)
MIB = 1024 * 1024


def message(number: int, *, data: bytes = b"", header: str = "") -> EventMessage:
    return EventMessage("orders.new", number, AT, data, {"a": header})


@pytest.mark.parametrize("part", ["data", "headers"])
def test_what_waits_for_quiet_is_bounded_also_by_headers(part: str) -> None:
    large = "x" * MIB
    quiet, let_go = Quiet(), 0
    for number in range(200):
        each = message(number, data=large.encode()) if part == "data" else message(number, header=large)
        quiet.add(str(number), each)
        let_go += len(list(quiet.due(AT, timedelta(hours=1))))
    assert 200 - let_go <= BYTES_MAX // MIB


async def test_a_batch_keeps_no_headers() -> None:
    spec = TriggerSpec(id="orders", subject="orders.>", batch=BatchSpec(max=1_000))
    sieve = Sieve(PipelineName("demo"), spec, PipelineSpec().run_config(None), ExpressionEvaluator())
    (wanted,) = await sieve.sift([message(1, header="x" * MIB)])
    assert wanted.message.size == 0
    assert wanted.trigger.event_headers.keys() <= {"nats-subject"}
