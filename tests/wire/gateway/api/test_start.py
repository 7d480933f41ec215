"""Starting, cancelling and repeating runs through the gateway, with a real scheduler."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from fastflow.local.nats_server import embedded_bus
from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.streams import ensure
from fastflow_contracts.ids import check_run_id
from fastflow_contracts.pipelines.format.spec import ScheduleEntry
from fastflow_contracts.pipelines.records import PIPELINE
from fastflow_contracts.runs.run import RESTART, RunInput, Running, RunRecord
from fastflow_contracts.runs.state_machine import Cancel
from fastflow_contracts.runs.store import RunStore
from fastflow_gateway.actions import trigger_client
from tests.support.gateway import TOKEN, Client, claim, finish, running_gateway, running_scheduler
from tests.support.logged import logged
from tests.support.records import T0, a_bundle, publish_pipeline

KEY = "a-webhook-key-of-some-length"


@pytest_asyncio.fixture
async def client(bus: Bus) -> AsyncIterator[Client]:
    """A gateway with one pipeline ``demo`` and a scheduler beside it; webhook bodies may have 1,000 bytes."""
    schedules = (ScheduleEntry(id="prod", webhook_key=f"{KEY}-prod"), ScheduleEntry(id="staging"))
    await publish_pipeline(bus, "demo", a_bundle(main_py="1"), webhook_key=KEY, schedules=schedules)
    async with running_scheduler(bus), running_gateway(bus, webhook_bytes_max=1_000) as client:
        yield client


async def stored(bus: Bus, run_id: str) -> tuple[RunRecord, RunInput]:
    """Return the run and its input from the bus."""
    run = (await RunStore(bus).find(check_run_id(run_id))).run
    return run, await RunStore(bus).input(run)


async def test_a_start_returns_the_run(bus: Bus, client: Client) -> None:
    """An empty body starts the pipeline as it is; the run is on the bus."""
    answer = await client.post("/api/pipelines/demo/run")
    assert answer.status == 200
    run, _ = await stored(bus, answer.json["id"])
    assert (run.pipeline, run.order.triggered_by, answer.json["status"]) == ("demo", "api", "PENDING")


async def test_values_reach_the_run_and_are_never_shown(bus: Bus, client: Client) -> None:
    """Variables, parameters and the run configuration are stored with the run; responses show names only."""
    body = {"env_vars": {"A": "secret-1"}, "parameters": {"B": "secret-2"}, "run_config_id": "staging"}
    answer = await client.post("/api/pipelines/demo/run", json=body)
    run, given = await stored(bus, answer.json["id"])
    assert given.overrides == {"A": "secret-1", "B": "secret-2"}
    assert run.order.run_config_id == "staging"
    assert (answer.json["env_vars"], answer.json["parameters"]) == ({"A": "***"}, {"B": "***"})
    assert "secret-1" not in (await client.get(f"/api/runs/{run.id}")).text


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b"{", "JSON"),
        (b"[]", "object"),
        (b'{"env": {}}', "env"),
        (b'{"env_vars": {"A": 1}}', "env_vars.A"),
        (b'{"env_vars": {"A": "' + b"x" * 16_385 + b'"}}', "16,384"),
        (b'{"parameters": {' + b",".join(b'"k%d": ""' % n for n in range(51)) + b"}}", "50"),
        (b'{"run_config_id": "nightly"}', "nightly"),
        (b'{"run_config_id": "\\ud800"}', "run_config_id"),
        (b'{"env_vars": {"A": "\\ud800"}}', "env_vars.A"),
        (b'{"env_vars": {"\\ud800": "1"}}', "env_vars"),
    ],
)
async def test_a_body_that_cannot_be_used_is_refused_with_its_reason(client: Client, body: bytes, names: str) -> None:
    """422, with a sentence that names what is wrong."""
    answer = await client.post("/api/pipelines/demo/run", data=body)
    assert answer.status == 422
    assert names in answer.json["detail"]


async def test_a_missing_or_disabled_pipeline_cannot_be_started(bus: Bus, client: Client) -> None:
    """404 for an unknown, a removed and a disabled one."""
    await publish_pipeline(bus, "off", a_bundle(main_py="1"), enabled=False)
    for name in ("nobody", "off", "..", "a%20b"):
        answer = await client.post(f"/api/pipelines/{name}/run")
        assert answer.status == 404, name
        assert answer.json["detail"]


async def test_a_pipeline_can_be_started_as_soon_as_it_is_on_the_bus(bus: Bus, client: Client) -> None:
    """Even before the gateway's own copy has it."""
    for n in range(20):
        await publish_pipeline(bus, f"p{n}", a_bundle(main_py="1"))
        assert (await client.post(f"/api/pipelines/p{n}/run")).status == 200


async def test_the_same_idempotency_key_is_the_same_run(bus: Bus, client: Client) -> None:
    """Sent again later, at once, or many times: one run."""
    headers = {"Idempotency-Key": "order 7"}
    answers = await asyncio.gather(*(client.post("/api/pipelines/demo/run", headers=headers) for _ in range(8)))
    answers.append(await client.post("/api/pipelines/demo/run", headers=headers))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.json["id"] for answer in answers}) == 1
    assert len((await client.get("/api/runs")).json["runs"]) == 1


async def test_one_idempotency_key_for_different_calls_starts_different_runs(bus: Bus, client: Client) -> None:
    """For another configuration, another route, or another run to repeat. Repeating a call returns its own run."""
    headers = {"Idempotency-Key": "one of mine"}
    first = await client.post("/api/pipelines/demo/run", headers=headers)
    run, _ = await stored(bus, first.json["id"])
    await finish(bus, await claim(bus, run), exit_code=1)
    calls: tuple[tuple[str, dict[str, Any]], ...] = (
        ("/api/pipelines/demo/run", {}),
        ("/api/pipelines/demo/run", {"json": {"run_config_id": "prod"}}),
        ("/api/pipelines/demo/run", {"json": {"run_config_id": "staging"}}),
        (f"/api/runs/{run.id}/retry", {}),
        (f"/api/webhooks/demo/{KEY}", {"anonymous": True}),
        (f"/api/webhooks/demo/{KEY}-prod", {"anonymous": True}),
    )
    ids = [(await client.post(path, headers=headers, **given)).json["id"] for path, given in calls]
    assert ids[0] == run.id
    assert len(set(ids)) == len(calls)
    assert [(await client.post(path, headers=headers, **given)).json["id"] for path, given in calls] == ids
    retried, _ = await stored(bus, ids[3])
    assert retried.order.parent_run_id == run.id


async def test_an_idempotency_key_that_is_not_text_is_refused(client: Client) -> None:
    """With the reason, and not as an error of the server."""
    host, _, port = client.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /api/pipelines/demo/run HTTP/1.0\r\nHost: {host}\r\nAuthorization: Bearer {TOKEN}\r\n"
    writer.write(head.encode() + b"Idempotency-Key: \xff\r\n\r\n")
    answer = (await reader.read()).decode()
    writer.close()
    assert answer.startswith("HTTP/1.0 422 ")
    assert "printable text in UTF-8" in answer


async def test_a_start_beyond_max_instances_is_refused_for_now(bus: Bus, client: Client) -> None:
    """429 with Retry-After; the same key succeeds once there is room."""
    await publish_pipeline(bus, "one", a_bundle(main_py="1"), max_instances=1)
    first = await client.post("/api/pipelines/one/run")
    assert first.status == 200
    headers = {"Idempotency-Key": "later"}
    refused = await client.post("/api/pipelines/one/run", headers=headers)
    assert refused.status == 429
    assert int(refused.headers["Retry-After"]) > 0
    run, _ = await stored(bus, first.json["id"])
    await finish(bus, await claim(bus, run))
    assert (await client.post("/api/pipelines/one/run", headers=headers)).status == 200


async def test_a_trigger_stored_twice_is_not_refused_because_of_its_own_run(bus: Bus, client: Client) -> None:
    """With room for one run, many requests with one key all get that run."""
    await publish_pipeline(bus, "one", a_bundle(main_py="1"), max_instances=1)
    headers = {"Idempotency-Key": "once"}
    answers = await asyncio.gather(*(client.post("/api/pipelines/one/run", headers=headers) for _ in range(10)))
    assert {(answer.status, answer.json.get("id")) for answer in answers} == {(200, answers[0].json["id"])}
    too_long = await client.post("/api/pipelines/one/run", headers={"Idempotency-Key": "x" * 256})
    assert too_long.status == 422


async def test_without_a_scheduler_the_trigger_is_stored_and_will_run(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """202 with the run's id; this run appears once a scheduler works."""
    monkeypatch.setattr(trigger_client, "DECISION_S", 0.05)
    await publish_pipeline(bus, "demo", a_bundle(main_py="1"))
    async with running_gateway(bus) as client:
        answer = await client.post("/api/pipelines/demo/run")
        assert answer.status == 202
        run_id = answer.json["id"]
        assert answer.headers["Location"] == f"/api/runs/{run_id}"
        assert (await client.get(f"/api/runs/{run_id}")).status == 404
        async with running_scheduler(bus), asyncio.timeout(10):
            while (await client.get(f"/api/runs/{run_id}")).status == 404:
                await asyncio.sleep(0)


async def test_cancelling_ends_a_waiting_run_and_stops_a_running_one(bus: Bus, client: Client) -> None:
    """A waiting run is over at once; a running one is marked; cancelling one that is over is refused."""
    waiting = await client.post("/api/pipelines/demo/run")
    cancelled = await client.post(f"/api/runs/{waiting.json['id']}/cancel")
    assert (cancelled.status, cancelled.json["status"]) == (200, "INTERRUPTED")
    assert (await client.post(f"/api/runs/{waiting.json['id']}/cancel")).status == 409
    run, _ = await stored(bus, (await client.post("/api/pipelines/demo/run")).json["id"])
    await claim(bus, run)
    for _ in range(2):  # a repeated request changes nothing
        stopping = await client.post(f"/api/runs/{run.id}/cancel")
        assert (stopping.status, stopping.json["status"], stopping.json["cancel_requested"]) == (200, "RUNNING", True)
    restarting, _ = await stored(bus, (await client.post("/api/pipelines/demo/run")).json["id"])
    await claim(bus, restarting)
    await RunStore(bus).change(restarting.ref, Cancel(reason=RESTART))
    assert (await client.post(f"/api/runs/{restarting.id}/cancel")).status == 200
    state = (await RunStore(bus).load(restarting.ref)).run.state
    assert isinstance(state, Running)
    assert state.is_stopping, "it would have been started anew"
    for unknown in ("nonsense", "00000000-0000-4000-8000-000000000000"):
        assert (await client.post(f"/api/runs/{unknown}/cancel")).status == 404


async def test_a_run_that_is_over_can_be_repeated(bus: Bus, client: Client) -> None:
    """As a new run of the same bundle, variables and parameters, but not while the old one is active."""
    first = await client.post("/api/pipelines/demo/run", json={"env_vars": {"A": "1"}})
    assert (await client.post(f"/api/runs/{first.json['id']}/retry")).status == 409
    run, given = await stored(bus, first.json["id"])
    await finish(bus, await claim(bus, run), exit_code=1)
    again = await client.post(f"/api/runs/{run.id}/retry")
    assert again.status == 200
    repeated, given_again = await stored(bus, again.json["id"])
    assert repeated.id != run.id
    assert (repeated.order.bundle, given_again) == (run.order.bundle, given)
    assert again.json["parent_run_id"] == run.id


async def test_a_run_of_a_pipeline_that_may_not_start_cannot_be_repeated(bus: Bus, client: Client) -> None:
    """Refused like a start, while the pipeline is disabled and after its removal."""
    run, _ = await stored(bus, (await client.post("/api/pipelines/demo/run")).json["id"])
    await finish(bus, await claim(bus, run), exit_code=1)
    record = await publish_pipeline(bus, "demo", a_bundle(main_py="1"), enabled=False)
    disabled = await client.post(f"/api/runs/{run.id}/retry")
    assert disabled.status == 404
    assert "disabled" in disabled.json["detail"]
    gone = PIPELINE.encode(replace(record, removed_at=T0))
    await bus.put(subjects.PIPELINES, subjects.pipeline_key(record.name), gone)
    unknown = await client.post(f"/api/runs/{run.id}/retry")
    assert unknown.status == 404
    assert "no pipeline demo" in unknown.json["detail"]


async def test_a_webhook_starts_the_run_configuration_whose_key_it_has(bus: Bus, client: Client) -> None:
    """The key in the path is enough; the body is the event and may have variables."""
    body = b'{"env_vars": {"A": "1"}, "parameters": {"B": "2"}, "more": [1]}'
    headers = {"Content-Type": "application/json"}
    answer = await client.post(f"/api/webhooks/demo/{KEY}-prod", data=body, headers=headers, anonymous=True)
    assert answer.status == 200
    run, given = await stored(bus, answer.json["id"])
    assert (run.order.triggered_by, run.order.run_config_id) == ("webhook", "prod")
    assert (given.event, given.event_type) == (body, "application/json")
    assert given.overrides == {"A": "1", "B": "2"}
    plain = await client.post(f"/api/webhooks/demo/{KEY}", data=b"\x00\xffraw", anonymous=True)
    run, given = await stored(bus, plain.json["id"])
    assert (run.order.run_config_id, given.event) == (None, b"\x00\xffraw")
    empty = await client.post(f"/api/webhooks/demo/{KEY}", anonymous=True)
    assert (await stored(bus, empty.json["id"]))[1].event is None


@pytest.mark.parametrize("header", ["Idempotency-Key", "webhook-id", "X-GitHub-Delivery"])
async def test_a_webhook_delivered_twice_is_one_run(client: Client, header: str) -> None:
    """A repeat with any of the usual delivery ids returns the same run."""
    headers = {header: "delivery-1"}
    ids = [(await client.post(f"/api/webhooks/demo/{KEY}", headers=headers)).json["id"] for _ in range(2)]
    assert ids[0] == ids[1]


async def test_webhooks_refuse_in_order(bus: Bus, client: Client) -> None:
    """404 unknown, disabled or without a key; 401 wrong key; 413 too large; 400 invalid JSON or variables."""
    await publish_pipeline(bus, "off", a_bundle(main_py="1"), enabled=False, webhook_key=KEY)
    await publish_pipeline(bus, "keyless", a_bundle(main_py="1"))
    json_type = {"Content-Type": "application/json"}
    for path, status, request in (
        (f"nobody/{KEY}", 404, {}),
        (f"off/{KEY}", 404, {}),
        (f"keyless/{KEY}", 404, {}),
        ("demo/wrong", 401, {}),
        ("demo/wrong", 401, {"data": b"x" * 2_000}),
        (f"demo/{KEY}", 413, {"data": b"x" * 1_001}),
        (f"demo/{KEY}", 400, {"data": b"{", "headers": json_type}),
        (f"demo/{KEY}", 400, {"data": b'{"env_vars": {"A": 1}}', "headers": json_type}),
    ):
        answer = await client.post(f"/api/webhooks/{path}", anonymous=True, **request)
        assert answer.status == status, path
        assert answer.json["detail"]


async def test_guessing_keys_is_slowed_down(client: Client) -> None:
    """After ten wrong keys the client must wait, even with the right one."""
    for _ in range(10):
        assert (await client.post("/api/webhooks/demo/guess", anonymous=True)).status == 401
    refused = await client.post(f"/api/webhooks/demo/{KEY}", anonymous=True)
    assert refused.status == 429
    assert int(refused.headers["Retry-After"]) > 0


async def test_keys_and_tokens_are_never_logged(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a webhook's key nor a login's token is in a log line, even in a mistyped request."""
    with caplog.at_level(logging.DEBUG):
        await client.post(f"/api/webhooks/demo/{KEY}", anonymous=True)
        await client.post(f"/api/webhooks/demo/{KEY}/more", anonymous=True)
        await client.get(f"/api/webhooks/demo/{KEY}", anonymous=True)
        await client.post(f"//api//webhooks//demo/{KEY}", anonymous=True)
        await client.get(f"/login?token={KEY}", anonymous=True)
        for nowhere in (
            "/webhooks/demo",
            "/demo",
            "/API/Webhooks/demo",
            "/api/webhook/demo",
            "//demo//",
            "/base/api/webhooks/demo",
        ):
            assert (await client.post(f"{nowhere}/{KEY}", anonymous=True)).status in (401, 404)
    assert "/api/webhooks/demo/***" in logged(caplog)
    assert KEY not in logged(caplog)


async def test_without_the_bus_reads_go_on_and_starts_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 with Retry-After while the bus is gone; everything works again when it is back."""
    monkeypatch.setattr(trigger_client, "STORE_S", 0.2)
    async with embedded_bus(tmp_path) as url, connect(url, name="test") as bus:
        await ensure(bus.js)
        await publish_pipeline(bus, "demo", a_bundle(main_py="1"))
        async with running_gateway(bus) as client:
            os.kill(int((tmp_path / "bus.pid").read_text()), signal.SIGKILL)
            async with asyncio.timeout(10):
                while (await client.get("/readyz", anonymous=True)).status == 200:
                    await asyncio.sleep(0)
            refused = await client.post("/api/pipelines/demo/run")
            assert refused.status == 503
            assert int(refused.headers["Retry-After"]) > 0
            assert (await client.get("/healthz", anonymous=True)).status == 200
            assert len((await client.get("/api/pipelines")).json) == 1
            async with embedded_bus(tmp_path, port=int(url.rpartition(":")[2])), running_scheduler(bus):
                async with asyncio.timeout(20):
                    while (await client.post("/api/pipelines/demo/run")).status != 200:
                        await asyncio.sleep(0.05)
