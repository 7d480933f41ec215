"""A gateway for tests of starts."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.pipelines.format.spec import ScheduleEntry
from tests.support.gateway import WEBHOOK_KEY, Client, running_gateway, running_scheduler
from tests.support.records import a_bundle, publish_pipeline


@pytest_asyncio.fixture
async def client(bus: Bus) -> AsyncIterator[Client]:
    """A gateway with one pipeline ``demo`` and a scheduler beside it; webhook bodies may have 1,000 bytes."""
    schedules = (ScheduleEntry(id="prod", webhook_key=f"{WEBHOOK_KEY}-prod"), ScheduleEntry(id="staging"))
    await publish_pipeline(
        bus, "demo", a_bundle(main_py="1"), webhook_key=WEBHOOK_KEY, schedules=schedules, accepts_env=("A", "B")
    )
    async with running_scheduler(bus), running_gateway(bus, webhook_bytes_max=1_000) as client:
        yield client
