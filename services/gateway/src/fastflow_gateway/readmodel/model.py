"""The state of the bus in memory: pipelines, links, runs, runners, syncs, skips. I/O.

Feeds from the bus keep it up to date. It answers reads without the bus; what it does not know yet it looks up there.
A handler that waits for a run wakes at its next change: nothing polls.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime
from typing import Final

from aiohttp import web

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.decoding import decoded, note_unreadable
from fastflow_contracts.bus.feed import Batch
from fastflow_contracts.bus.pull import Message
from fastflow_contracts.bus.subjects import JobRef
from fastflow_contracts.codec import Malformed
from fastflow_contracts.ids import RunId
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.links import LINK_SET, LinkSet
from fastflow_contracts.pipelines.records import PIPELINE, SYNC_STATUS, PipelineRecord, SyncStatusRecord
from fastflow_contracts.runs.limits import LIMIT
from fastflow_contracts.runs.messages import SKIP, SkipRecord
from fastflow_contracts.runs.presence import PRESENCE, Presence
from fastflow_contracts.runs.run import RUN, RunRecord, RunStatus
from fastflow_contracts.runs.skips import Letter, SkipStore
from fastflow_contracts.runs.store import NoSuchRun, RunStore
from fastflow_contracts.schedules.state import SCHEDULE_STATE, SWITCH, ScheduleState
from fastflow_gateway.readmodel.crash_loop import crash_loop
from fastflow_gateway.readmodel.feeds import Feed, bucket_feed, follow, is_deletion, key_of
from fastflow_gateway.readmodel.links import Links
from fastflow_gateway.readmodel.run_index import KnownRun, RunIndex
from fastflow_gateway.readmodel.skips import SKIPS_MAX, Skips
from fastflow_gateway.readmodel.switches import Switches
from fastflow_gateway.readmodel.watchers import Watchers
from fastflow_gateway.views.waiting import Capacity

LATEST: Final = 10
"""Newest runs of a pipeline to look at: a crash loop has a restart among them."""
SKIPS_READ: Final = 3 * SKIPS_MAX
"""Messages of the stream to go back at the start: a skip is two, and one more once it is redriven."""


class ReadModel:
    """The state of the bus, up to date while ``serve`` runs."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._store = RunStore(bus)
        self._letters = SkipStore(bus)
        self._pipelines: dict[PipelineName, PipelineRecord] = {}
        self._runners: dict[str, tuple[Presence, datetime]] = {}
        self._running_max: int | None = None
        self._watchers = Watchers()
        self.runs = RunIndex()
        self.skips = Skips()
        self.links = Links()
        self.switches = Switches()
        self.schedule_states: dict[JobRef, ScheduleState] = {}
        self.sync: SyncStatusRecord | None = None
        self._feeds: tuple[Feed, ...] = (
            bucket_feed("runs", subjects.RUNS, subjects.RUN_KEYS, self._on_run, self._forget_runs),
            # Not shown: a run that enters the limit changes its record too, a runner's heartbeat changes nothing shown.
            bucket_feed(
                "limit", subjects.RUNS, subjects.ALL_RUNNING, self._on_limit, self._forget_limit, is_shown=False
            ),
            bucket_feed(
                "runners",
                subjects.RUNNERS,
                subjects.RUNNER_KEYS,
                self._on_runner,
                self._runners.clear,
                is_shown=False,
            ),
            bucket_feed("pipelines", subjects.PIPELINES, ">", self._on_pipeline, self._forget_pipelines),
            bucket_feed("links", subjects.LINKS, subjects.LINK_KEYS, self._on_links, self.links.clear),
            bucket_feed("schedules", subjects.SCHEDULES, ">", self._on_schedule, self._forget_schedules),
            Feed("skips", streams.NOTICES, subjects.SKIPS, self._on_skip, self.skips.clear, newest_max=SKIPS_READ),
        )
        self._behind = {each.name for each in self._feeds}
        self._ready = asyncio.Event()

    async def serve(self) -> None:
        """Follow the bus until cancelled."""
        async with asyncio.TaskGroup() as group:
            for each in self._feeds:
                group.create_task(follow(self._bus, each, took_in=self._took_in), name=f"follow-{each.name}")

    @property
    def behind(self) -> frozenset[str]:
        """Names of the feeds that have not caught up yet."""
        return frozenset(self._behind)

    async def caught_up(self) -> None:
        """Wait until the model knows everything stored when ``serve`` began."""
        await self._ready.wait()

    def pipelines(self) -> list[PipelineRecord]:
        """All pipelines, sorted by name."""
        return sorted((p for p in self._pipelines.values() if p.removed_at is None), key=lambda p: p.name)

    async def pipeline(self, name: PipelineName, *, is_fresh: bool = False) -> PipelineRecord | None:
        """Find a pipeline.

        Args:
            name: Its name.
            is_fresh: Ask the bus even if the model knows the pipeline.

        Returns:
            Its record; None if it does not exist or its record is unreadable.

        Raises:
            BusError: The bus did not answer.
        """
        record = self._pipelines.get(name)
        if record is None or is_fresh:
            key = subjects.pipeline_key(name)
            entry = await self._bus.get(subjects.PIPELINES, key)
            record = decoded(PIPELINE, entry.value, where=key) if entry else None
        return record if record is not None and record.removed_at is None else None

    async def run(self, run_id: RunId) -> KnownRun | None:
        """Find a run; None if it does not exist or its record is unreadable. Raises ``BusError``."""
        if (known := self.runs.get(run_id)) is not None:
            return known
        try:
            stored = await self._store.find(run_id)
        except NoSuchRun:
            return None
        except Malformed as error:
            note_unreadable("runs", run_id, error)
            return None
        return KnownRun(stored.run, stored.revision)

    async def letter(self, skip: SkipRecord) -> Letter | None:
        """The message of a skip; None if it is not kept (any more). Raises ``BusError``."""
        return await self._letters.letter(skip.pipeline, skip.id) if skip.id is not None else None

    def runners(self, now: datetime) -> list[Presence]:
        """The runners that are alive at *now*."""
        known = self._runners.values()
        return [presence for presence, at in known if not presence.is_gone(silent_s=(now - at).total_seconds())]

    def capacity(self, now: datetime) -> Capacity:
        """The capacity at *now*: how many runs may run at once, and how many do."""
        return Capacity(self.runners(now), self.runs.count(RunStatus.RUNNING), self._running_max)

    def crashes(self, pipeline: str, now: datetime) -> tuple[RunRecord, ...]:
        """The crashed runs of a daemon's crash loop, newest first; empty if there is no loop."""

        def find(run_id: RunId) -> RunRecord | None:
            known = self.runs.get(run_id)
            return known.run if known else None

        return crash_loop(self.runs.latest(pipeline, LATEST), find, now)

    def watching(
        self, run_id: RunId, wake: asyncio.Event | None = None
    ) -> contextlib.AbstractContextManager[asyncio.Event]:
        """Yield an event that every change of the run sets. Clear it, look, then wait: no change is missed."""
        return self._watchers.of_run(run_id, wake)

    def watching_all(self, wake: asyncio.Event) -> contextlib.AbstractContextManager[None]:
        """Set *wake* at every change of a run, a pipeline, a link, a schedule or a sync, and at every skip."""
        return self._watchers.of_all(wake)

    def _took_in(self, wanted: Feed, batch: Batch) -> None:
        if batch.messages and wanted.is_shown:
            self._watchers.anything_changed()
        if batch.caught_up:
            self._behind.discard(wanted.name)
            if not self._behind:
                self._ready.set()

    def _on_run(self, message: Message) -> None:
        ref = subjects.parse_run_key(key_of(message, subjects.RUNS))
        if is_deletion(message):
            self.runs.remove(ref.run_id)
        else:
            run = RUN.decode(message.data)
            if run.ref != ref:
                raise Malformed(f"it is the record of run {run.id} of {run.pipeline}")
            self.runs.put(run, message.sequence)
            self._note_started(run)
        self._watchers.run_changed(ref.run_id)

    def _on_limit(self, message: Message) -> None:
        self._running_max = None if is_deletion(message) else LIMIT.decode(message.data).most

    def _on_links(self, message: Message) -> None:
        pipeline = subjects.parse_links_key(key_of(message, subjects.LINKS))
        self.links.put(pipeline, LinkSet() if is_deletion(message) else LINK_SET.decode(message.data), message.sequence)

    def _on_pipeline(self, message: Message) -> None:
        key, is_gone = key_of(message, subjects.PIPELINES), is_deletion(message)
        if key == subjects.SYNC_STATUS_KEY:
            self.sync = None if is_gone else SYNC_STATUS.decode(message.data)
        elif not key.startswith("pipeline."):
            return
        elif is_gone:
            self._pipelines.pop(subjects.parse_pipeline_key(key), None)
        else:
            record, name = PIPELINE.decode(message.data), subjects.parse_pipeline_key(key)
            if record.name != name:
                raise Malformed(f"it is the record of {record.name}")
            self._pipelines[name] = record

    def _on_runner(self, message: Message) -> None:
        runner = key_of(message, subjects.RUNNERS).removeprefix("runner.")
        if is_deletion(message):
            self._runners.pop(runner, None)
        else:
            self._runners[runner] = (PRESENCE.decode(message.data), message.stored_at)

    def _on_schedule(self, message: Message) -> None:
        key, is_gone = key_of(message, subjects.SCHEDULES), is_deletion(message)
        if key.startswith(subjects.SCHEDULE_STATES):
            job = subjects.parse_job_id(key.removeprefix(subjects.SCHEDULE_STATES))
            if is_gone:
                self.schedule_states.pop(job, None)
            else:
                self.schedule_states[job] = SCHEDULE_STATE.decode(message.data)
        elif key.startswith(subjects.SCHEDULE_SWITCHES):
            job = subjects.parse_job_id(key.removeprefix(subjects.SCHEDULE_SWITCHES))
            self.switches.put(job, message.sequence, is_on=is_gone or SWITCH.decode(message.data).enabled)

    def _on_skip(self, message: Message) -> None:
        skip = SKIP.decode(message.data)
        self.skips.put(skip)
        if skip.id is not None and (known := self.runs.get(skip.id)) is not None:
            self._note_started(known.run)

    def _note_started(self, run: RunRecord) -> None:
        if not run.is_refused:
            self.skips.started(run.id)

    def _forget_runs(self) -> None:
        self.runs = RunIndex()

    def _forget_limit(self) -> None:
        self._running_max = None

    def _forget_pipelines(self) -> None:
        self._pipelines.clear()
        self.sync = None

    def _forget_schedules(self) -> None:
        self.schedule_states.clear()
        self.switches.clear()


MODEL = web.AppKey("MODEL", ReadModel)
