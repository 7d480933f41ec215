"""Cancel or start again all runs that match: first the count, then an operation whose progress is shown."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.runs.operations.records import retried_id
from fastflow_contracts.runs.run import RunRecord
from fastflow_contracts.runs.store import RunStore
from tests.support.gateway import Client, claim, finish, stored_run
from tests.support.records import a_bundle, publish_pipeline

PATH = "/api/runs/bulk"


async def start(bus: Bus, client: Client, name: str = "demo", **body: Any) -> RunRecord:
    started = await client.post(f"/api/pipelines/{name}/run", json=body)
    return (await stored_run(bus, started.json["id"]))[0]


async def ended(bus: Bus, client: Client, name: str = "demo", *, exit_code: int = 1) -> RunRecord:
    run = await finish(bus, await claim(bus, await start(bus, client, name)), exit_code=exit_code)
    await client.get(f"/api/runs/{run.id}/stream")  # it ends when the gateway knows that the run is over
    return run


async def over(client: Client, operation_id: str) -> Any:
    async with asyncio.timeout(60):
        while True:
            found = (await client.get(f"/api/operations/{operation_id}")).json
            if found["ended_at"]:
                return found
            await asyncio.sleep(0.05)


async def test_all_that_match_are_cancelled_and_no_others(bus: Bus, client: Client) -> None:
    await publish_pipeline(bus, "other", a_bundle(main_py="1"))
    waiting = [await start(bus, client) for _ in range(3)]
    other, done = await start(bus, client, "other"), await ended(bus, client, exit_code=0)
    body = {"action": "cancel", "filter": {"pipeline_name": "demo"}}
    counted = await client.post(PATH, json=body | {"dry_run": True})
    assert counted.json == {"matched": 3, "by_pipeline": {"demo": 3}, "operation": None}
    asked = await client.post(PATH, json=body | {"expect": 3})
    found = await over(client, asked.json["operation"]["id"])
    assert (found["kind"], found["state"], found["changed"], found["done"]) == ("cancel", "done", 3, 3)
    runs = RunStore(bus)
    assert {(await runs.load(run.ref)).run.status for run in waiting} == {"INTERRUPTED"}
    assert [(await runs.load(run.ref)).run.status for run in (other, done)] == ["PENDING", "SUCCESS"]


async def test_failed_runs_are_started_again_oldest_first(bus: Bus, client: Client) -> None:
    failed = [await ended(bus, client) for _ in range(3)]
    await ended(bus, client, exit_code=0)
    body = {"action": "retry", "filter": {"status": "FAILED"}, "code": "current"}
    asked = (await client.post(PATH, json=body | {"expect": 3})).json["operation"]["id"]
    async with asyncio.timeout(60):
        while True:
            again = [run for run in await RunStore(bus).all_of(failed[0].pipeline) if run.order.operation_id == asked]
            if len(again) == 3:
                break
            await asyncio.sleep(0.05)
    again.sort(key=lambda run: run.created_at)
    assert [run.id for run in again] == [retried_id(asked, run.id) for run in failed]
    assert [run.order.parent_run_id for run in again] == [run.id for run in failed]
    for run in again:
        await finish(bus, await claim(bus, run))
    found = await over(client, asked)
    assert (found["changed"], found["refused"], found["triggered_by"]) == (3, 0, "api")


async def test_a_replay_starts_only_what_came_from_outside_with_the_current_code(bus: Bus, client: Client) -> None:
    """Not the retry of such a run; its input is the stored one."""
    first = await start(bus, client, env_vars={})
    await finish(bus, await claim(bus, first))
    retried = await client.post(f"/api/runs/{first.id}/retry")
    await finish(bus, await claim(bus, (await stored_run(bus, retried.json["id"]))[0]))
    await client.get(f"/api/runs/{retried.json['id']}/stream")
    await publish_pipeline(bus, "demo", (current := a_bundle(main_py="2")))
    counted = await client.post(PATH, json={"action": "replay", "dry_run": True})
    assert counted.json["matched"] == 1
    asked = (await client.post(PATH, json={"action": "replay", "expect": 1})).json["operation"]["id"]
    async with asyncio.timeout(60):
        while not await RunStore(bus).exists(retried_id(asked, first.id)):
            await asyncio.sleep(0.05)
    run, _ = await stored_run(bus, retried_id(asked, first.id))
    assert (run.order.bundle, run.order.parent_run_id) == (current.sha256, first.id)


async def test_a_run_that_is_started_again_by_hand_belongs_to_no_operation(bus: Bus, client: Client) -> None:
    """Else the end of the operation would cancel it."""
    failed = await ended(bus, client)
    asked = (await client.post(PATH, json={"action": "retry", "expect": 1})).json["operation"]["id"]
    async with asyncio.timeout(60):
        while not await RunStore(bus).exists(retried_id(asked, failed.id)):
            await asyncio.sleep(0.05)
    run, _ = await stored_run(bus, retried_id(asked, failed.id))
    await finish(bus, await claim(bus, run))
    await over(client, asked)
    by_hand = await client.post(f"/api/runs/{run.id}/retry")
    assert (await stored_run(bus, by_hand.json["id"]))[0].order.operation_id is None


async def test_nothing_is_done_without_the_right_count(bus: Bus, client: Client) -> None:
    await start(bus, client)
    without = await client.post(PATH, json={"action": "cancel"})
    assert (without.status, '"expect": 1' in without.json["detail"]) == (422, True)
    wrong = await client.post(PATH, json={"action": "cancel", "expect": 7})
    assert (wrong.status, "1 runs match now, not 7; nothing was done" in wrong.json["detail"]) == (409, True)
    assert (await client.get("/api/operations")).json == {"operations": []}
    none = await client.post(PATH, json={"action": "cancel", "filter": {"pipeline_name": "none"}, "expect": 0})
    assert none.json == {"matched": 0, "by_pipeline": {}, "operation": None}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "missing required field `action`"),
        ({"action": "delete"}, "Invalid enum value 'delete'"),
        ({"action": "cancel", "filter": {"status": "GONE"}, "dry_run": True}, "Invalid enum value 'GONE'"),
        ({"action": "cancel", "filter": {"start_date": "soon"}, "dry_run": True}, "start_date must be an ISO 8601"),
        ({"action": "cancel", "filter": {"name": "x"}}, "unknown field `name`"),
        ({"action": "cancel", "expect": "1"}, "Expected `int | null`"),
        ("x", "Expected `object`"),
    ],
)
async def test_a_bad_body_is_refused_with_the_place(client: Client, body: Any, said: str) -> None:
    refused = await client.post(PATH, json=body)
    assert (refused.status, said in refused.json["detail"]) == (422, True), refused.json
