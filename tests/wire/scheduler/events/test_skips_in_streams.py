"""A refused start by a large message keeps no copy: the message is in its stream, and is redriven from there."""

from __future__ import annotations

import asyncio
import json

import pytest
from nats.js.api import StreamConfig

from fastflow_contracts.bus import streams
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.event_triggers import TriggerSpec
from fastflow_contracts.runs.event_cursors import event_cursors
from fastflow_contracts.runs.triggers import EVENT_BYTES_MAX
from tests.support.chains import all_skips
from tests.support.gateway import Client, running_gateway, running_scheduler, stored_run
from tests.support.records import T0, a_bundle, publish_pipeline

MESSAGES = 20
LARGE = 900_000
WAIT_S = 120


async def deploy(bus: Bus, trigger: TriggerSpec, **spec: object) -> None:
    await bus.js.add_stream(StreamConfig(name="ORDERS", subjects=["orders.>"], allow_direct=True))
    code = a_bundle(main_py="print(1)")
    await publish_pipeline(bus, PipelineName("demo"), code, live_since=T0, triggers=(trigger,), **spec)


async def publish(bus: Bus, *bodies: bytes) -> None:
    """Return once all of them are handled."""
    last = 0
    for body in bodies:
        last = (await bus.js.publish("orders.new", body)).seq
    async with asyncio.timeout(WAIT_S):
        async for batch in event_cursors(bus).follow():
            if any(change.value is not None and change.value.done >= last for change in batch.changes):
                return


async def listed(client: Client, number: int) -> list[dict[str, object]]:
    async with asyncio.timeout(WAIT_S):
        while len(found := (await client.get("/api/skipped")).json["skips"]) < number:
            await asyncio.sleep(0.1)
    return list(found)


def body(number: int) -> bytes:
    return json.dumps({"number": number, "text": "x" * LARGE}).encode()


@pytest.mark.parametrize("how", ["filter", "limit"])
async def test_large_messages_are_redriven_from_their_stream_and_do_not_fill_the_room(
    bus_url: str, bus: Bus, how: str
) -> None:
    when = "event.missing > 1" if how == "filter" else None
    await deploy(bus, TriggerSpec(id="orders", subject="orders.>", when=when), max_instances=1)
    async with connect(bus_url, name="s") as own, running_scheduler(own):
        await publish(bus, *(body(number) for number in range(MESSAGES)))
        stored = (await bus.js.stream_info(streams.NOTICES)).state.bytes
        assert stored < MESSAGES * 2_000
        async with running_gateway(bus) as client:
            skips = await listed(client, MESSAGES if how == "filter" else MESSAGES - 1)
            oldest = skips[-1]
            assert (oldest["is_kept"], oldest["event"], oldest["stream"]) == (True, None, "ORDERS")
            page = await client.get(f"/skipped/{oldest['id']}")
            assert f"in the stream ORDERS at {oldest['sequence']}" in page.text
            answer = await client.post(f"/api/skipped/{oldest['id']}/redrive")
            if how == "limit":
                assert (answer.status, "already" in answer.json["detail"]) == (429, True), answer.json
                return
            assert answer.status == 200, answer.json
            run, given = await stored_run(bus, answer.json["id"])
            assert json.loads(given.event or b"")["number"] == int(str(oldest["sequence"])) - 1
            assert (run.order.trigger_id, run.order.event_subject) == ("orders", "orders.new")
            assert given.event_headers["nats-subject"] == "orders.new"
            await bus.js.purge_stream("ORDERS")
            gone = await client.post(f"/api/skipped/{skips[0]['id']}/redrive")
            assert (gone.status, "ORDERS" in gone.json["detail"]) == (410, True), gone.json


async def test_a_message_that_is_too_large_stays_refused(bus_url: str, bus: Bus) -> None:
    """It is named by its place; a redrive says again what is wrong with it."""
    await deploy(bus, TriggerSpec(id="orders", subject="orders.>"))
    async with connect(bus_url, name="s") as own, running_scheduler(own):
        await publish(bus, b"x" * (EVENT_BYTES_MAX + 1))
        (skip,) = await all_skips(bus)
        assert skip.event_at is not None
        assert (skip.event_at.stream, skip.event_at.sequence) == ("ORDERS", 1)
        async with running_gateway(bus) as client:
            await listed(client, 1)
            answer = await client.post(f"/api/skipped/{skip.id}/redrive")
            assert (answer.status, "larger than" in answer.json["detail"]) == (422, True)
