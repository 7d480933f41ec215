"""Pauses through a real gateway: what it answers, stores and shows."""

from __future__ import annotations

import asyncio

import pytest

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.subjects import PAUSE_KEY
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.pauses import (
    BY_CHARACTERS_MAX,
    PAUSE_SET,
    PIPELINES_MAX,
    REASON_CHARACTERS_MAX,
    PauseRecord,
    PauseSet,
    pause_sets,
)
from tests.support.gateway import Client, running_gateway
from tests.support.records import T0, a_bundle, publish_pipeline


async def pause(client: Client, path: str = "/api/pause", reason: str = "maintenance") -> int:
    return (await client.ask("PUT", path, json={"reason": reason})).status


async def seen(client: Client, *, paused: bool) -> None:
    """Wait until the gateway knows."""
    async with asyncio.timeout(30):
        while bool((await client.get("/api/pause")).json["installation"]) is not paused:
            await asyncio.sleep(0.01)


async def test_gateways_that_pause_at_once_lose_no_pause(bus: Bus) -> None:
    """Each pipeline has its own, although all of them are one record."""
    names = [f"p{number}" for number in range(10)]
    for name in names:
        await publish_pipeline(bus, name, a_bundle(main_py=""))
    async with running_gateway(bus) as one, running_gateway(bus) as other:
        calls = [
            pause(client, f"/api/pipelines/{name}/pause")
            for client, half in ((one, names[::2]), (other, names[1::2]))
            for name in half
        ]
        assert set(await asyncio.gather(*calls)) == {200}
    stored = await pause_sets(bus).get(PAUSE_KEY)
    assert stored is not None
    assert set(stored.value.pipelines) == set(names)


async def test_a_repeat_changes_the_reason_and_not_since_when(bus: Bus) -> None:
    async with running_gateway(bus) as client:
        assert await pause(client) == 200
        first = (await client.get("/api/pause")).json["installation"]
        assert await pause(client, reason="still\n maintenance ") == 200
        again = (await client.get("/api/pause")).json["installation"]
        assert (again["since"], again["reason"]) == (first["since"], "still maintenance")
        assert (await client.ask("DELETE", "/api/pause")).json == {"installation": None, "pipelines": {}}


async def test_every_gateway_shows_the_pause(bus: Bus) -> None:
    """Ready all the same: whoever paused wants it. The reason is for those with the token."""
    async with running_gateway(bus) as one, running_gateway(bus) as other:
        assert await pause(one, reason="a secret project") == 200
        await seen(other, paused=True)
        ready = await other.get("/readyz", anonymous=True)
        assert ready.json["dependencies"]["pause"].startswith("no new run begins since ")
        assert "secret project" not in ready.text
        metrics = (await other.get("/metrics")).text
        assert "fastflow_paused 1.0" in metrics
        assert (await other.get("/api/pause", anonymous=True)).status == 401
        await one.ask("DELETE", "/api/pause")
        await seen(other, paused=False)
        assert (await other.get("/readyz", anonymous=True)).json["dependencies"]["pause"] == "ok"


async def test_the_jobs_of_a_paused_pipeline_say_so(bus: Bus) -> None:
    """They are on, and their next slot is known."""
    await publish_pipeline(bus, "ticker", a_bundle(main_py=""), schedule_interval_seconds=60)
    async with running_gateway(bus) as client:
        assert await pause(client, "/api/pipelines/ticker/pause") == 200
        (job,) = (await client.get("/api/scheduler/jobs")).json
        assert (job["enabled"], "paused" in job["note"], job["next_run_time"] is not None) == (True, True, True)
        assert "pipelines paused: 1" in (await client.get("/readyz")).json["dependencies"]["pause"]


async def test_there_is_a_bound_on_single_pauses(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them must fit one record."""
    monkeypatch.setattr("fastflow_gateway.actions.pauses.PIPELINES_MAX", 1)
    for name in ("a", "b"):
        await publish_pipeline(bus, name, a_bundle(main_py=""))
    async with running_gateway(bus) as client:
        assert await pause(client, "/api/pipelines/a/pause") == 200
        assert await pause(client, "/api/pipelines/b/pause") == 409
        assert await pause(client, "/api/pipelines/a/pause", "another reason") == 200


def test_the_largest_record_fits_a_message() -> None:
    pause = PauseRecord(reason="ü" * REASON_CHARACTERS_MAX, by="ü" * BY_CHARACTERS_MAX, at=T0)
    names = [PipelineName(f"{number:064}") for number in range(PIPELINES_MAX)]
    assert len(PAUSE_SET.encode(PauseSet(installation=pause, pipelines=dict.fromkeys(names, pause)))) < 1_000_000


async def test_an_unreadable_record_is_counted_and_replaced(bus: Bus) -> None:
    await bus.put(subjects.SCHEDULES, PAUSE_KEY, b"{damaged")
    async with running_gateway(bus) as client:
        assert (await client.get("/readyz")).json["unreadable"] == {"pauses": 1}
        assert await pause(client) == 200
        await seen(client, paused=True)
