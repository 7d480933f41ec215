"""What all triggers of a scheduler hold together is bounded, on a real bus."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from nats.js.api import StreamConfig

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.event_triggers import TriggerSpec
from fastflow_contracts.runs.event_cursors import event_cursors
from tests.support.gateway import running_scheduler
from tests.support.records import T0, a_bundle, publish_pipeline

TRIGGERS, MESSAGES, MIB = 50, 20, 1024 * 1024
HELD_MIB_MAX = 400
"""Far less than all messages that wait: 1,000 MiB."""
WAIT_S = 240


def peak_mib() -> float:
    """The most memory that this process has had since the peak was reset, in MiB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


@pytest.mark.slow
async def test_messages_that_wait_for_quiet_are_not_held(bus_url: str, bus: Bus) -> None:
    await bus.js.add_stream(StreamConfig(name="ORDERS", subjects=["orders.>"], allow_direct=True))
    triggers = tuple(
        TriggerSpec(id=f"t{number}", subject="orders.>", key="headers['nats-subject']", debounce_seconds=3_600)
        for number in range(TRIGGERS)
    )
    await publish_pipeline(bus, PipelineName("demo"), a_bundle(main_py="pass"), live_since=T0, triggers=triggers)
    for number in range(MESSAGES):
        await bus.js.publish(f"orders.{number}", b'"' + b"x" * (MIB - 1_000) + b'"')
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_mib()
    async with connect(bus_url, name="s") as own, running_scheduler(own), asyncio.timeout(WAIT_S):
        waiting: set[str] = set()
        async for batch in event_cursors(bus).follow():
            for change in batch.changes:
                if change.value is not None and change.value.waiting == MESSAGES:
                    waiting.add(change.name.trigger)
            if len(waiting) == TRIGGERS:
                break
    print(f"peak of {peak_mib() - before:.0f} MiB")
    assert peak_mib() - before < HELD_MIB_MAX
