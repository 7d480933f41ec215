"""Garbage on the bus: unreadable records are counted and skipped, and everything else is known."""

from __future__ import annotations

import asyncio
import re

import pytest
import pytest_asyncio

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.decoding import unreadable
from fastflow_contracts.bus.subjects import JobRef, ServiceRef
from fastflow_contracts.codec import Codec
from fastflow_contracts.ids import RunId
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.links import LINK_SET, Link, LinkSet
from fastflow_contracts.runs.messages import SKIP, SkipRecord
from fastflow_contracts.runs.presence import PRESENCE
from fastflow_contracts.runs.run import RUN
from fastflow_contracts.schedules.state import SWITCH, Switch
from fastflow_gateway.readmodel.model import ReadModel
from tests.support.gateway import ANSWER_S, Client, running_gateway, say, store
from tests.support.records import T0, a_bundle, a_presence, a_run, at, publish_pipeline

DEMO = PipelineName("demo")
JOB = JobRef(DEMO, "schedule")
RUN_ID = RunId("00000000-0000-4000-8000-000000000000")
GARBAGE = (b"", b"{", b"null", b"[1]", b'{"id": 7, "links": 7}', b"\xff\xfe", b"9" * 10_000, b"[" * 10_000)

#: By the type of a record, its keys or subjects, well-formed ones and others: one entry for each feed.
PLACES = {
    "RunRecord": [(subjects.RUNS, f"run.demo.{RUN_ID}"), (subjects.RUNS, "run.=.x"), (subjects.RUNS, "run.x")],
    "LimitSet": [(subjects.RUNS, subjects.ALL_RUNNING)],
    "Presence": [(subjects.RUNNERS, "runner.r1")],
    "ServiceTroubles": [
        (subjects.RUNNERS, subjects.service_key(ServiceRef("syncer", "0" * 32))),
        (subjects.RUNNERS, "service.x.y"),
    ],
    "PipelineRecord": [(subjects.PIPELINES, "pipeline.demo"), (subjects.PIPELINES, "pipeline.=")],
    "SyncStatusRecord": [(subjects.PIPELINES, subjects.SYNC_STATUS_KEY)],
    "LinkSet": [(subjects.LINKS, "links.demo"), (subjects.LINKS, "links.=")],
    "ScheduleState": [(subjects.SCHEDULES, subjects.schedule_state_key(JOB)), (subjects.SCHEDULES, "sched.=.=")],
    "Switch": [(subjects.SCHEDULES, subjects.schedule_switch_key(JOB)), (subjects.SCHEDULES, "switch.x")],
    "EventCursor": [(subjects.SCHEDULES, "cursor.demo.orders"), (subjects.SCHEDULES, "cursor.=.=")],
    "PauseSet": [(subjects.SCHEDULES, subjects.PAUSE_KEY)],
    "OperationRecord": [(subjects.OPERATIONS, subjects.operation_key(RUN_ID)), (subjects.OPERATIONS, "operation.x")],
    "SpentText": [(subjects.SESSIONS, subjects.spent_key("x"))],
    "SkipRecord": [("", "ff.skipped.demo")],
}


@pytest_asyncio.fixture(autouse=True)
async def _nothing_counted() -> None:
    unreadable.clear()


async def put_garbage(bus: Bus, kind: str) -> None:
    for bucket, key in PLACES[kind]:
        for data in GARBAGE:
            if bucket:
                await bus.put(bucket, key, data)
            else:
                await bus.publish(key, data)


async def put_good(bus: Bus) -> None:
    """Put a record for every feed behind the garbage."""
    await publish_pipeline(bus, "demo", a_bundle(main_py="1"), schedule_interval_seconds=3600)
    await publish_pipeline(bus, "next", a_bundle(main_py="1"))
    await store(bus, a_run("demo"))
    await bus.put(subjects.RUNNERS, subjects.runner_key("r1"), PRESENCE.encode(a_presence("r1")))
    link = Link(pipeline=PipelineName("next"), on_success=True)
    await bus.put(subjects.LINKS, subjects.links_key(DEMO), LINK_SET.encode(LinkSet(links=(link,), write_id="w")))
    switch = SWITCH.encode(Switch(enabled=False, at=T0, write_id="w"))
    await bus.put(subjects.SCHEDULES, subjects.schedule_switch_key(JOB), switch)
    await bus.publish("ff.skipped.demo", SKIP.encode(SkipRecord(at=at(1), pipeline=DEMO, reason="it is full")))


async def knows_all(client: Client) -> bool:
    demo = await client.get("/api/pipelines/demo")
    if demo.status != 200 or not demo.json["skipped"] or demo.json["total_runs"] != 1:
        return False
    if [each["id"] for each in (await client.get("/api/runners")).json["runners"]] != ["r1"]:
        return False
    if [each["enabled"] for each in (await client.get("/api/scheduler/jobs")).json] != [False]:
        return False
    return len((await client.get("/api/pipelines/demo/downstream-triggers")).json) == 1


async def until_all_is_known(client: Client) -> None:
    async with asyncio.timeout(ANSWER_S):
        while not await knows_all(client):
            await asyncio.sleep(0.05)


async def counted(client: Client) -> dict[str, int]:
    text = (await client.get("/metrics")).text
    return {kind: int(float(n)) for kind, n in re.findall(r'unreadable_records_total{kind="(.+)"} (\S+)', text)}


async def test_garbage_in_any_feed_is_counted_and_ends_nothing(bus: Bus) -> None:
    """Before the gateway starts and while it runs; good records are known both times."""
    assert len(PLACES) == len(ReadModel(bus).behind)
    for kind in PLACES:
        await put_garbage(bus, kind)
    async with running_gateway(bus) as client:
        assert (await client.get("/readyz")).status == 200
        assert (await counted(client)).keys() == PLACES.keys()
        await put_good(bus)
        await until_all_is_known(client)
        before = await counted(client)
        for kind in PLACES:
            await put_garbage(bus, kind)
        async with asyncio.timeout(ANSWER_S):
            while not all(count > before[kind] for kind, count in (await counted(client)).items()):
                await asyncio.sleep(0.05)
        await until_all_is_known(client)
        for path in ("/", "/runs", "/schedules", "/runners", "/graph", "/pipelines/demo", "/api/pipelines/graph"):
            assert (await client.get(path, headers={"Accept": "text/html"})).status == 200, path


async def test_a_record_under_the_key_of_another_is_ignored(bus: Bus) -> None:
    """Otherwise a run or a pipeline would be found in the wrong place."""
    run = a_run("demo")
    other = await publish_pipeline(bus, "other", a_bundle(main_py="1"))
    await bus.put(subjects.RUNS, f"run.demo.{RUN_ID}", RUN.encode(run))
    data = await bus.get(subjects.PIPELINES, subjects.pipeline_key(other.name))
    assert data is not None
    await bus.put(subjects.PIPELINES, "pipeline.demo", data.value)
    async with running_gateway(bus) as client:
        assert await counted(client) == {"RunRecord": 1, "PipelineRecord": 1}
        assert [each["name"] for each in (await client.get("/api/pipelines")).json] == ["other"]
        assert (await client.get("/api/runs")).json["runs"] == []


async def test_garbage_in_direct_reads_is_handled(bus: Bus) -> None:
    """A pipeline or a run with an unreadable record is not found; unreadable links are not overwritten."""
    for kind in ("RunRecord", "PipelineRecord", "LinkSet"):
        await put_garbage(bus, kind)
    await publish_pipeline(bus, "next", a_bundle(main_py="1"))
    async with running_gateway(bus) as client:
        for path in ("/api/pipelines/demo", f"/api/runs/{RUN_ID}"):
            assert (await client.get(path)).status == 404, path
        assert (await client.post("/api/pipelines/demo/run")).status == 404
        assert (await client.post("/api/webhooks/demo/key", anonymous=True)).status == 404
        await bus.put(subjects.LINKS, "links.next", b"{")
        made = await client.post("/api/pipelines/next/downstream-triggers", data=b'{"pipeline": "next"}')
        assert made.status == 409
        assert "cannot be read" in made.json["detail"]


@pytest.mark.parametrize("codec", [RUN, SKIP])
def test_the_garbage_of_these_tests_is_unreadable(codec: Codec[object]) -> None:
    """No decoder accepts it."""
    for data in GARBAGE:
        with pytest.raises(Exception, match="not a"):
            codec.decode(data)


async def test_garbage_in_the_output_of_a_run_is_left_out(bus: Bus) -> None:
    """In its log, its samples and its cells, whole and followed."""
    run = await store(bus, a_run("demo", kind="notebook"))
    places = (subjects.log(run.ref, 1), subjects.metric(run.ref, 1), subjects.cell(run.ref, 1))
    for subject in places:
        await bus.publish(subject, b"{")
    end = await say(bus, run, "one\n")
    for subject in places:
        await bus.publish(subject, b'{"at": 1e300, "lines": 3}')
    async with running_gateway(bus) as client:
        assert (await client.get(f"/api/runs/{run.id}/logs")).text == "one\n"
        assert (await client.get(f"/api/runs/{run.id}/metrics")).json == {"samples": []}
        events = client.events(f"/api/runs/{run.id}/logs/stream")
        first = await anext(events)
        assert (first.name, first.data["line"], first.id) == ("log", "one", f"{end}:0")
        await events.aclose()
        assert (await counted(client)).keys() == {"Chunk", "AttemptSample", "streams"}
