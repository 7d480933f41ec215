"""A backfill runs the slots of a past range, oldest first: each once, few at a time, and all of it can be cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.ids import run_id_for_slot
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.spec import ScheduleEntry
from fastflow_contracts.runs.run import Ended, RunRecord
from fastflow_contracts.runs.store import RunStore
from tests.support.gateway import ANSWER_S, Client, claim, finish, running_gateway, running_scheduler
from tests.support.records import a_bundle, publish_pipeline

DEMO = PipelineName("demo")
DAY = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T23:59:00Z"}
SLOTS = [datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in range(24)]
PATH = "/api/pipelines/demo/backfill"


@pytest_asyncio.fixture
async def client(bus: Bus) -> AsyncIterator[Client]:
    await publish_pipeline(bus, "demo", a_bundle(main_py="1"), schedule_cron="0 * * * *")
    async with running_scheduler(bus), running_gateway(bus, backfill_slots_max=100) as client:
        yield client


async def runs_of(bus: Bus) -> list[RunRecord]:
    return sorted(await RunStore(bus).all_of(DEMO), key=lambda run: run.created_at)


async def finish_all(bus: Bus, count: int, *, exit_code: int = 0) -> list[RunRecord]:
    """Be the runner until *count* runs are over. Returns them, oldest first."""
    most = 0
    while True:
        runs = await runs_of(bus)
        waiting = [run for run in runs if not run.is_over]
        most = max(most, len(waiting))
        assert most <= 4, "more runs than one operation may have under way"
        if len(runs) - len(waiting) == count:
            return runs
        for run in waiting:
            await finish(bus, await claim(bus, run), exit_code=exit_code)
        await asyncio.sleep(0.02)


async def over(client: Client, operation_id: str) -> Any:
    async with asyncio.timeout(60):
        while True:
            found = (await client.get(f"/api/operations/{operation_id}")).json
            if found["ended_at"]:
                return found
            await asyncio.sleep(0.05)


async def test_each_slot_of_the_range_runs_once_oldest_first(bus: Bus, client: Client) -> None:
    """As the scheduler would have run it: the same id, and a second backfill finds all of them there."""
    dry = await client.post(PATH, json=DAY | {"dry_run": True})
    assert dry.json | {"definition": ""} == {
        "schedule": "schedule",
        "definition": "",
        "slots": 24,
        "existing": 0,
        "first": "2026-01-01T00:00:00Z",
        "last": "2026-01-01T23:00:00Z",
        "note": None,
        "operation": None,
    }
    assert await runs_of(bus) == []
    asked = await client.post(PATH, json=DAY)
    assert (asked.status, asked.json["operation"]["total"]) == (200, 24)
    runs = await finish_all(bus, 24)
    assert [run.order.scheduled_for for run in runs] == SLOTS
    assert [run.id for run in runs] == [run_id_for_slot(DEMO, "schedule", slot) for slot in SLOTS]
    assert {run.order.triggered_by for run in runs} == {"schedule"}
    ended = await over(client, asked.json["operation"]["id"])
    assert (ended["state"], ended["changed"], ended["unchanged"], ended["refused"]) == ("done", 24, 0, 0)
    repeated = await client.post(PATH, json=DAY)
    assert (repeated.json["existing"], repeated.json["operation"]) == (24, None)
    assert [each["id"] for each in (await client.get("/api/operations")).json["operations"]] == [ended["id"]]


async def test_a_failed_slot_runs_once_more_unless_only_missing_ones_are_wanted(bus: Bus, client: Client) -> None:
    short = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T01:00:00Z"}
    first = await client.post(PATH, json=short)
    await finish_all(bus, 2, exit_code=1)
    await over(client, first.json["operation"]["id"])
    assert (await client.post(PATH, json=short | {"only_missing": True})).json["existing"] == 2
    longer = short | {"to": "2026-01-01T02:00:00Z"}
    assert (await client.post(PATH, json=longer | {"only_missing": True, "dry_run": True})).json["first"] == (
        "2026-01-01T02:00:00Z"
    )
    again = await client.post(PATH, json=short)
    assert (again.json["existing"], again.json["operation"]["total"]) == (0, 2)
    runs = await finish_all(bus, 4)
    assert [run.order.scheduled_for for run in runs] == SLOTS[:2] * 2
    await over(client, again.json["operation"]["id"])
    assert (await client.post(PATH, json=short)).json["existing"] == 2


async def test_all_of_it_can_be_cancelled(bus: Bus, client: Client) -> None:
    """Nothing more starts, and what had started is over."""
    asked = (await client.post(PATH, json=DAY)).json["operation"]["id"]
    async with asyncio.timeout(60):
        while len(await runs_of(bus)) < 4:
            await asyncio.sleep(0.02)
    cancelled = await client.post(f"/api/operations/{asked}/cancel")
    assert (cancelled.status, cancelled.json["state"]) == (200, "stopping")
    ended = await over(client, asked)
    assert (ended["state"], ended["changed"]) == ("cancelled", 4)
    runs = await runs_of(bus)
    assert len(runs) == 4
    assert all(isinstance(run.state, Ended) and run.state.reason == "cancelled" for run in runs)
    assert (await client.post(f"/api/operations/{asked}/cancel")).status == 409
    rest = await client.post(PATH, json=DAY | {"dry_run": True, "only_missing": True})
    assert rest.json["existing"] == 4


async def test_it_leaves_a_place_to_what_is_due_now(bus: Bus, client: Client) -> None:
    """Under a limit of two, one is the backfill's: another start is not refused. Nothing is skipped for waiting."""
    await publish_pipeline(bus, "demo", a_bundle(main_py="1"), schedule_cron="0 * * * *", max_instances=2)
    asked = await client.post(PATH, json=DAY | {"to": "2026-01-01T02:00:00Z"})
    async with asyncio.timeout(60):
        while not await runs_of(bus):
            await asyncio.sleep(0.02)
    due = await client.post("/api/pipelines/demo/run", json={})
    assert due.status == 200
    assert (await client.get(f"/api/operations/{asked.json['operation']['id']}")).json["done"] <= 1
    await finish_all(bus, 4)
    ended = await over(client, asked.json["operation"]["id"])
    assert (ended["changed"], ended["refused"]) == (3, 0)
    assert (await client.get("/api/skipped")).json["skips"] == []


async def test_a_slot_that_may_not_start_is_refused_with_the_reason(bus: Bus, client: Client) -> None:
    asked = await client.post(PATH, json=DAY | {"to": "2026-01-01T07:00:00Z"})
    async with asyncio.timeout(60):
        while len(await runs_of(bus)) < 4:
            await asyncio.sleep(0.02)
    await publish_pipeline(bus, "demo", a_bundle(main_py="1"), schedule_cron="0 * * * *", enabled=False)
    await finish_all(bus, 4)
    ended = await over(client, asked.json["operation"]["id"])
    assert (ended["changed"], ended["refused"], len(ended["reasons"])) == (4, 4, 1)
    assert "disabled" in ended["reasons"][0]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({}, 422, "missing required field `from`"),
        ({"from": "yesterday"}, 422, "from must be an ISO 8601 date or time"),
        ({"from": "2026-01-01", "to": "x"}, 422, "to must be an ISO 8601 date or time"),
        ({"from": "2026-01-02", "to": "2026-01-01"}, 422, "from is later than to"),
        ({"from": "2999-01-01"}, 422, "from lies in the future"),
        ({"from": "1900-01-01", "to": "2020-01-01"}, 422, "about 1,051,920 slots; one backfill runs at most 100"),
        ({"from": "2026-01-01", "schedule": "nope"}, 404, "no schedule 'nope'; its schedules are: schedule"),
        ({"from": "2026-01-01", "schedule": "x" * 10_000}, 404, "no schedule"),
        ({"from": "2026-01-01", "until": "2026-01-02"}, 422, "unknown field `until`"),
        ([], 422, "Expected `object`"),
    ],
)
async def test_a_bad_request_is_refused_with_what_to_do(client: Client, body: Any, status: int, said: str) -> None:
    refused = await client.post(PATH, json=body)
    assert (refused.status, said in refused.json["detail"]) == (status, True), refused.json


async def test_unknown_things_are_not_found(client: Client) -> None:
    assert (await client.post("/api/pipelines/nope/backfill", json=DAY)).status == 404
    for unknown in ("nope", "00000000-0000-4000-8000-000000000000"):
        assert (await client.get(f"/api/operations/{unknown}")).status == 404
        assert (await client.post(f"/api/operations/{unknown}/cancel")).status == 404


async def test_one_of_several_schedules_is_named_and_runs_with_its_configuration(bus: Bus, client: Client) -> None:
    entries = (
        ScheduleEntry(id="daily", schedule_cron="0 3 * * *", timezone="Europe/Berlin"),
        ScheduleEntry(id="off", schedule_cron="0 4 * * *", enabled=False),
    )
    await publish_pipeline(bus, "demo", a_bundle(main_py="1"), schedules=entries)
    async with asyncio.timeout(ANSWER_S):
        while len((await client.get("/api/pipelines/demo")).json["schedules"]) < len(entries):
            await asyncio.sleep(0.02)
    body = {"from": "2026-03-28", "to": "2026-03-30"}
    unnamed = await client.post(PATH, json=body)
    assert (unnamed.status, "daily, off" in unnamed.json["detail"]) == (422, True)
    by_hand = await client.post(PATH, json=body | {"schedule": "off", "dry_run": True})
    assert (by_hand.status, by_hand.json["slots"]) == (200, 3), "it does not fire, and can be started by hand"
    asked = await client.post(PATH, json=body | {"schedule": "daily"})
    assert (asked.json["schedule"], asked.json["slots"]) == ("schedules/daily", 3)
    assert "cron 0 3 * * * in Europe/Berlin" in asked.json["definition"]
    runs = await finish_all(bus, 3)
    assert {run.order.run_config_id for run in runs} == {"daily"}
    hours = [run.order.scheduled_for.astimezone(UTC).hour for run in runs if run.order.scheduled_for]
    assert hours == [2, 1, 1], "the clock changes on the 29th"


async def test_the_end_of_the_range_is_now_at_the_latest(client: Client) -> None:
    since = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)
    body = {"from": since.isoformat(), "to": "2999-01-01", "dry_run": True}
    assert (await client.post(PATH, json=body)).json["slots"] in (4, 5)
