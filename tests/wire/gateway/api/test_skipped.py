"""Refused starts: each keeps its whole message, is listed with its reason, and can be started later."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from nats.aio.client import Client as NatsClient

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.ids import RunId, check_run_id, run_id_for_key
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.spec import ScheduleEntry
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.messages import RUN_BODY_TYPE, TRIGGER_TYPE, Skipped, Trigger
from fastflow_contracts.runs.run import ParentRun, RunInput, RunRecord, RunStatus
from fastflow_contracts.runs.skips import SkipStore
from fastflow_contracts.runs.state_machine import Cancel
from fastflow_contracts.runs.store import RunStore
from fastflow_contracts.starting.admission import Cause, Defaults
from fastflow_gateway.actions import trigger_client
from fastflow_scheduler.starting.starter import Starter
from tests.support.gateway import Answer, Client, running_gateway, running_scheduler
from tests.support.ids import fresh_run_id
from tests.support.records import T0, a_bundle, a_run, publish_pipeline

KEY = "a-webhook-key-of-some-length"
OTHER = "00000000-0000-4000-8000-000000000009"
PARENT = ParentRun(run_id=RunId(OTHER), pipeline=PipelineName("first"), status=RunStatus.FAILED, exit_code=3)


@pytest_asyncio.fixture
async def client(bus: Bus) -> AsyncIterator[Client]:
    """A gateway and a scheduler; ``full`` has one run and room for no other, ``off`` is disabled."""
    schedules = (ScheduleEntry(id="prod", webhook_key=f"{KEY}-prod"),)
    full = {"max_instances": 1, "schedules": schedules, "accepts_env": ("A", "B")}
    await publish_pipeline(bus, "full", a_bundle(main_py="1"), webhook_key=KEY, **full)
    await publish_pipeline(bus, "off", a_bundle(main_py="1"), webhook_key=KEY, enabled=False)
    assert await RunStore(bus).create(a_run("full"), None)
    async with running_scheduler(bus), running_gateway(bus) as client:
        yield client


async def make_room(bus: Bus) -> None:
    """End the run that takes all the room."""
    (active,) = (run for run in await RunStore(bus).all_of(PipelineName("full")) if not run.is_over)
    await RunStore(bus).change(active.ref, Cancel())


async def skips(client: Client, number: int, query: str = "") -> list[dict[str, Any]]:
    """The listed skips, once there are so many."""
    async with asyncio.timeout(30):
        while len(found := (await client.get(f"/api/skipped{query}")).json["skips"]) < number:
            await asyncio.sleep(0.02)
    assert len(found) == number
    return list(found)


async def redrive(client: Client, skip: dict[str, Any], query: str = "") -> Answer:
    return await client.post(f"/api/skipped/{skip['id']}/redrive{query}")


async def run_of(bus: Bus, run_id: str) -> tuple[RunRecord, RunInput]:
    run = (await RunStore(bus).find(check_run_id(run_id))).run
    return run, await RunStore(bus).input(run)


async def is_redriven(client: Client, skip: dict[str, Any]) -> str:
    """The run that the skip was started as, once it says so."""
    async with asyncio.timeout(30):
        while True:
            shown = (await client.get(f"/api/skipped/{skip['id']}")).json
            if shown["redriven_as"]:
                return str(shown["redriven_as"])
            await asyncio.sleep(0.02)


async def by_bus(bus: Bus, _: Client) -> None:
    await bus.publish("ff.trigger.full", b'{"order": 7}', headers={"Content-Type": "application/json"})


async def by_api(_: Bus, client: Client) -> None:
    assert (await client.post("/api/pipelines/full/events", data=b'{"order": 7}')).status == 429


async def by_webhook(_: Bus, client: Client) -> None:
    assert (await client.post(f"/api/webhooks/full/{KEY}", data=b'{"order": 7}', anonymous=True)).status == 429


@pytest.mark.parametrize(
    ("send", "kind"), [(by_bus, "bus"), (by_api, "bus"), (by_webhook, "webhook")], ids=["bus", "API", "webhook"]
)
async def test_a_start_that_finds_no_room_is_listed_with_its_event_and_can_be_started_later(
    bus: Bus, client: Client, send: Any, kind: str
) -> None:
    """While there is no room, it is refused again and stays; then it is one run, however often it is redriven."""
    await send(bus, client)
    (skip,) = await skips(client, 1)
    assert (skip["pipeline_name"], skip["triggered_by"], skip["is_kept"]) == ("full", kind, True)
    assert "max_instances" in skip["reason"]
    assert json.loads(skip["event"]) == {"order": 7}
    refused = await redrive(client, skip)
    assert (refused.status, "max_instances" in refused.json["detail"]) == (429, True)
    assert await skips(client, 1) == [skip]
    await make_room(bus)
    started = [await redrive(client, skip) for _ in range(3)]
    assert {answer.status for answer in started} == {200}
    (run_id,) = {answer.json["id"] for answer in started}
    run, given = await run_of(bus, run_id)
    assert (run.id, given.event, run.order.triggered_by) == (skip["id"], b'{"order": 7}', kind)
    assert await is_redriven(client, skip) == run_id
    assert await skips(client, 0, "?open=true") == []


async def test_values_that_come_with_a_start_are_kept_for_its_run_and_never_shown(bus: Bus, client: Client) -> None:
    """Their names are shown. This holds for run bodies, broken ones, and webhooks that carry variables."""
    body = {"env_vars": {"A": "secret-1"}, "parameters": {"B": "secret-2"}}
    await client.post("/api/pipelines/full/run", json=body)
    await client.post(f"/api/webhooks/full/{KEY}", json=body | {"order": 7}, anonymous=True)
    await client.post("/api/pipelines/full/run", json={"env_vars": {"A": "secret-3", "C": 1}})
    await client.post("/api/pipelines/full/run", data=b'{"env_vars": {"A": "secret-4"')
    await bus.publish("ff.trigger.full", b"event", headers={"Authorization": "Bearer secret-5", "ce-x": "y"})
    await skips(client, 5)
    listed = await client.get("/api/skipped")
    assert "secret" not in listed.text
    first = next(skip for skip in listed.json["skips"] if skip["env_vars"] and skip["triggered_by"] == "api")
    assert (first["env_vars"], first["parameters"], first["event"]) == ({"A": "***"}, {"B": "***"}, None)
    assert "secret" not in (await client.get(f"/api/skipped/{first['id']}")).text
    await make_room(bus)
    _, given = await run_of(bus, (await redrive(client, first)).json["id"])
    assert given.overrides == {"A": "secret-1", "B": "secret-2"}


async def test_every_byte_and_header_of_a_message_is_kept(bus: Bus, client: Client) -> None:
    """Headers that mean something to the bus too: they are data here, and do nothing."""
    payload = bytes(range(256)) * 100
    headers = {
        "Content-Type": "application/octet-stream",
        "Nats-Msg-Id": "order-7",
        "Nats-Expected-Stream": "FF_TRIGGERS",
        "Orig-Nats-Msg-Id": "order-7",
        "Ff-Reply": "_INBOX.nobody",
        "X-Name": "müller",
    }
    await bus.publish("ff.trigger.off", b"an older one")
    await skips(client, 1)
    await bus.client.publish(
        "ff.trigger.full", payload, headers={k: v for k, v in headers.items() if k != "Nats-Rollup"}
    )
    shown = (await skips(client, 1, "?pipeline=full"))[0]
    letter = await SkipStore(bus).letter("full", RunId(shown["id"]))
    assert letter is not None
    assert letter.payload == payload
    assert letter.headers.items() >= headers.items()
    assert shown["id"] == run_id_for_key(PipelineName("full"), "order-7")
    assert len(await skips(client, 2)) == 2


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("pipelines/full/run", b"{", 422),
        ("pipelines/full/run", b'{"env_vars": {"A": 1}}', 422),
        ("pipelines/full/run", b'{"run_config_id": "nosuch"}', 422),
        ("pipelines/full/events", b'{"run_config_id": 1}', 422),
        ("pipelines/off/run", b"{}", 404),
        ("pipelines/off/events", b"payload", 404),
        ("pipelines/nosuch/events", b"payload", 404),
        (f"webhooks/full/{KEY}", b'{"parameters": [1]}', 400),
        (f"webhooks/off/{KEY}", b"payload", 404),
        (f"webhooks/full/{KEY}-prod", b"payload", 429),
    ],
)
async def test_a_start_that_is_refused_at_the_door_is_kept_as_well(
    client: Client, path: str, body: bytes, status: int
) -> None:
    """Its sender is told, and may be a program that does not listen."""
    answer = await client.post(f"/api/{path}", data=body)
    assert answer.status == status
    (skip,) = await skips(client, 1)
    assert (skip["reason"], skip["is_kept"]) == (answer.json["detail"], True)


@pytest.mark.parametrize("path", [f"webhooks/full/{KEY}x", "webhooks/nosuch/key", "pipelines/full/run"])
async def test_calls_without_a_token_or_key_are_not_kept(client: Client, path: str) -> None:
    """Such callers cannot fill the store."""
    assert (await client.post(f"/api/{path}", data=b"payload", anonymous=True)).status in {401, 404}
    await client.post("/api/pipelines/off/run")
    (skip,) = await skips(client, 1)
    assert skip["pipeline_name"] == "off"


@pytest.mark.parametrize(
    ("subject", "payload", "headers", "pipeline", "status"),
    [
        ("ff.trigger.nosuch", b"payload", {}, "nosuch", 404),
        ("ff.trigger.full", b"{", {"Content-Type": TRIGGER_TYPE}, "full", 422),
        ("ff.trigger.full", b"[]", {"Content-Type": "application/cloudevents+json"}, "full", 422),
        ("ff.trigger.full", b"x" * (2**20 + 1), {}, "full", 422),
        ("ff.trigger.full", b"\xef\xbb\xbf{", {"ce-specversion": "1.0", "ce-id": "1"}, "full", 422),
        ("ff.trigger.full", b'{"run_config_id": "nosuch"}', {}, "full", 422),
        ("ff.trigger.=2e", b"payload", {}, "=2e", 409),
        ("ff.trigger.ü", b"", {}, "ü", 409),
        ("ff.trigger." + "x" * 3_000, b"payload", {}, "x" * 200, 409),
    ],
    ids=[
        *("unknown pipeline", "no JSON", "no CloudEvent", "too large", "no source", "no such configuration"),
        *("no name", "not ASCII", "a long subject"),
    ],
)
async def test_a_message_that_can_start_nothing_is_kept_and_stays_so(
    bus: Bus, client: Client, subject: str, payload: bytes, headers: dict[str, str], pipeline: str, status: int
) -> None:
    """A redrive says why; nothing changes while the cause persists."""
    await NatsClient.publish(bus.client, subject, payload, headers=headers or None)  # our own takes no long subject
    (skip,) = await skips(client, 1)
    assert (skip["pipeline_name"], skip["is_kept"]) == (pipeline, True)
    assert len(skip["event"] or "") <= 4_096
    assert (await redrive(client, skip)).status == status
    assert await skips(client, 1, "?open=true") == [skip]
    kept = await SkipStore(bus).letter(pipeline, skip["id"])
    assert kept is not None
    assert kept.payload == payload


async def test_the_message_of_an_unknown_pipeline_starts_it_once_it_is_there(bus: Bus, client: Client) -> None:
    """Its folder was synced a moment later."""
    await bus.publish("ff.trigger.late", b"payload")
    (skip,) = await skips(client, 1)
    await publish_pipeline(bus, "late", a_bundle(main_py="1"))
    _, given = await run_of(bus, (await redrive(client, skip)).json["id"])
    assert given.event == b"payload"


async def test_the_repeat_of_a_sender_is_the_redrive(bus: Bus, client: Client) -> None:
    """A webhook's sender tries again after a 429: that run closes the skip, and a redrive is that run."""
    call = {"headers": {"X-GitHub-Delivery": "d7"}, "data": b"payload", "anonymous": True}
    assert (await client.post(f"/api/webhooks/full/{KEY}", **call)).status == 429
    (skip,) = await skips(client, 1)
    missing = await client.get(f"/api/runs/{skip['id']}")
    assert missing.status == 404
    assert skip["reason"] in missing.json["detail"]
    await make_room(bus)
    started = await client.post(f"/api/webhooks/full/{KEY}", **call)
    assert (started.status, started.json["id"]) == (200, skip["id"])
    assert await is_redriven(client, skip) == skip["id"]
    assert (await redrive(client, skip)).json["id"] == skip["id"]


@pytest.mark.parametrize(
    ("trigger", "cause"),
    [
        (Trigger(triggered_by="schedule", run_config_id="prod"), Cause(schedule="schedules/prod", scheduled_for=T0)),
        (
            Trigger(triggered_by="downstream", run_config_id="prod", event=b"{}"),
            Cause(parent_run_id=RunId(OTHER), parent=PARENT, root_run_id=RunId(OTHER), hops=7),
        ),
        (Trigger(triggered_by="daemon_restart", env_vars={"A": "1"}, event=b"e"), Cause(parent_run_id=RunId(OTHER))),
    ],
    ids=["slot", "chain", "restart"],
)
async def test_a_start_that_came_as_no_message_is_redriven_with_its_cause(
    bus: Bus, client: Client, trigger: Trigger, cause: Cause
) -> None:
    """The run names its slot or its parent, and has the values that were given."""
    schedules = (ScheduleEntry(id="prod", schedule_cron="@daily"),)
    spec = {"schedules": schedules, "accepts_env": ("A",)}
    await publish_pipeline(bus, "off", a_bundle(main_py="1"), enabled=False, **spec)
    starter, run_id = Starter(bus, RunStore(bus), Defaults()), fresh_run_id()
    for _ in range(2):  # by each of two schedulers
        assert isinstance(await starter.start(PipelineName("off"), trigger, run_id, cause=cause), Skipped)
    (skip,) = await skips(client, 1)
    assert (skip["id"], skip["triggered_by"]) == (run_id, trigger.triggered_by)
    await publish_pipeline(bus, "off", a_bundle(main_py="1"), **spec)
    run, given = await run_of(bus, (await redrive(client, skip)).json["id"])
    order = run.order
    assert (order.triggered_by, order.run_config_id) == (trigger.triggered_by, trigger.run_config_id)
    assert (order.schedule, order.scheduled_for) == (cause.schedule, cause.scheduled_for)
    assert (order.parent_run_id, order.root_run_id) == (cause.parent_run_id, cause.root_run_id)
    assert (order.hops, given.parent) == (cause.hops, cause.parent)
    assert (given.overrides, given.event) == (trigger.env_vars, trigger.event)


async def test_the_repeat_of_a_start_is_its_run_after_its_pipeline_is_disabled(bus: Bus, client: Client) -> None:
    """What a call started stays started; a new call is refused, and kept."""
    await publish_pipeline(bus, "free", a_bundle(main_py="1"))
    call = {"headers": {"Idempotency-Key": "k"}, "data": b"payload"}
    first = await client.post("/api/pipelines/free/events", **call)
    await publish_pipeline(bus, "free", a_bundle(main_py="1"), enabled=False)
    again = await client.post("/api/pipelines/free/events", **call)
    assert (again.status, again.json["id"]) == (200, first.json["id"])
    assert await skips(client, 0) == []
    async with asyncio.timeout(30):  # the gateway's copy of the record may be a moment old
        while (await client.post("/api/pipelines/free/events", data=b"other")).status == 200:
            await asyncio.sleep(0.02)
    assert (await skips(client, 1, "?pipeline=free"))[0]["event"] == "other"


async def test_one_more_run_of_a_message_must_be_asked_for(bus: Bus, client: Client) -> None:
    """With a key, a repeated request is one more run, not two."""
    await publish_pipeline(bus, "off", a_bundle(main_py="1"), enabled=False)
    await bus.publish("ff.trigger.off", b"payload")
    (skip,) = await skips(client, 1)
    await publish_pipeline(bus, "off", a_bundle(main_py="1"))
    first = (await redrive(client, skip)).json["id"]
    path = f"/api/skipped/{skip['id']}/redrive?again=true"
    again = [(await client.post(path, headers={"Idempotency-Key": "k"})).json["id"] for _ in range(2)]
    other = (await client.post(path)).json["id"]
    assert again[0] == again[1]
    assert len({first, again[0], other}) == 3
    assert {(await run_of(bus, run_id))[1].event for run_id in (first, again[0], other)} == {b"payload"}


async def test_all_that_match_are_redriven_oldest_first(bus: Bus, client: Client) -> None:
    """What finds room starts; the others stay, and the answer says how many and why."""
    for number in range(5):
        await bus.publish("ff.trigger.full", str(number).encode())
        await bus.publish("ff.trigger.off", b"")
        await skips(client, 2 * (number + 1))
    wanted = {"pipeline": "full", "reason": "MAX_INSTANCES"}
    counted = (await client.post("/api/skipped/redrive", json=wanted | {"dry_run": True})).json
    assert (counted["matched"], counted["started"]) == (5, 0)
    await publish_pipeline(bus, "full", a_bundle(main_py="1"), max_instances=3)
    for body, status in ((wanted, 422), (wanted | {"expect": 4}, 409), (wanted | {"cursor": OTHER}, 422), ({}, 422)):
        refused = await client.post("/api/skipped/redrive", json=body)
        assert (refused.status, len(await skips(client, 5, "?pipeline=full&open=true"))) == (status, 5), refused.text
    done = (await client.post("/api/skipped/redrive", json=wanted | {"expect": 5})).json
    assert (done["matched"], done["started"], done["refused"], done["left"]) == (5, 2, 3, 0)
    assert "max_instances" in done["reasons"][0]
    await skips(client, 3, "?pipeline=full&open=true")
    off = await skips(client, 5, "?reason=DISABLED")
    assert {skip["pipeline_name"] for skip in off} == {"off"}
    assert (await client.post("/api/skipped/redrive", json={"pipe": 1})).status == 422


async def test_skips_are_listed_in_pages(bus: Bus, client: Client) -> None:
    """Newest first; a cursor that is none is refused."""
    for number in range(7):
        await bus.publish("ff.trigger.off", str(number).encode())
    newest = await skips(client, 7)
    listed: list[Any] = []
    query = "?limit=3"
    while True:
        page = (await client.get(f"/api/skipped{query}")).json
        listed += page["skips"]
        if page["next_cursor"] is None:
            break
        query = f"?limit=3&cursor={page['next_cursor']}"
    assert listed == newest
    assert (await client.get("/api/skipped?cursor=nonsense")).status == 422
    assert (await client.get(f"/api/skipped/{OTHER}")).status == 404
    assert (await client.post(f"/api/skipped/{OTHER}/redrive")).status == 404


async def accepted(client: Client, path: str, **given: Any) -> str:
    answer = await client.post(path, **given)
    assert answer.status == 202
    return str(answer.json["id"])


async def ended(client: Client, run_id: str) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while (found := await client.get(f"/api/runs/{run_id}")).status == 404:
            await asyncio.sleep(0.02)
    return dict(found.json)


async def test_a_start_that_was_accepted_and_is_refused_later_is_a_run_that_says_why(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No scheduler works, so the callers get 202. Their runs are over, with the reason; their messages are skips."""
    monkeypatch.setattr(trigger_client, "DECISION_S", 0.05)
    full = {"max_instances": 1, "accepts_env": ("A",)}
    await publish_pipeline(bus, "full", a_bundle(main_py="1"), webhook_key=KEY, **full)
    await publish_pipeline(bus, "next", a_bundle(main_py="1"))
    assert await RunStore(bus).create(a_run("full"), None)
    async with running_gateway(bus) as client:
        link = {"pipeline": "next", "on_success": True, "on_failure": True}
        assert (await client.post("/api/pipelines/full/downstream-triggers", json=link)).status == 201
        ids = [
            await accepted(client, "/api/pipelines/full/run", json={"env_vars": {"A": "1"}}),
            await accepted(client, f"/api/webhooks/full/{KEY}", data=b"payload", anonymous=True),
            await accepted(client, "/api/pipelines/full/events", data=b"payload", headers={"Idempotency-Key": "k"}),
        ]
        async with running_scheduler(bus):
            for run_id in ids:
                run = await ended(client, run_id)
                assert (run["status"], run["finished_at"] is None, run["refused"]) == ("INTERRUPTED", False, True)
                assert "not started: max_instances" in run["error_message"]
                assert (await client.post(f"/api/runs/{run_id}/retry")).status == 409
            listed = await skips(client, 3)
            assert {skip["id"] for skip in listed} == set(ids)
            assert {skip["redriven_as"] for skip in listed} == {None}
            # Nothing follows from them.
            assert {run["pipeline_name"] for run in (await client.get("/api/runs")).json["runs"]} == {"full"}
            repeat = await client.post("/api/pipelines/full/events", data=b"payload", headers={"Idempotency-Key": "k"})
            assert (repeat.status, repeat.json["id"]) == (200, ids[2])
            await make_room(bus)
            monkeypatch.setattr(trigger_client, "DECISION_S", 30.0)
            by_id = {skip["id"]: skip for skip in listed}
            started = (await redrive(client, by_id[ids[1]])).json
            assert started["id"] not in ids
            assert (await run_of(bus, started["id"]))[1].event == b"payload"
            assert await is_redriven(client, by_id[ids[1]]) == started["id"]


async def test_a_redrive_that_was_accepted_and_is_refused_later_can_be_redriven(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run it announced is over with the reason; the next redrive is another run."""
    await publish_pipeline(bus, "full", a_bundle(main_py="1"), max_instances=1)
    assert await RunStore(bus).create(a_run("full"), None)
    async with running_gateway(bus) as client:
        async with running_scheduler(bus):
            await bus.publish("ff.trigger.full", b"payload")
            (skip,) = await skips(client, 1)
        monkeypatch.setattr(trigger_client, "DECISION_S", 0.05)
        run_id = await accepted(client, f"/api/skipped/{skip['id']}/redrive")
        monkeypatch.setattr(trigger_client, "DECISION_S", 30.0)
        async with running_scheduler(bus):
            assert (await ended(client, run_id))["status"] == "INTERRUPTED"
            assert await skips(client, 1, "?open=true") == [skip]
            await make_room(bus)
            started = (await redrive(client, skip)).json["id"]
            assert started != run_id
            assert await is_redriven(client, skip) == started


async def test_a_skip_of_an_older_version_is_listed_and_says_that_its_message_is_gone(bus: Bus, client: Client) -> None:
    """It kept a reason only, on another subject."""
    old = {"at": "2026-01-02T03:04:05Z", "pipeline": "full", "reason": "it is full"}
    await bus.publish("ff.skipped.full", json.dumps(old).encode())
    (skip,) = await skips(client, 1)
    assert (skip["id"], skip["is_kept"], skip["event"]) == (None, False, None)
    done = (await client.post("/api/skipped/redrive", json={"expect": 1})).json
    assert (done["matched"], done["refused"], done["left"]) == (1, 1, 0)


async def test_a_message_that_has_left_the_store_cannot_be_redriven_and_says_so(bus: Bus, client: Client) -> None:
    """The oldest messages leave first."""
    await bus.publish("ff.trigger.off", b"payload")
    (skip,) = await skips(client, 1)
    await bus.js.purge_stream(streams.NOTICES, subject=subjects.dead_trigger("off", skip["id"]))
    assert (await skips(client, 1))[0]["is_kept"] is False
    answer = await redrive(client, skip)
    assert (answer.status, "not kept" in answer.json["detail"]) == (410, True)


async def test_a_bus_message_with_the_fields_of_our_own_services_gains_nothing(bus: Bus, client: Client) -> None:
    """A redrive of a skip of another pipeline, or of none, starts nothing."""
    await bus.publish("ff.trigger.off", b"payload")
    (skip,) = await skips(client, 1)
    await publish_pipeline(bus, "free", a_bundle(main_py="1"))
    for wanted in (skip["id"], OTHER):
        body = messages.TRIGGER.encode(Trigger(redrive_of=RunId(wanted)))
        await bus.publish("ff.trigger.free", body, headers={"Content-Type": TRIGGER_TYPE})
    await bus.publish("ff.trigger.free", b'{"redrive_of": "*"}', headers={"Content-Type": TRIGGER_TYPE})
    await skips(client, 3, "?pipeline=free")
    assert [run["pipeline_name"] for run in (await client.get("/api/runs")).json["runs"]] == ["full"]


@pytest.mark.parametrize("media_type", [TRIGGER_TYPE, RUN_BODY_TYPE])
async def test_no_client_chooses_who_started_a_redriven_run(bus: Bus, client: Client, media_type: str) -> None:
    """Neither with the media type of our services nor with that of run bodies; the message stays as it was."""
    body = b'{"triggered_by": "schedule", "env_vars": {"A": "1"}, "foreign": 1}'
    headers = {"Content-Type": media_type, "ce-specversion": "1.0"}
    await publish_pipeline(bus, "free", a_bundle(main_py="1"), webhook_key=KEY)
    refused = await client.post(f"/api/webhooks/free/{KEY}", data=body, headers=headers, anonymous=True)
    assert refused.status == 400
    (skip,) = await skips(client, 1)
    assert (skip["triggered_by"], skip["event_bytes"]) == ("webhook", len(body))
    answer = await client.post(f"/api/skipped/{skip['id']}/redrive")
    if answer.status == 200:
        assert (answer.json["triggered_by"], answer.json["env_vars"]) == ("webhook", {})
    else:
        assert answer.status == 422


async def test_a_redriven_start_keeps_where_it_came_from(bus: Bus, client: Client) -> None:
    """A body that is refused as bad JSON becomes an event, of the webhook that got it and of its run configuration."""
    entry = ScheduleEntry(id="prod", webhook_key=f"{KEY}-prod")
    await publish_pipeline(bus, "free", a_bundle(main_py="1"), webhook_key=KEY, schedules=(entry,))
    headers = {"Content-Type": "application/json"}
    refused = await client.post(f"/api/webhooks/free/{KEY}-prod", data=b"{bad", headers=headers, anonymous=True)
    assert refused.status == 400
    (skip,) = await skips(client, 1)
    answer = await client.post(f"/api/skipped/{skip['id']}/redrive")
    assert answer.status == 200
    assert (answer.json["triggered_by"], answer.json["run_config_id"]) == ("webhook", "prod")
