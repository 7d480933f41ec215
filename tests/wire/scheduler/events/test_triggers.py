"""Messages on any subject start runs, on a real bus with two schedulers; nothing runs them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime, timedelta

import pytest
import pytest_asyncio
from msgspec.structs import replace
from nats.js.api import RetentionPolicy, StreamConfig

from fastflow_contracts.bus.bucket import Record
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.subjects import TriggerRef
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.event_triggers import BatchSpec, TriggerSpec
from fastflow_contracts.pipelines.store import PipelineStore
from fastflow_contracts.runs.event_cursors import EventCursor, event_cursors
from fastflow_contracts.runs.messages import Trigger
from fastflow_contracts.runs.run import RunInput, RunRecord
from fastflow_contracts.runs.skips import SkipStore
from fastflow_contracts.runs.store import RunStore
from fastflow_contracts.runs.triggers import read_trigger
from tests.support.chains import all_skips
from tests.support.gateway import running_gateway, running_scheduler, stored_run
from tests.support.records import T0, a_bundle, publish_pipeline

DEMO = PipelineName("demo")
REF = TriggerRef(DEMO, "orders")
CODE = a_bundle(main_py="print(1)")
WAIT_S = 60
BEFORE = 10_000


@pytest_asyncio.fixture
async def schedulers(bus_url: str, bus: Bus) -> AsyncIterator[Bus]:
    """Two schedulers."""
    async with AsyncExitStack() as stack:
        for name in ("s1", "s2"):
            await stack.enter_async_context(
                running_scheduler(await stack.enter_async_context(connect(bus_url, name=name)))
            )
        yield bus


async def deploy(bus: Bus, *, name: str = "demo", since: datetime = T0, **trigger: object) -> None:
    """Deploy a version with this trigger, live *since* then."""
    spec = TriggerSpec(**{"id": "orders", "subject": "orders.>"} | trigger)  # type: ignore[arg-type]
    await publish_pipeline(bus, name, CODE, live_since=since, triggers=(spec,))


async def make_stream(bus: Bus, *, direct: bool = True, **config: object) -> None:
    wanted = StreamConfig(name="ORDERS", subjects=["orders.>", "other.>"], allow_direct=direct)
    await bus.js.add_stream(wanted, **config)


async def runs_of(bus: Bus, name: str = "demo") -> list[tuple[RunRecord, RunInput]]:
    store = RunStore(bus)
    found = sorted(await store.all_of(PipelineName(name)), key=lambda run: run.created_at)
    return [(run, await store.input(run)) for run in found]


async def events_of(bus: Bus, name: str = "demo") -> list[bytes | None]:
    return [given.event for _, given in await runs_of(bus, name)]


async def cursor_of(bus: Bus) -> Record[TriggerRef, EventCursor] | None:
    return await event_cursors(bus).get(REF, is_exact=True)


async def until_done(bus: Bus, sequence: int, *, of: tuple[str, str] = ("demo", "orders")) -> EventCursor:
    """Return once all messages up to *sequence* have started what they start by the trigger *of* a pipeline."""
    async with asyncio.timeout(WAIT_S):
        async for batch in event_cursors(bus).follow():
            for change in batch.changes:
                if change.name == of and change.value is not None and change.value.done >= sequence:
                    return change.value
    raise AssertionError("a feed has no end")


async def until_problem(bus: Bus, words: str) -> None:
    async with asyncio.timeout(WAIT_S):
        async for batch in event_cursors(bus).follow():
            for change in batch.changes:
                if change.value is not None and words in change.value.problem:
                    return


async def publish(bus: Bus, *events: object, subject: str = "orders.new") -> int:
    last = 0
    for event in events:
        last = (await bus.js.publish(subject, event if isinstance(event, bytes) else json.dumps(event).encode())).seq
    return last


@pytest.mark.parametrize("direct", [True, False])
async def test_each_message_that_passes_starts_one_run(schedulers: Bus, direct: bool) -> None:
    bus = schedulers
    await make_stream(bus, direct=direct)
    await deploy(bus, when="event.total > 100")
    await publish(bus, *({"total": total} for total in range(95, 106)))
    await publish(bus, {"total": 999}, subject="other.new")
    last = await publish(bus, {"total": 200}, subject="orders.eu.new")
    cursor = await until_done(bus, last)
    assert sorted(json.loads(event or b"")["total"] for event in await events_of(bus)) == [101, 102, 103, 104, 105, 200]
    run, given = (await runs_of(bus))[-1]
    assert (run.order.triggered_by, run.order.trigger_id) == ("bus", "orders")
    assert run.order.event_subject == given.event_headers["nats-subject"]
    assert cursor.last_run_id in {run.id for run, _ in await runs_of(bus)}


async def test_what_is_published_while_no_scheduler_runs_starts_runs_later(bus_url: str, bus: Bus) -> None:
    await make_stream(bus)
    await deploy(bus)
    last = await publish(bus, *range(1_200))
    async with connect(bus_url, name="s") as own, running_scheduler(own):
        await until_done(bus, last)
    assert sorted(int(event or b"") for event in await events_of(bus)) == list(range(1_200))


async def test_only_what_is_stored_after_the_deployment_counts(bus_url: str, bus: Bus) -> None:
    await make_stream(bus)
    for number in range(BEFORE - 1):
        await bus.client.publish("orders.new", b"%d" % number)
    assert await publish(bus, "before") == BEFORE
    stored = await bus.js.get_msg("ORDERS", seq=BEFORE)
    assert stored.time is not None
    await deploy(bus, since=stored.time + timedelta(microseconds=1))
    last = await publish(bus, "after")
    async with connect(bus_url, name="s") as own, running_scheduler(own):
        await until_done(bus, last)
    assert await events_of(bus) == [b'"after"']


async def test_odd_messages_reach_the_script_as_they_are(schedulers: Bus) -> None:
    bus = schedulers
    await make_stream(bus)
    await deploy(bus)
    bodies = [b"", b"\x00\xff binary", b"no json {", b"x" * 900_000, b'{"env_vars": {"PATH": "/evil"}}']
    await publish(bus, *bodies)
    acknowledged = await bus.js.publish(
        "orders.new", b"with headers", headers={"X-GitHub-Event": "push", "Authorization": "secret"}
    )
    await until_done(bus, acknowledged.seq)
    assert sorted(event or b"" for event in await events_of(bus)) == sorted([*bodies, b"with headers"])
    _, given = next(each for each in await runs_of(bus) if each[1].event == b"with headers")
    assert given.event_headers["x-github-event"] == "push"
    assert "authorization" not in given.event_headers
    assert not any(run.order.env_names for run, _ in await runs_of(bus))


async def test_an_expression_that_fails_leaves_a_skip_that_can_be_redriven(schedulers: Bus) -> None:
    bus = schedulers
    await make_stream(bus)
    slow = "event.n.all(a, event.n.all(b, event.n.all(c, a + b + c >= 0)))"
    await deploy(bus, when=f"event.total > 100 && {slow}")
    last = await publish(
        bus, b"no json", {"total": "text", "n": []}, {"total": 101, "n": list(range(400))}, {"total": 101, "n": [1]}
    )
    await until_done(bus, last)
    assert [json.loads(event or b"") for event in await events_of(bus)] == [{"total": 101, "n": [1]}]
    skips = await all_skips(bus)
    assert len(skips) == 3
    assert any("10 ms" in skip.reason for skip in skips)
    for skip in skips:
        assert skip.id is not None
        letter = await SkipStore(bus).letter("demo", skip.id)
        assert letter is not None
        kept: Trigger = read_trigger(letter.payload, letter.headers, by_service=True)
        assert (kept.trigger_id, kept.event_subject) == ("orders", "orders.new")
    refused = {skip.id: (await SkipStore(bus).letter("demo", str(skip.id))) for skip in skips}
    async with running_gateway(bus) as client:
        async with asyncio.timeout(WAIT_S):
            while len((await client.get("/api/skipped")).json["skips"]) < len(skips):
                await asyncio.sleep(0.1)
        answers = [await client.post(f"/api/skipped/{skip.id}/redrive") for skip in skips]
    assert [answer.status for answer in answers] == [200] * len(skips)
    for skip, answer in zip(skips, answers, strict=True):
        run, given = await stored_run(bus, answer.json["id"])
        kept_letter = refused[skip.id]
        assert kept_letter is not None
        assert given.event == read_trigger(kept_letter.payload, kept_letter.headers, by_service=True).event
        assert (run.order.trigger_id, run.order.event_subject) == ("orders", "orders.new")
    assert len(await events_of(bus)) == 1 + len(skips)


async def test_messages_with_one_key_start_one_run(schedulers: Bus) -> None:
    bus = schedulers
    await make_stream(bus)
    await deploy(bus, key="event.id")
    last = await publish(bus, {"id": "a"}, {"id": "b"}, {"id": "a"}, {"id": 7}, {"id": ""}, {})
    await until_done(bus, last)
    assert sorted(json.loads(event or b"")["id"] for event in await events_of(bus)) == ["a", "b"]
    assert len(await all_skips(bus)) == 3


async def test_a_batch_is_one_event_of_json_lines(schedulers: Bus) -> None:
    bus = schedulers
    await make_stream(bus)
    await deploy(bus, batch=BatchSpec(max=4, within_seconds=1), when="event != 0")
    last = await publish(bus, {"a": 1}, 0, b'{\n "b": 2.50}', b"text\n", b"\xff", b"", 0, 7)
    await until_done(bus, last)
    runs = await runs_of(bus)
    first = b'{"a":1}\n{"b":2.50}\n"text\\n"\n{"data_base64":"/w=="}\n'
    assert [given.event for _, given in runs] == [first, b"null\n7\n"]
    assert {given.event_type for _, given in runs} == {"application/x-ndjson"}
    assert {run.order.event_subject for run, _ in runs} == {"orders.>"}


async def test_a_batch_is_split_where_an_event_would_be_too_large(schedulers: Bus) -> None:
    bus = schedulers
    await make_stream(bus)
    await deploy(bus, batch=BatchSpec(max=1_000, within_seconds=1))
    last = await publish(bus, *("x" * 300_000 for _ in range(7)))
    await until_done(bus, last)
    events = await events_of(bus)
    assert [event.count(b"\n") for event in events if event] == [3, 3, 1]


async def test_quiet_starts_one_run_for_each_key_with_the_newest_message(schedulers: Bus) -> None:
    bus = schedulers
    await make_stream(bus)
    await deploy(bus, debounce_seconds=1.0, key="event.id")
    last = await publish(bus, *({"id": key, "n": number} for number in range(5) for key in "ab"))
    await until_done(bus, last)
    events = [json.loads(event or b"") for event in await events_of(bus)]
    assert sorted(events, key=lambda event: event["id"]) == [{"id": "a", "n": 4}, {"id": "b", "n": 4}]
    last = await publish(bus, {"id": "a", "n": 9})  # the same key later is another run
    await until_done(bus, last)
    assert len(await events_of(bus)) == 3


async def test_a_stream_that_appears_later_is_read_and_others_are_not_disturbed(schedulers: Bus) -> None:
    """Nor by one that goes away."""
    bus = schedulers
    await bus.js.add_stream(StreamConfig(name="PAYMENTS", subjects=["payments.>"]))
    await deploy(bus)
    await deploy(bus, name="pay", id="paid", subject="payments.>")
    await until_problem(bus, "no stream of the bus stores orders.>")
    await until_done(bus, await publish(bus, "early", subject="payments.new"), of=("pay", "paid"))
    assert await events_of(bus, "pay") == [b'"early"']
    await make_stream(bus)
    cursor = await until_done(bus, await publish(bus, "first"))
    assert cursor.problem == ""
    await bus.js.delete_stream("ORDERS")
    await until_problem(bus, "no stream of the bus stores orders.>")
    await until_done(bus, await publish(bus, "late", subject="payments.new"), of=("pay", "paid"))
    assert await events_of(bus, "pay") == [b'"early"', b'"late"']
    assert await events_of(bus) == [b'"first"']


async def test_a_stream_whose_messages_go_to_the_first_taker_is_named_as_a_problem(schedulers: Bus) -> None:
    bus = schedulers
    await make_stream(bus, retention=RetentionPolicy.WORK_QUEUE)
    await deploy(bus)
    await until_problem(bus, "retention workqueue")


async def test_several_streams_are_named_as_a_problem(schedulers: Bus) -> None:
    bus = schedulers
    await bus.js.add_stream(StreamConfig(name="A", subjects=["orders.a"]))
    await bus.js.add_stream(StreamConfig(name="B", subjects=["orders.b"]))
    await deploy(bus)
    await until_problem(bus, "2 streams store orders.> (A, B)")


async def test_a_stream_that_is_made_anew_is_read_from_its_start(schedulers: Bus) -> None:
    bus = schedulers
    await make_stream(bus)
    await deploy(bus)
    await until_done(bus, await publish(bus, "old", "old too"))
    await bus.js.delete_stream("ORDERS")
    await make_stream(bus)
    await publish(bus, "new")
    async with asyncio.timeout(WAIT_S):
        while len(await events_of(bus)) < 3:
            await asyncio.sleep(0.1)
    assert sorted(await events_of(bus)) == [b'"new"', b'"old too"', b'"old"']  # type: ignore[type-var]


@pytest.mark.parametrize("how", ["removed", "disabled"])
async def test_a_trigger_that_is_gone_leaves_nothing_and_starts_nothing(schedulers: Bus, how: str) -> None:
    """Also with messages that wait for their batch."""
    bus = schedulers
    await make_stream(bus)
    await deploy(bus, batch=BatchSpec(max=100, within_seconds=3_600))
    async with asyncio.timeout(WAIT_S):
        while (known := await cursor_of(bus)) is None or not known.value.stream:
            await asyncio.sleep(0.1)
    await publish(bus, 1, 2, 3)
    if how == "disabled":
        await deploy(bus, enabled=False)
    else:
        record = await PipelineStore(bus).records.get(DEMO)
        assert record is not None
        await PipelineStore(bus).records.put(DEMO, replace(record.value, removed_at=T0), expect=None)
    async with asyncio.timeout(WAIT_S):
        while await cursor_of(bus) is not None:
            await asyncio.sleep(0.1)
    assert await events_of(bus) == []
