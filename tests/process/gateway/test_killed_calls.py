"""Calls whose gateway or scheduler is killed: what the callers see, and that their runs go on."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.streams import ensure
from tests.support.gateway import ANSWER_S, claim, finish, running_gateway, running_scheduler
from tests.support.gateway_process import running_gateway_process
from tests.support.new_runs import new_runs
from tests.support.processes import BusServer
from tests.support.records import a_bundle, publish_pipeline

START = "/api/pipelines/demo/run?wait=60"
KEY = {"Idempotency-Key": "order-7"}
ID = {"Nats-Msg-Id": "order-8"}


async def test_a_call_outlives_its_gateway(bus: Bus, bus_url: str) -> None:
    """A caller over HTTP loses its connection, one on the bus hears nothing. Repeated, each gets the end of its run."""
    await publish_pipeline(bus, "demo", a_bundle(main_py="1"))
    async with running_scheduler(bus), new_runs(bus) as next_run:
        async with running_gateway_process(bus_url) as killed:
            over_http = asyncio.create_task(killed.post(START, headers=KEY))
            on_the_bus = asyncio.create_task(bus.client.request("ff.call.demo", b"", headers=ID, timeout=ANSWER_S))
            runs = [await next_run(), await next_run()]
            await killed.service.kill()
            with pytest.raises(aiohttp.ClientError):
                await over_http
            assert not on_the_bus.done()
            on_the_bus.cancel()
        for number, run in enumerate(runs):
            await finish(bus, await claim(bus, run), result=b"%d" % number)
        async with running_gateway(bus) as other:
            answer = await other.post(START, headers=KEY)
            reply = await bus.client.request("ff.call.demo", b"", headers=ID, timeout=ANSWER_S)
            assert len((await other.get("/api/runs")).json["runs"]) == 2
    assert (answer.status, answer.json["status"]) == (200, "SUCCESS")
    assert {answer.json["id"], _field(reply.data, "run_id")} == {run.id for run in runs}
    assert {answer.json["result"], _field(reply.data, "result")} == {0, 1}


@pytest.mark.slow
async def test_while_no_scheduler_works_a_call_waits(bus: Bus, bus_url: str) -> None:
    """Its start is stored; the caller gets the end as soon as a scheduler is there again."""
    await publish_pipeline(bus, "demo", a_bundle(main_py="1"))
    async with running_gateway(bus) as gateway, new_runs(bus) as next_run, asyncio.TaskGroup() as group:
        over_http = group.create_task(gateway.post(START))
        on_the_bus = group.create_task(bus.client.request("ff.call.demo", b"", timeout=ANSWER_S))
        async with asyncio.timeout(ANSWER_S):
            while "fastflow_gateway_waits 2.0" not in (await gateway.get("/metrics")).text:
                await asyncio.sleep(0.05)
        async with running_scheduler(bus):
            for _ in range(2):
                await finish(bus, await claim(bus, await next_run()), result=b"7")
            answer, reply = await over_http, await on_the_bus
    assert (answer.status, answer.json["result"], _field(reply.data, "result")) == (200, 7, 7)


def _field(reply: bytes, name: str) -> object:
    return json.loads(reply)[name]


async def test_callers_wait_through_an_outage_of_the_bus(tmp_path: Path) -> None:
    """The answer over HTTP and the reply on the bus come when the bus is back; then new calls are answered, too."""
    server = BusServer(tmp_path)
    url = await server.start()
    try:
        async with connect(url, name="test") as bus:
            await ensure(bus.js)
            await publish_pipeline(bus, "demo", a_bundle(main_py="1"))
            async with running_scheduler(bus), running_gateway(bus) as gateway, asyncio.TaskGroup() as group:
                async with new_runs(bus) as next_run:
                    over_http = group.create_task(gateway.post(START))
                    on_the_bus = group.create_task(bus.client.request("ff.call.demo", b"", timeout=ANSWER_S))
                    runs = [await next_run(), await next_run()]
                await server.kill()
                await server.start()
                async with asyncio.timeout(ANSWER_S):
                    while not bus.is_connected:
                        await asyncio.sleep(0.05)
                for run in runs:
                    await finish(bus, await claim(bus, run), result=b"7")
                answer, reply = await over_http, await on_the_bus
                again = await bus.client.request("ff.call.demo", b"", headers={"Prefer": "wait=0"}, timeout=ANSWER_S)
    finally:
        await server.end()
    assert (answer.status, answer.json["result"], _field(reply.data, "result")) == (200, 7, 7)
    assert _field(again.data, "status") == "PENDING"
