"""What a gateway says about readiness: alone, and where its process is the whole installation."""

from __future__ import annotations

import asyncio

import aiohttp
from msgspec.structs import replace

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.pipelines.records import SYNC_STATUS, SyncReportRecord, SyncStatusRecord
from fastflow_contracts.runs.presence import PRESENCE, Presence
from fastflow_gateway.app import gateway
from fastflow_gateway.settings import GatewaySettings
from tests.support.gateway import TOKEN, Answer, Client, running_gateway
from tests.support.records import T0, a_presence

REPORT = SyncReportRecord(source="s", started_at=T0, finished_at=T0, ok=True)


async def put_runner(bus: Bus, presence: Presence) -> None:
    await bus.put(subjects.RUNNERS, subjects.runner_key(presence.runner), PRESENCE.encode(presence))


async def put_sync(bus: Bus, status: SyncStatusRecord) -> None:
    await bus.put(subjects.PIPELINES, subjects.SYNC_STATUS_KEY, SYNC_STATUS.encode(status))


async def until(client: Client, name: str, state: str) -> Answer:
    """Wait until /readyz says *state* of a dependency."""
    while state not in (answer := await client.get("/readyz", anonymous=True)).json["dependencies"][name]:
        await asyncio.sleep(0.01)
    return answer


async def test_a_gateway_alone_is_ready_and_says_what_it_knows(bus: Bus) -> None:
    """It can answer; it does not decide whether a run can start."""
    async with running_gateway(bus) as client:
        answer = await client.get("/readyz", anonymous=True)
        assert answer.status == 200
        assert "no sync" in answer.json["dependencies"]["pipelines"]
        assert answer.json["dependencies"]["runner"] == "no runner takes work"
        await put_runner(bus, a_presence())
        await put_sync(bus, SyncStatusRecord(last=REPORT, live=REPORT))
        for name in ("pipelines", "runner"):
            await until(client, name, "ok")


async def test_a_whole_installation_is_ready_when_a_run_can_start(bus: Bus) -> None:
    """503 names what is missing: its services, pipelines, a runner that takes work; and again when that leaves."""
    starting = {"runner", "syncer"}
    settings = GatewaySettings(port=0, admin_token=TOKEN)
    async with (
        aiohttp.ClientSession() as http,
        gateway(settings, bus, still_starting=lambda: starting) as url,
    ):
        client = Client(url, http)
        missing = await client.get("/readyz", anonymous=True)
        assert missing.status == 503
        assert missing.json["dependencies"]["services"] == "still starting: runner, syncer"
        assert (await client.get("/healthz", anonymous=True)).status == 200
        failed = replace(REPORT, ok=False, error="no such branch")
        await put_sync(bus, SyncStatusRecord(last=failed))
        await put_runner(bus, replace(a_presence(), paused=True))
        starting.clear()
        missing = await until(client, "services", "ok")
        assert missing.status == 503
        await put_sync(bus, SyncStatusRecord(last=failed, live=REPORT))
        assert (await until(client, "pipelines", "ok")).status == 503
        await put_runner(bus, a_presence())
        assert (await until(client, "runner", "ok")).status == 200
        await put_runner(bus, replace(a_presence(), leaving=True))
        assert (await until(client, "runner", "no runner")).status == 503
