"""The scheduler's jobs over HTTP: what runs when, and the switch."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.feed import feed
from fastflow_contracts.bus.subjects import SCHEDULES, JobRef
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.spec import ScheduleEntry
from fastflow_contracts.schedules.state import SCHEDULE_STATE, ScheduleState
from fastflow_gateway.readmodel.model import ReadModel
from tests.support.gateway import Client, running_gateway, running_scheduler
from tests.support.records import a_bundle, publish_pipeline

CODE = a_bundle(main_py="print(1)")


@pytest_asyncio.fixture
async def client(bus: Bus) -> AsyncIterator[Client]:
    async with running_gateway(bus) as client:
        yield client


async def settled(bus: Bus, wanted: int) -> None:
    """Wait until a scheduler has stored *wanted* states."""
    subject = f"$KV.{SCHEDULES}.{subjects.SCHEDULE_STATE_KEYS}"
    known: dict[str, ScheduleState] = {}
    async with aclosing(feed(bus, streams.bucket_stream(SCHEDULES), subject)) as changes:
        async for batch in changes:
            known |= {message.subject: SCHEDULE_STATE.decode(message.data) for message in batch.messages}
            if len(known) >= wanted:
                return


async def test_every_schedule_is_a_job(bus: Bus) -> None:
    """Also disabled ones and restarts of a daemon, but not a time that had passed before any scheduler saw it."""
    entries = (
        ScheduleEntry(id="prod", schedule_cron="0 9 * * *", timezone="Europe/Berlin"),
        ScheduleEntry(id="off", schedule_interval_seconds=60, enabled=False),
    )
    past = datetime(2020, 1, 1, tzinfo=UTC)
    await publish_pipeline(bus, "etl", CODE, schedules=entries, run_once_at=past, restart_interval=3600)
    async with running_gateway(bus) as client:
        prod, off, restart = (await client.get("/api/scheduler/jobs")).json
    assert prod | {"next_run_time": None} == {
        "id": "etl.schedules=2Fprod",
        "pipeline": "etl",
        "schedule": "schedules/prod",
        "run_config_id": "prod",
        "kind": "cron",
        "value": "0 9 * * *",
        "timezone": "Europe/Berlin",
        "catchup": "last",
        "enabled": True,
        "note": None,
        "next_run_time": None,
        "last_run_time": None,
        "window": {"start": None, "end": None},
        "source": "pipeline_json",
    }
    assert datetime.fromisoformat(prod["next_run_time"]) > datetime.now(UTC)
    assert (off["enabled"], off["next_run_time"]) == (False, None)
    assert "disabled in its metadata" in off["note"]
    assert (restart["kind"], restart["value"]) == ("restart", "3600")


async def test_the_slots_of_an_interval_are_those_the_scheduler_counts(bus: Bus) -> None:
    """From the stored anchor on."""
    await publish_pipeline(bus, "beat", CODE, schedule_interval_seconds=3600)
    anchor = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=1800)
    state = ScheduleState(definition="every 3600 s", anchor=anchor, done_until=anchor)
    job = JobRef(PipelineName("beat"), "schedule")
    await bus.put(SCHEDULES, subjects.schedule_state_key(job), SCHEDULE_STATE.encode(state))
    async with running_gateway(bus) as client:
        answer = await client.get("/api/scheduler/jobs/beat.schedule/next-runs?count=2")
    slots = [datetime.fromisoformat(text) for text in answer.json["next_runs"]]
    assert slots == [anchor + timedelta(hours=1), anchor + timedelta(hours=2)]


async def test_a_job_is_switched_off_and_on(bus: Bus, client: Client) -> None:
    """Every gateway shows it, whether a scheduler has seen the job or not."""
    await publish_pipeline(bus, "beat", CODE, schedule_interval_seconds=3600)
    path = "/api/scheduler/jobs/beat.schedule"
    async with running_scheduler(bus):
        off = await client.ask("PUT", path, json={"enabled": False})
        assert (off.status, off.json["enabled"], off.json["note"]) == (200, False, "It is switched off.")
        await settled(bus, 1)
        async with running_gateway(bus) as other:
            (job,) = (await other.get("/api/scheduler/jobs")).json
            assert (job["enabled"], job["next_run_time"]) == (False, None)
            assert (await other.get(f"{path}/next-runs")).json == {"next_runs": []}
        on = await client.ask("PUT", path, json={"enabled": True})
        assert on.json["enabled"]
        assert on.json["next_run_time"]


async def test_a_switch_is_visible_in_the_next_response(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the bus delivers it late."""
    monkeypatch.setattr(ReadModel, "_on_schedule", lambda *_: None)
    await publish_pipeline(bus, "beat", CODE, schedule_interval_seconds=3600)
    async with running_gateway(bus) as client:
        for wanted in (False, True, False):
            await client.ask("PUT", "/api/scheduler/jobs/beat.schedule", json={"enabled": wanted})
            (job,) = (await client.get("/api/scheduler/jobs")).json
            assert job["enabled"] == wanted


async def test_a_change_that_is_not_possible_is_explained(bus: Bus, client: Client) -> None:
    """Unknown jobs, bodies without a change, and jobs that the metadata disable."""
    await publish_pipeline(bus, "off", CODE, schedule_interval_seconds=3600, enabled=False)
    for unknown in ("nosuch.schedule", "off.once", "off", "%20", "a.b.c"):
        assert (await client.get(f"/api/scheduler/jobs/{unknown}/next-runs")).status == 404
    path = "/api/scheduler/jobs/off.schedule"
    refused = await client.ask("PUT", path, json={"enabled": True})
    assert refused.status == 409
    assert "disabled in its metadata" in refused.json["detail"]
    for body in (b"", b"{}", b"[]", b'{"enabled": 1}', b'{"enabled": true, "x": 1}', b"\xff"):
        assert (await client.ask("PUT", path, data=body)).status == 422
    for count in ("0", "101", "x"):
        assert (await client.get(f"{path}/next-runs?count={count}")).status == 422
    assert (await client.ask("PUT", path, json={"enabled": True}, anonymous=True)).status == 401
