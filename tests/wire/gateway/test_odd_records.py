"""Every page and answer of a gateway comes, whatever is stored: odd records of every kind on a real bus."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import Rejected
from fastflow_contracts.pipelines.folder.bundle import File, pack
from tests.support.corruption import Corrupt, corrupt, fresh_dice
from tests.support.gateway import Client, running_gateway, store
from tests.support.notebooks import written
from tests.support.profile import lasting
from tests.support.records import a_run, publish_pipeline

ROUNDS = lasting(1, long=20)
RECORDS = 10
"""Of each kind, in each round."""
LISTS = (
    *(
        "/readyz",
        "/metrics",
        "/",
        "/runs",
        "/runners",
        "/schedules",
        "/skipped",
        "/skipped?show=all",
        "/graph",
        "/simulation",
    ),
    *("/api/pipelines", "/api/runs?limit=100", "/api/scheduler/jobs", "/api/sync/status", "/api/sync/logs"),
    *("/api/skipped", "/api/pipelines/graph", "/api/runners", "/api/pipelines/other/stats"),
    *("/pipelines/other", "/api/pipelines/other/runs", "/runs?pipeline=other"),
)

pytestmark = pytest.mark.simulation
OF_A_RUN = ("", "/logs", "/logs?tail=5", "/logs/lines", "/metrics", "/cells", "/notebook")


async def test_every_page_and_answer_comes_whatever_is_stored(bus: Bus) -> None:
    """Of the lists, and of each odd pipeline, run and skip. No record breaks the answers about others."""
    dice = fresh_dice()
    code = pack({"main.ipynb": File(written("1"))})
    await publish_pipeline(bus, "other", code, type="notebook")
    victim = await store(bus, a_run("other", kind="notebook", bundle=code.sha256))
    async with running_gateway(bus) as client:
        for _ in range(ROUNDS):
            odd = list(corrupt(dice, RECORDS, victim.ref))
            await asyncio.gather(*(write(bus, record) for record in odd))
            paths = {*LISTS, *(f"/api/runs/{victim.id}{part}" for part in OF_A_RUN), f"/runs/{victim.id}"}
            for path in sorted({path for record in odd for path in pages_of(record)} | paths):
                await answered(client, path)


async def answered(client: Client, path: str) -> None:
    answer = await client.get(path)
    assert answer.status < 500, (path, answer)


async def write(bus: Bus, record: Corrupt) -> None:
    try:
        if record.bucket is not None:
            await bus.put(record.bucket, record.key, record.data)
        else:
            await bus.publish(record.key, record.data)
    except Rejected:  # the bus refuses it from anyone
        pass


def pages_of(record: Corrupt) -> Iterator[str]:
    """The pages and answers about what *record* names."""
    kind, *names = record.key.split(".")
    match record.bucket, kind, names:
        case subjects.RUNS, "run", [_, run_id]:
            yield from (f"/runs/{run_id}", f"/api/runs/{run_id}")
        case subjects.PIPELINES, "pipeline", [name]:
            yield from (f"/pipelines/{name}", f"/pipelines/{name}/start", f"/api/pipelines/{name}")
        case None, "ff", ["skipped", _, run_id]:
            yield from (f"/skipped/{run_id}", f"/api/skipped/{run_id}")
        case _:
            return
