"""What triggers keep of messages is bounded, whatever the messages are made of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from fastflow_contracts.bus.foreign import EventMessage
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.expressions.evaluator import ExpressionEvaluator
from fastflow_contracts.pipelines.format.event_triggers import BatchSpec, TriggerSpec
from fastflow_contracts.pipelines.format.spec import PipelineSpec
from fastflow_scheduler.events.quiet import KEYS_MAX, Quiet, QuietPlace
from fastflow_scheduler.events.sieve import Sieve

AT = datetime(2026, 1, 1, tzinfo=UTC)
MIB = 1024 * 1024


def message(number: int, *, data: bytes = b"", header: str = "") -> EventMessage:
    return EventMessage("orders.new", number, AT, data, {"a": header})


def test_what_waits_for_quiet_is_bounded_and_keeps_no_messages() -> None:
    quiet, let_go = Quiet(), 0
    for number in range(KEYS_MAX + 50):
        quiet.add(f"{number}" * 1_000, message(number, data=b"x"))
        let_go += len(list(quiet.due(AT, timedelta(hours=1))))
    assert (len(quiet), let_go) == (KEYS_MAX, 50)
    assert quiet.first == QuietPlace(50, AT)


async def test_a_batch_keeps_no_white_space() -> None:
    spec = TriggerSpec(id="orders", subject="orders.>", batch=BatchSpec(max=1_000))
    sieve = Sieve(PipelineName("demo"), spec, PipelineSpec().run_config(None), ExpressionEvaluator())
    (wanted,) = await sieve.sift([message(1, data=b"[" + b" " * MIB + b"1]")])
    assert wanted.message.data == wanted.trigger.event == b"[1]\n"


async def test_a_batch_keeps_no_headers() -> None:
    spec = TriggerSpec(id="orders", subject="orders.>", batch=BatchSpec(max=1_000))
    sieve = Sieve(PipelineName("demo"), spec, PipelineSpec().run_config(None), ExpressionEvaluator())
    (wanted,) = await sieve.sift([message(1, header="x" * MIB)])
    assert wanted.message.data == b"null\n"
    assert not wanted.message.headers
    assert wanted.trigger.event_headers.keys() <= {"nats-subject"}
