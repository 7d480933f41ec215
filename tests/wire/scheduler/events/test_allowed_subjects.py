"""An operator says which subjects may start runs."""

from __future__ import annotations

import asyncio
import json

import pytest
from nats.js.api import StreamConfig

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.limit_settings import LimitSettings
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.event_triggers import TriggerSpec
from fastflow_contracts.pipelines.format.manifest import read_manifest
from fastflow_contracts.runs.event_cursors import event_cursors
from fastflow_contracts.runs.store import RunStore
from fastflow_contracts.service.settings import load
from fastflow_scheduler.settings import SchedulerSettings
from tests.support.gateway import running_scheduler
from tests.support.records import T0, a_bundle, publish_pipeline

ALLOWED = {"FASTFLOW_TRIGGER_SUBJECTS": "orders.>, stock.*.new"}
WAIT_S = 60


@pytest.mark.parametrize(
    ("subject", "is_allowed"),
    [
        ("orders.new", True),
        ("orders.>", True),
        ("orders.*.x", True),
        ("stock.eu.new", True),
        ("stock.*.new", True),
        ("orders", False),
        ("stock.>", False),
        ("stock.*.>", False),
        ("stock.eu.*", False),
        ("payments.>", False),
    ],
)
def test_other_subjects_are_a_problem_at_sync(subject: str, is_allowed: bool) -> None:
    text = json.dumps({"triggers": [{"id": "a", "subject": subject}]}).encode()
    problems = read_manifest(text, file_name="pipeline.json", policy=load(LimitSettings, ALLOWED).policy).problems
    assert [each.field for each in problems] == ([] if is_allowed else ["triggers[0].subject"])
    assert read_manifest(text, file_name="pipeline.json").problems == ()


async def test_those_of_a_version_from_before_start_nothing_and_say_why(bus_url: str, bus: Bus) -> None:
    await bus.js.add_stream(StreamConfig(name="ALL", subjects=["orders.>", "payments.>"], allow_direct=True))
    triggers = (TriggerSpec(id="orders", subject="orders.>"), TriggerSpec(id="payments", subject="payments.>"))
    await publish_pipeline(bus, PipelineName("demo"), a_bundle(main_py="pass"), live_since=T0, triggers=triggers)
    await bus.js.publish("payments.new", b"1")
    last = (await bus.js.publish("orders.new", b"2")).seq
    settings = SchedulerSettings(trigger_subjects="orders.>")
    async with (
        connect(bus_url, name="s") as own,
        running_scheduler(own, settings=settings),
        asyncio.timeout(WAIT_S),
    ):
        done, problem = 0, ""
        async for batch in event_cursors(bus).follow():
            for change in batch.changes:
                if change.value is not None and change.name.trigger == "orders":
                    done = change.value.done
                elif change.value is not None:
                    problem = change.value.problem
            if done >= last and problem:
                break
    assert "FASTFLOW_TRIGGER_SUBJECTS" in problem
    (run,) = await RunStore(bus).all_of(PipelineName("demo"))
    assert run.order.trigger_id == "orders"
