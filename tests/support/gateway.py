"""A gateway on a real bus, in this process; its client; and helpers that act as a runner."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp

import fastflow_scheduler.app
from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.clock import now
from fastflow_contracts.ids import check_run_id
from fastflow_contracts.runs.artifacts.manifest import ArtifactManifest
from fastflow_contracts.runs.logs import CHUNK, STREAMS, Chunk, Piece
from fastflow_contracts.runs.run import RunErrorType, RunInput, Running, RunRecord
from fastflow_contracts.runs.state_machine import AttemptOutcome, Claim, Finish, Prepare
from fastflow_contracts.runs.store import RunStore
from fastflow_gateway.app import gateway
from fastflow_gateway.settings import GatewaySettings
from fastflow_scheduler.settings import SchedulerSettings

TOKEN = "a-token-for-tests-only"
WEBHOOK_KEY = "a-webhook-key-of-some-length"
ANSWER_S = 60.0
"""How long a test waits for a response or an event."""


class Answer(NamedTuple):
    status: int
    headers: Any
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Event(NamedTuple):
    """One server-sent event."""

    name: str
    data: Any
    id: str | None


class Client:
    """Queries one gateway, with the token unless *headers* override it."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url = url
        self.http = http

    async def ask(self, method: str, path: str, *, anonymous: bool = False, **request: Any) -> Answer:
        headers = {} if anonymous else {"Authorization": f"Bearer {TOKEN}"}
        headers |= request.pop("headers", {})
        async with asyncio.timeout(ANSWER_S):
            call = self.http.request(method, self.url + path, headers=headers, allow_redirects=False, **request)
            async with call as response:
                return Answer(response.status, response.headers, await response.text())

    async def get(self, path: str, **request: Any) -> Answer:
        return await self.ask("GET", path, **request)

    async def post(self, path: str, **request: Any) -> Answer:
        return await self.ask("POST", path, **request)

    async def events(self, path: str, *, after: str | None = None) -> AsyncGenerator[Event]:
        """Yield the events of one stream until it ends."""
        headers = {"Authorization": f"Bearer {TOKEN}"} | ({"Last-Event-ID": after} if after else {})
        async with self.http.get(self.url + path, headers=headers) as response:
            assert response.status == 200, await response.text()
            fields: dict[str, str] = {}
            while line := await asyncio.wait_for(response.content.readline(), ANSWER_S):
                text = line.decode().rstrip("\n")
                if text:
                    name, _, value = text.partition(": ")
                    fields[name] = value
                else:
                    if "event" in fields:
                        yield Event(fields["event"], json.loads(fields["data"]), fields.get("id"))
                    fields = {}


@asynccontextmanager
async def running_gateway(bus: Bus, **settings: Any) -> AsyncIterator[Client]:
    """Run a gateway and wait until it has caught up."""
    wanted: dict[str, Any] = {"port": 0, "admin_token": TOKEN} | settings
    async with (
        aiohttp.ClientSession(read_bufsize=2**20) as http,
        gateway(GatewaySettings(**wanted), bus) as url,
    ):
        yield Client(url, http)


@asynccontextmanager
async def running_scheduler(bus: Bus, *, settings: SchedulerSettings | None = None) -> AsyncIterator[None]:
    """Run a scheduler beside it."""
    stop, ready = asyncio.Event(), asyncio.Event()
    settings = settings or SchedulerSettings()
    async with asyncio.TaskGroup() as group:
        group.create_task(fastflow_scheduler.app.serve(settings, bus, stop, ready.set))
        await ready.wait()
        try:
            yield
        finally:
            stop.set()


async def store(bus: Bus, run: RunRecord) -> RunRecord:
    """Create the record of *run*, as a scheduler would."""
    assert await RunStore(bus).create(run, None)
    return run


async def claim(bus: Bus, run: RunRecord, *, prepared: bool = True) -> RunRecord:
    """Claim the run, as a runner would."""
    attempt = len(run.attempts) + 1
    claimed = (await RunStore(bus).change(run.ref, Claim(attempt=attempt, runner="r1"))).run
    return (await RunStore(bus).change(run.ref, Prepare(epoch=claimed.epoch))).run if prepared else claimed


async def finish(
    bus: Bus,
    run: RunRecord,
    *,
    log_sequence: int = 0,
    exit_code: int = 0,
    stopped: bool = False,
    result: bytes | None = None,
    artifacts: ArtifactManifest | None = None,
) -> RunRecord:
    """Report the end of its attempt, as a runner would."""
    assert isinstance(run.state, Running)
    outcome = AttemptOutcome(
        started_at=run.state.prepared_at,
        finished_at=now(),
        exit_code=exit_code,
        error_type=RunErrorType.SCRIPT_ERROR if exit_code else None,
        stopped=stopped,
        log_sequence=log_sequence,
        result=result,
        artifacts=artifacts,
    )
    return (await RunStore(bus).change(run.ref, Finish(epoch=run.state.epoch, outcome=outcome))).run


async def say(bus: Bus, run: RunRecord, *pieces: tuple[str, str] | str, attempt: int = 1, end: int = 0) -> int:
    """Publish one chunk: texts, or (stream, text). Return its sequence."""
    spoken = [("stdout", piece) if isinstance(piece, str) else piece for piece in pieces]
    lines = tuple(Piece(0, STREAMS.index(stream), text) for stream, text in spoken)
    chunk = Chunk(at=1_767_225_600.25, lines=lines, end=(end, 0))
    return await bus.publish(subjects.log(run.ref, attempt), CHUNK.encode(chunk))


async def stored_run(bus: Bus, run_id: str) -> tuple[RunRecord, RunInput]:
    """Return the run and its input from the bus."""
    run = (await RunStore(bus).find(check_run_id(run_id))).run
    return run, await RunStore(bus).input(run)
