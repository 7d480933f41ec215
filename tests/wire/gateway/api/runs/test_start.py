"""Starting runs through the gateway, with a real scheduler."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from fastflow.local.nats_server import embedded_bus
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.streams import ensure
from fastflow_gateway.actions import trigger_client
from tests.support.gateway import (
    TOKEN,
    WEBHOOK_KEY,
    Client,
    claim,
    finish,
    running_gateway,
    running_scheduler,
    stored_run,
)
from tests.support.records import a_bundle, publish_pipeline


async def test_a_start_returns_the_run(bus: Bus, client: Client) -> None:
    """An empty body starts the pipeline as it is; the run is on the bus."""
    answer = await client.post("/api/pipelines/demo/run")
    assert answer.status == 200
    run, _ = await stored_run(bus, answer.json["id"])
    assert (run.pipeline, run.order.triggered_by, answer.json["status"]) == ("demo", "api", "PENDING")


async def test_values_reach_the_run_and_are_never_shown(bus: Bus, client: Client) -> None:
    """Variables, parameters and the run configuration are stored with the run; responses show names only."""
    body = {"env_vars": {"A": "secret-1"}, "parameters": {"B": "secret-2"}, "run_config_id": "staging"}
    answer = await client.post("/api/pipelines/demo/run", json=body)
    run, given = await stored_run(bus, answer.json["id"])
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
    run, _ = await stored_run(bus, first.json["id"])
    await finish(bus, await claim(bus, run), exit_code=1)
    calls: tuple[tuple[str, dict[str, Any]], ...] = (
        ("/api/pipelines/demo/run", {}),
        ("/api/pipelines/demo/run", {"json": {"run_config_id": "prod"}}),
        ("/api/pipelines/demo/run", {"json": {"run_config_id": "staging"}}),
        (f"/api/runs/{run.id}/retry", {}),
        (f"/api/webhooks/demo/{WEBHOOK_KEY}", {"anonymous": True}),
        (f"/api/webhooks/demo/{WEBHOOK_KEY}-prod", {"anonymous": True}),
    )
    ids = [(await client.post(path, headers=headers, **given)).json["id"] for path, given in calls]
    assert ids[0] == run.id
    assert len(set(ids)) == len(calls)
    assert [(await client.post(path, headers=headers, **given)).json["id"] for path, given in calls] == ids
    retried, _ = await stored_run(bus, ids[3])
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
    run, _ = await stored_run(bus, first.json["id"])
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
