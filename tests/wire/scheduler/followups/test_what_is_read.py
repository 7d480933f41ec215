"""Of a run that ended, only that is read which something needs: most runs have no follower."""

from __future__ import annotations

import asyncio

import pytest
from nats.aio.msg import Msg

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from tests.support.chains import CODE, failure, finish, schedulers, started, success, to
from tests.support.records import publish_pipeline

ENDS = (streams.bucket_stream(subjects.RUNS), streams.SCHEDULER)
WAIT_S = 60


@pytest.mark.parametrize(
    ("spec", "fails", "read"),
    [
        ({}, False, set()),
        ({"downstream_triggers": (to("b", on_success=False, on_failure=True),)}, False, set()),
        ({"downstream_triggers": (to("b"),)}, False, {"result"}),
        ({"restart_on_crash": True}, False, set()),
        ({"restart_on_crash": True, "restart_cooldown": 3_600.0}, True, {"input"}),
    ],
    ids=["nothing follows", "not after success", "a follower", "no crash", "a restart"],
)
async def test_input_and_result_are_read_when_something_follows(
    bus_url: str, bus: Bus, spec: dict[str, object], fails: bool, read: set[str]
) -> None:
    await publish_pipeline(bus, "a", CODE, **spec)
    await publish_pipeline(bus, "b", CODE)
    asked: list[str] = []

    async def hear(message: Msg) -> None:
        asked.append(f"{message.subject} {message.data.decode()}")

    async with schedulers(bus_url, bus) as fast:
        run = await started(fast, "a", event=b"1")
        for api in ("$JS.API.STREAM.MSG.GET.>", "$JS.API.DIRECT.GET.>"):
            await bus.client.subscribe(api, cb=hear)
        await bus.client.flush()
        await finish(bus, run, failure(run) if fails else success(run, result=b"1"))
        async with asyncio.timeout(WAIT_S):
            while (left := await bus.js.consumer_info(*ENDS)).num_pending or left.num_ack_pending:
                await asyncio.sleep(0.05)
        await bus.client.flush()
    assert {kind for kind in ("input", "result") if any(f"{kind}.a.{run.id}" in each for each in asked)} == read
