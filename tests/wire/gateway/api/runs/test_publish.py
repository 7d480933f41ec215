"""Events over HTTP and the bus, with a real scheduler: which are the same one, and what their runs get."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.ids import check_run_id
from fastflow_contracts.names import check_name
from fastflow_contracts.pipelines.format.spec import ScheduleEntry
from fastflow_contracts.runs.run import RunInput, RunRecord
from fastflow_contracts.runs.store import RunStore
from tests.support.gateway import Client, claim, finish, running_gateway, running_scheduler
from tests.support.records import a_bundle, publish_pipeline

KEY = "a-webhook-key-of-some-length"
HOOK = f"/api/webhooks/demo/{KEY}"
EVENT = {"specversion": "1.0", "source": "/s", "id": "7", "type": "t", "data": {"n": 1}}
BINARY = {"ce-specversion": "1.0", "ce-source": "/s", "ce-id": "7", "ce-type": "t", "Content-Type": "application/json"}
SECRET = {"Authorization": "Bearer hunter2", "Cookie": "a=hunter2", "X-Hub-Signature-256": "sha256=hunter2"}


@pytest_asyncio.fixture
async def client(bus: Bus) -> AsyncIterator[Client]:
    """A gateway with one pipeline ``demo``, and a scheduler."""
    schedules = (ScheduleEntry(id="prod", webhook_key=f"{KEY}-prod"),)
    spec = {"schedules": schedules, "accepts_env": ("A", "B")}
    await publish_pipeline(bus, "demo", a_bundle(main_py="1"), webhook_key=KEY, **spec)
    async with running_scheduler(bus), running_gateway(bus) as client:
        yield client


async def runs_of(client: Client, count: int) -> list[Any]:
    """Wait until there are *count* runs."""
    while len(found := (await client.get("/api/runs")).json["runs"]) < count:
        await asyncio.sleep(0.01)
    return list(found)


async def stored(bus: Bus, run_id: str) -> tuple[RunRecord, RunInput]:
    run = (await RunStore(bus).find(check_run_id(run_id))).run
    return run, await RunStore(bus).input(run)


async def publish(bus: Bus, payload: bytes, **headers: str) -> None:
    await bus.publish(subjects.trigger(check_name("demo")), payload, headers=headers)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (json.dumps(EVENT["data"]).encode(), BINARY),
        (json.dumps(EVENT).encode(), {"Content-Type": "application/cloudevents+json"}),
        (json.dumps(EVENT).encode(), {"Content-Type": "application/json"}),
    ],
    ids=["binary", "structured", "structured as plain JSON"],
)
async def test_a_cloud_event_is_one_run_however_often_and_by_whichever_way_it_comes(
    bus: Bus, client: Client, body: bytes, headers: dict[str, str]
) -> None:
    """Twice by webhook, twice with the token, twice on the bus without a media type; another one is another run."""
    for _ in range(2):
        await publish(bus, json.dumps(EVENT).encode())
    (run,) = await runs_of(client, 1)
    for path in (HOOK, HOOK, "/api/pipelines/demo/events", "/api/pipelines/demo/events"):
        answer = await client.post(path, data=body, headers=headers, anonymous=path == HOOK)
        assert (answer.status, answer.json["id"]) == (200, run["id"])
    await publish(bus, json.dumps(EVENT | {"id": "8"}).encode())
    assert len(await runs_of(client, 2)) == 2


async def test_a_webhook_of_a_run_configuration_starts_its_own_run_of_an_event(client: Client) -> None:
    """It starts another run; its repeat is the same run, too."""
    starts = [(HOOK, 1), (f"{HOOK}-prod", 1), (f"{HOOK}-prod", 2)]
    ids = [(await client.post(path, json=EVENT, anonymous=True)).json["id"] for path, _ in starts]
    assert ids[1] == ids[2]
    assert ids[0] != ids[1]


async def test_an_idempotency_key_wins_over_the_identity_of_an_event(client: Client) -> None:
    """Its sender says what a repeat is."""
    ids = {
        (await client.post(HOOK, json=EVENT, headers={"Idempotency-Key": key}, anonymous=True)).json["id"]
        for key in ("1", "2", "2")
    }
    assert len(ids) == 2


async def test_which_event_it_was_is_kept_and_nothing_secret(bus: Bus, client: Client) -> None:
    """By webhook, by the API, and on the bus."""
    told = {"X-GitHub-Event": "push", "User-Agent": "GitHub-Hookshot/1", "Content-Type": "application/json"}
    hook = await client.post(HOOK, data=b'{"ref": "main"}', headers=told | SECRET, anonymous=True)
    with_token = {name: value for name, value in SECRET.items() if name != "Authorization"}
    api = await client.post("/api/pipelines/demo/run", data=b"{}", headers=told | with_token)
    event = await client.post("/api/pipelines/demo/events", data=b"[]", headers=told | with_token)
    await publish(bus, b"[1]", **told, **SECRET)
    runs = await runs_of(client, 4)
    assert {hook.json["id"], api.json["id"], event.json["id"]} < {run["id"] for run in runs}
    for run in runs:
        _, given = await stored(bus, run["id"])
        assert given.event_headers == {name.lower(): value for name, value in told.items()}


async def test_a_start_without_an_event_stores_no_headers(bus: Bus, client: Client) -> None:
    """Content-Type and User-Agent say nothing then, and nothing more is stored than before."""
    run = await client.post("/api/pipelines/demo/run", json={})
    record, _ = await stored(bus, run.json["id"])
    assert not record.order.has_input


async def test_a_foreign_body_is_an_event(bus: Bus, client: Client) -> None:
    """Its ``parameters`` are its own; a body of exactly our fields must be right."""
    body = b'{"parameters": [1, {"n": 5}], "env_vars": 3, "action": "opened"}'
    answer = await client.post(HOOK, data=body, headers={"Content-Type": "application/json"}, anonymous=True)
    assert answer.status == 200
    _, given = await stored(bus, answer.json["id"])
    assert (given.event, given.overrides) == (body, {})
    for ours in ({"env_vars": {"n": 5}}, {"run_config_id": "prod"}):
        refused = await client.post(HOOK, json=ours, anonymous=True)
        assert refused.status == 400
        assert refused.json["detail"]


async def test_a_failed_delivery_can_be_started_again_with_the_current_code(bus: Bus, client: Client) -> None:
    """GitHub's *Redeliver* has the same id, so it is the same run; a retry with the current code has its event."""
    told = {"X-GitHub-Delivery": "d1", "X-GitHub-Event": "push", "Content-Type": "application/json"}

    async def deliver() -> str:
        answer = await client.post(HOOK, data=b'{"ref": "main"}', headers=told, anonymous=True)
        return str(answer.json["id"])

    run, given = await stored(bus, await deliver())
    await finish(bus, await claim(bus, run), exit_code=1)
    mended = a_bundle(main_py="2")
    await publish_pipeline(bus, "demo", mended, webhook_key=KEY, default_env={"NEW": "1"})
    assert await deliver() == run.id
    wrong = await client.post(f"/api/runs/{run.id}/retry", json={"code": "newest"})
    assert (wrong.status, "current" in wrong.json["detail"]) == (422, True)
    same = await client.post(f"/api/runs/{run.id}/retry")
    assert (await stored(bus, same.json["id"]))[0].order.bundle == run.order.bundle
    anew = await client.post(f"/api/runs/{run.id}/retry", json={"code": "current"})
    assert (anew.status, anew.json["parent_run_id"]) == (200, run.id)
    current, its = await stored(bus, anew.json["id"])
    assert (current.order.bundle, its.env) == (mended.sha256, {"NEW": "1"})
    assert (its.event, its.event_headers) == (given.event, given.event_headers)


async def test_a_retry_with_the_current_code_keeps_what_was_given(bus: Bus, client: Client) -> None:
    """Variables and parameters, each as what it was."""
    body = {"env_vars": {"A": "1"}, "parameters": {"B": "2"}, "run_config_id": "prod"}
    run, given = await stored(bus, (await client.post("/api/pipelines/demo/run", json=body)).json["id"])
    await finish(bus, await claim(bus, run))
    anew = await client.post(f"/api/runs/{run.id}/retry", json={"code": "current"})
    again, its = await stored(bus, anew.json["id"])
    assert its == given
    for name in ("env_names", "parameter_names", "run_config_id"):
        assert getattr(again.order, name) == getattr(run.order, name)
