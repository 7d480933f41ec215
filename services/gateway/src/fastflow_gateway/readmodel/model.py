"""What the bus knows, kept in memory by following it: pipelines, links, runs, runners, syncs, refused starts. I/O.

Reads are answered from here without asking the bus; what is not here yet is looked up there. Whoever waits for a run
is woken by its next change: nothing polls.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import aclosing
from datetime import datetime
from typing import Final

from aiohttp import web

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import BusError
from fastflow_contracts.bus.feed import feed
from fastflow_contracts.bus.pull import Message
from fastflow_contracts.bus.streams import bucket_stream
from fastflow_contracts.bus.subjects import ALL_RUNNING, JobRef
from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.ids import RunId
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.links import LINK_SET, LinkSet
from fastflow_contracts.pipelines.records import PIPELINE, SYNC_STATUS, PipelineRecord, SyncStatus
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.limits import LIMIT
from fastflow_contracts.runs.presence import PRESENCE, Presence
from fastflow_contracts.runs.run import RUN, Run, Status
from fastflow_contracts.runs.store import NoSuchRun, RunStore
from fastflow_contracts.schedules.state import SCHEDULE_STATE, SWITCH, ScheduleState
from fastflow_gateway.readmodel.crash_loop import crash_loop
from fastflow_gateway.readmodel.links import LinkBook
from fastflow_gateway.readmodel.run_index import History, Known
from fastflow_gateway.readmodel.skips import Refusals
from fastflow_gateway.readmodel.switches import SwitchBook
from fastflow_gateway.views.waiting import Capacity

log = logging.getLogger(__name__)

LATEST: Final = 10
"""Of the newest runs of a pipeline one must be a restart for it to be in a crash loop."""
SKIPS_READ: Final = 10_000
"""Refused starts that are looked through at the start: the stream keeps far more."""
_RETRY_S: Final = 0.25


class ReadModel:
    """Up to date while ``serve`` runs."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._store = RunStore(bus)
        self.history = History()
        self._pipelines: dict[PipelineName, PipelineRecord] = {}
        self._runners: dict[str, tuple[Presence, datetime]] = {}
        self.sync: SyncStatus | None = None
        self.refusals = Refusals()
        self._watching: defaultdict[RunId, set[asyncio.Event]] = defaultdict(set)
        self._watching_all: set[asyncio.Event] = set()
        self.schedule_states: dict[JobRef, ScheduleState] = {}
        self.switches = SwitchBook()
        self.links = LinkBook()
        self._running_max: int | None = None
        self._behind = {"runs", "limit", "pipelines", "links", "runners", "schedules", "notices"}
        self._ready = asyncio.Event()

    async def serve(self) -> None:
        """Follow the bus until cancelled."""
        async with asyncio.TaskGroup() as group:
            for name, bucket, keys, apply, forget in (
                ("runs", subjects.RUNS, subjects.RUN_KEYS, self._on_run, self._forget_runs),
                ("limit", subjects.RUNS, ALL_RUNNING, self._on_limit, self._forget_limit),
                ("pipelines", subjects.PIPELINES, ">", self._on_pipeline, self._forget_pipelines),
                ("links", subjects.LINKS, subjects.LINK_KEYS, self._on_links, self.links.clear),
                ("runners", subjects.RUNNERS, subjects.RUNNER_KEYS, self._on_runner, self._runners.clear),
                ("schedules", subjects.SCHEDULES, ">", self._on_schedule, self._forget_schedules),
            ):
                follow = self._follow(name, bucket_stream(bucket), f"$KV.{bucket}.{keys}", apply, forget)
                group.create_task(follow, name=f"follow-{name}")
            group.create_task(self._follow_notices(), name="follow-notices")

    @property
    def behind(self) -> frozenset[str]:
        """What is not known completely yet; empty once the model has caught up."""
        return frozenset(self._behind)

    async def caught_up(self) -> None:
        """Wait until everything is known that was stored when ``serve`` began."""
        await self._ready.wait()

    def pipelines(self) -> list[PipelineRecord]:
        """Those that are there, by name."""
        return sorted((p for p in self._pipelines.values() if p.removed_at is None), key=lambda p: p.name)

    async def pipeline(self, name: PipelineName, *, is_fresh: bool = False) -> PipelineRecord | None:
        """None if there is no such pipeline (any more); *is_fresh*: ask the bus. Raises what the bus raises."""
        record = self._pipelines.get(name)
        if record is None or is_fresh:
            entry = await self._bus.get(subjects.PIPELINES, subjects.pipeline_key(name))
            record = PIPELINE.decode(entry.value) if entry else None
        return record if record is not None and record.removed_at is None else None

    async def run(self, run_id: RunId) -> Known | None:
        """None if there is no such run (any more). Raises what the bus raises."""
        known = self.history.get(run_id)
        if known is None:
            with contextlib.suppress(NoSuchRun):
                stored = await self._store.find(run_id)
                return Known(stored.run, stored.revision)
        return known

    def runners(self, now: datetime) -> list[Presence]:
        """Those that are alive at *now*."""
        known = self._runners.values()
        return [presence for presence, at in known if not presence.is_gone(silent_s=(now - at).total_seconds())]

    def capacity(self, now: datetime) -> Capacity:
        """How much may run at once at *now*, and how much does."""
        return Capacity(self.runners(now), self.history.count(Status.RUNNING), self._running_max)

    def crashes(self, pipeline: str, now: datetime) -> tuple[Run, ...]:
        """The crashed runs of the loop that a daemon is in, newest first; empty if it is in none."""

        def find(run_id: RunId) -> Run | None:
            known = self.history.get(run_id)
            return known.run if known else None

        return crash_loop(self.history.latest(pipeline, LATEST), find, now)

    @contextlib.contextmanager
    def watching(self, run_id: RunId, wake: asyncio.Event | None = None) -> Iterator[asyncio.Event]:
        """An event that is set at every change of the run. Clear it, look, then wait: nothing is missed."""
        wake = wake or asyncio.Event()
        self._watching[run_id].add(wake)
        try:
            yield wake
        finally:
            self._watching[run_id].discard(wake)
            if not self._watching[run_id]:
                del self._watching[run_id]

    @contextlib.contextmanager
    def watching_all(self, wake: asyncio.Event) -> Iterator[None]:
        """Have *wake* set at every change of a run, a pipeline, a sync, or of what was refused."""
        self._watching_all.add(wake)
        try:
            yield
        finally:
            self._watching_all.discard(wake)

    async def changed(self, run_id: RunId, *, after: int) -> Known:
        """The run as soon as a revision later than *after* is known (0 = any). Waits for ever: bound it."""
        with self.watching(run_id) as wake:
            while True:
                wake.clear()
                known = self.history.get(run_id)
                if known is not None and known.revision > after:
                    return known
                await wake.wait()

    async def _follow(
        self,
        name: str,
        stream: str,
        subject: str,
        apply: Callable[[Message], None],
        forget: Callable[[], None],
        *,
        after: int | None = None,
    ) -> None:
        async with aclosing(feed(self._bus, stream, subject, after=after)) as batches:
            async for batch in batches:
                if batch.restarted:
                    forget()
                for message in batch.messages:
                    try:
                        apply(message)
                    except FastFlowError as error:
                        # One record that cannot be read must not hide all others.
                        log.warning("%s is ignored: %s", message.subject, error)
                # A runner's sign of life is no news, and whoever enters the limit is seen to run.
                for wake in self._watching_all if batch.messages and name not in ("runners", "limit") else ():
                    wake.set()
                if batch.caught_up and name in self._behind:
                    self._behind.discard(name)
                    if not self._behind:
                        self._ready.set()

    async def _follow_notices(self) -> None:
        """The newest."""
        while True:
            try:
                last = await self._bus.last_sequence(streams.NOTICES)
                break
            except BusError as error:
                log.debug("notices wait: %s", error)
                await asyncio.sleep(_RETRY_S)
        await self._follow(
            "notices",
            streams.NOTICES,
            subjects.SKIPS,
            lambda message: self.refusals.put(messages.SKIP.decode(message.data)),
            self.refusals.clear,
            after=max(0, last - SKIPS_READ),
        )

    def _on_run(self, message: Message) -> None:
        ref = subjects.parse_run_key(message.subject.removeprefix(f"$KV.{subjects.RUNS}."))
        if message.header("KV-Operation"):
            self.history.remove(ref.run_id)
        else:
            self.history.put(RUN.decode(message.data), message.sequence)
        for wake in self._watching.get(ref.run_id, ()):
            wake.set()

    def _on_limit(self, message: Message) -> None:
        gone = message.header("KV-Operation") is not None
        self._running_max = None if gone else LIMIT.decode(message.data).most

    def _on_links(self, message: Message) -> None:
        pipeline = subjects.parse_links_key(message.subject.removeprefix(f"$KV.{subjects.LINKS}."))
        gone = message.header("KV-Operation") is not None
        self.links.put(pipeline, LinkSet() if gone else LINK_SET.decode(message.data), message.sequence)

    def _on_pipeline(self, message: Message) -> None:
        key = message.subject.removeprefix(f"$KV.{subjects.PIPELINES}.")
        gone = message.header("KV-Operation") is not None
        if key == subjects.SYNC_STATUS_KEY:
            self.sync = None if gone else SYNC_STATUS.decode(message.data)
        elif not key.startswith("pipeline."):
            return
        elif gone:
            self._pipelines.pop(subjects.parse_pipeline_key(key), None)
        else:
            record = PIPELINE.decode(message.data)
            self._pipelines[record.name] = record

    def _on_runner(self, message: Message) -> None:
        runner = message.subject.removeprefix(f"$KV.{subjects.RUNNERS}.runner.")
        if message.header("KV-Operation"):
            self._runners.pop(runner, None)
        else:
            self._runners[runner] = (PRESENCE.decode(message.data), message.stored_at)

    def _on_schedule(self, message: Message) -> None:
        key = message.subject.removeprefix(f"$KV.{subjects.SCHEDULES}.")
        gone = message.header("KV-Operation") is not None
        if key.startswith(subjects.SCHEDULE_STATES):
            job = subjects.parse_job_id(key.removeprefix(subjects.SCHEDULE_STATES))
            if gone:
                self.schedule_states.pop(job, None)
            else:
                self.schedule_states[job] = SCHEDULE_STATE.decode(message.data)
        elif key.startswith(subjects.SCHEDULE_SWITCHES):
            job = subjects.parse_job_id(key.removeprefix(subjects.SCHEDULE_SWITCHES))
            self.switches.put(job, message.sequence, is_on=gone or SWITCH.decode(message.data).enabled)

    def _forget_schedules(self) -> None:
        self.schedule_states.clear()
        self.switches.clear()

    def _forget_limit(self) -> None:
        self._running_max = None

    def _forget_runs(self) -> None:
        self.history = History()

    def _forget_pipelines(self) -> None:
        self._pipelines.clear()
        self.sync = None


MODEL = web.AppKey("MODEL", ReadModel)
