"""Cancelling and repeating runs through the gateway, with a real scheduler."""

from __future__ import annotations

from msgspec.structs import replace

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.pipelines.records import PIPELINE
from fastflow_contracts.runs.run import RESTART, Running
from fastflow_contracts.runs.state_machine import Cancel
from fastflow_contracts.runs.store import RunStore
from tests.support.gateway import (
    Client,
    claim,
    finish,
    stored_run,
)
from tests.support.records import T0, a_bundle, publish_pipeline


async def test_cancelling_ends_a_waiting_run_and_stops_a_running_one(bus: Bus, client: Client) -> None:
    """A waiting run is over at once; a running one is marked; cancelling one that is over is refused."""
    waiting = await client.post("/api/pipelines/demo/run")
    cancelled = await client.post(f"/api/runs/{waiting.json['id']}/cancel")
    assert (cancelled.status, cancelled.json["status"]) == (200, "INTERRUPTED")
    assert (await client.post(f"/api/runs/{waiting.json['id']}/cancel")).status == 409
    run, _ = await stored_run(bus, (await client.post("/api/pipelines/demo/run")).json["id"])
    await claim(bus, run)
    for _ in range(2):  # a repeated request changes nothing
        stopping = await client.post(f"/api/runs/{run.id}/cancel")
        assert (stopping.status, stopping.json["status"], stopping.json["cancel_requested"]) == (200, "RUNNING", True)
    restarting, _ = await stored_run(bus, (await client.post("/api/pipelines/demo/run")).json["id"])
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
    run, given = await stored_run(bus, first.json["id"])
    await finish(bus, await claim(bus, run), exit_code=1)
    again = await client.post(f"/api/runs/{run.id}/retry")
    assert again.status == 200
    repeated, given_again = await stored_run(bus, again.json["id"])
    assert repeated.id != run.id
    assert (repeated.order.bundle, given_again) == (run.order.bundle, given)
    assert again.json["parent_run_id"] == run.id


async def test_a_run_of_a_pipeline_that_may_not_start_cannot_be_repeated(bus: Bus, client: Client) -> None:
    """Refused like a start, while the pipeline is disabled and after its removal."""
    run, _ = await stored_run(bus, (await client.post("/api/pipelines/demo/run")).json["id"])
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
