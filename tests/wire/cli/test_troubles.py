"""An installation with every trouble at once: the commands and the page name each."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace as config_with
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from fastflow.local.unreadable import remove, unreadable_records
from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.streams import MIB, bucket_stream
from fastflow_contracts.pipelines.records import SYNC_STATUS, SyncReportRecord, SyncStatusRecord
from fastflow_contracts.runs.presence import PRESENCE
from fastflow_contracts.service.parts import degraded, keep
from tests.support.command import fastflow
from tests.support.gateway import TOKEN, running_gateway
from tests.support.records import T0, a_presence

WITHIN_S = 60.0
LONG = "a-runner-of-a-long-name"
OPEN = "The network is not isolated."
LIMP = "runner/pool failed once"
REPORT = SyncReportRecord(source="s", started_at=T0, finished_at=T0, ok=True)


async def test_every_trouble_is_named_by_doctor_status_and_the_page(bus: Bus, tmp_path: Path) -> None:
    """The gateway is ready all the same; an installation that is not whole is something for a doctor."""
    presence = replace(a_presence(LONG), unenforced=(OPEN,), degraded=(LIMP,))
    await bus.put(subjects.RUNNERS, subjects.runner_key(LONG), PRESENCE.encode(presence))
    synced = SYNC_STATUS.encode(SyncStatusRecord(last=REPORT, live=REPORT))
    await bus.put(subjects.PIPELINES, subjects.SYNC_STATUS_KEY, synced)
    await bus.put(subjects.SESSIONS, subjects.spent_key("bad"), b"garbage")
    await bus.put(subjects.LINKS, "links.demo", b"garbage")
    failing = asyncio.create_task(keep("scheduler/clock", broken))
    async with running_gateway(bus) as gateway, asyncio.timeout(WITHIN_S):
        where = {"FASTFLOW_URL": gateway.url, "FASTFLOW_TOKEN": TOKEN}
        command = partial(asyncio.to_thread, partial(fastflow, cwd=tmp_path, **where))
        while (health := (await gateway.get("/readyz")).json)["status"] != "degraded" or not degraded():
            await asyncio.sleep(0.05)
        assert health["unreadable"] == {"links": 1, "sessions": 1}

        doctor = await command("doctor")
        for words in (
            "degraded   scheduler/clock failed",
            "unreadable 1 links, 1 sessions: `fastflow bus unreadable`",
            f"degraded   {LONG}: {LIMP}",
            f"{LONG} {OPEN}",
        ):
            assert words in doctor.stdout
        assert doctor.returncode == 1
        status = await command("status")
        assert status.returncode == 0
        assert "gateway    ready\n" in status.stdout
        assert "degraded   scheduler/clock failed" in status.stdout
        assert "unreadable 1 links, 1 sessions" in status.stdout

        await fill(bus, subjects.INPUTS)
        while (await gateway.get("/readyz")).json["dependencies"]["room"] == "ok":
            await asyncio.sleep(0.05)
        doctor, status = await command("doctor"), await command("status")
        assert (doctor.returncode, "no new runs now: ff_inputs is" in doctor.stdout) == (1, True)
        assert (status.returncode, "gateway    ready: room no new runs now" in status.stdout) == (0, True)
        page = (await gateway.get("/runners")).text
        for words in ("no new runs now", "scheduler/clock failed", "2 stored records are unreadable", LIMP, OPEN):
            assert words in page

        found = await unreadable_records(bus)
        assert {each.bucket for each in found} == {subjects.LINKS, subjects.SESSIONS}
        assert await remove(bus, found) == len(found)
        while (await gateway.get("/readyz")).json["unreadable"]:
            await asyncio.sleep(0.05)
    failing.cancel()
    with suppress(asyncio.CancelledError):
        await failing


async def broken() -> None:
    raise LookupError


async def fill(bus: Bus, bucket: str) -> None:
    """Leave less room in *bucket* than new runs need."""
    await bus.put(bucket, "filler", bytes(MIB))
    found = await bus.stream(bucket_stream(bucket))
    await bus.js.update_stream(config_with(found.config, max_bytes=int(MIB * 1.2)))
