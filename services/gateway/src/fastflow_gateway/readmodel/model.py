"""The state of the bus in memory: pipelines, links, runs, runners, syncs, skips. I/O.

Feeds from the bus keep it up to date. It answers reads without the bus; what it does not know yet it looks up there.
A handler that waits for a run wakes at its next change: nothing polls.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from datetime import datetime
from functools import partial
from typing import Any, Final

from aiohttp import web

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.bucket import Change, Changes
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.decoding import Unreadable
from fastflow_contracts.bus.errors import Unavailable
from fastflow_contracts.bus.subjects import JobRef, RunRef, TriggerRef
from fastflow_contracts.ids import RunId
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.links import LinkSet
from fastflow_contracts.pipelines.pauses import NOT_PAUSED, PauseSet, pause_sets
from fastflow_contracts.pipelines.records import PipelineRecord, SyncStatusRecord, VersionRecord
from fastflow_contracts.pipelines.store import PipelineStore
from fastflow_contracts.runs.artifacts.manifest import ArtifactManifest, StoredArtifact
from fastflow_contracts.runs.artifacts.store import ArtifactStore
from fastflow_contracts.runs.concurrency import limit_sets
from fastflow_contracts.runs.event_cursors import EventCursor, event_cursors
from fastflow_contracts.runs.limits import LimitSet
from fastflow_contracts.runs.messages import SkipRecord
from fastflow_contracts.runs.operations.records import OperationRecord
from fastflow_contracts.runs.operations.store import OperationStore
from fastflow_contracts.runs.presence import Presence, is_gone
from fastflow_contracts.runs.run import RunRecord, RunStatus
from fastflow_contracts.runs.runners import presences
from fastflow_contracts.runs.skips import Letter, SkipStore
from fastflow_contracts.runs.store import NoSuchRun, RunStore
from fastflow_contracts.schedules.state import ScheduleState, Switch
from fastflow_contracts.schedules.store import ScheduleStore
from fastflow_contracts.service.parts import keep
from fastflow_contracts.service.troubles import troubles
from fastflow_contracts.sessions.spent import SpentStore, SpentText
from fastflow_gateway.readmodel.crash_loop import crash_loop
from fastflow_gateway.readmodel.feeds import Feed, bucket_feed, follow, skip_feed
from fastflow_gateway.readmodel.links import Links
from fastflow_gateway.readmodel.pauses import KnownPauses
from fastflow_gateway.readmodel.run_index import KnownRun, RunIndex
from fastflow_gateway.readmodel.skips import SKIPS_MAX, Skips
from fastflow_gateway.readmodel.spent import SpentIds
from fastflow_gateway.readmodel.switches import Switches
from fastflow_gateway.readmodel.troubles import Troubles
from fastflow_gateway.readmodel.turns import Turns
from fastflow_gateway.readmodel.watchers import Watchers
from fastflow_gateway.views.waiting import Capacity

LATEST: Final = 10
"""Newest runs of a pipeline to look at: a crash loop has a restart among them."""
VERSIONS_S: Final = 10.0
"""How long reading the versions of one pipeline may take."""
SKIPS_READ: Final = 3 * SKIPS_MAX
"""Messages of the stream to go back at the start: a skip is two, and one more once it is redriven."""


class ReadModel:
    """The state of the bus, up to date while ``serve`` runs."""

    def __init__(self, bus: Bus) -> None:
        self._store = RunStore(bus)
        self._artifacts = ArtifactStore(bus)
        self._pipeline_store = PipelineStore(bus)
        self._letters = SkipStore(bus)
        self._pipelines: dict[PipelineName, PipelineRecord] = {}
        self._pipeline_revisions: dict[PipelineName, int] = {}
        self._runners: dict[str, tuple[Presence, datetime]] = {}
        self._running_max: int | None = None
        self._watchers = Watchers()
        self.runs = RunIndex()
        self._turns = Turns()
        self.skips = Skips()
        self.links = Links()
        self.switches = Switches()
        self.pauses = KnownPauses()
        self.schedule_states: dict[JobRef, ScheduleState] = {}
        self.cursors: dict[TriggerRef, EventCursor] = {}
        self.troubles = Troubles()
        self._spent = SpentIds()
        self.operations: dict[RunId, OperationRecord] = {}
        self.sync: SyncStatusRecord | None = None
        pipelines, schedules = self._pipeline_store, ScheduleStore(bus)
        self._feeds: tuple[Feed[Any, Any], ...] = (
            bucket_feed("runs", self._store.records, self._on_run, self._forget_runs),
            # Not shown: a run that enters the limit changes its record too, a runner's heartbeat changes nothing shown.
            bucket_feed(
                "limit",
                limit_sets(bus),
                self._on_limit,
                self._forget_limit,
                keys=subjects.ALL_RUNNING,
                is_shown=False,
            ),
            bucket_feed("runners", presences(bus), self._on_runner, self._runners.clear, is_shown=False),
            bucket_feed("services", troubles(bus), self.troubles.put, self.troubles.clear, is_shown=False),
            bucket_feed("pipelines", pipelines.records, self._on_pipeline, self._forget_pipelines),
            bucket_feed("sync", pipelines.sync_status, self._on_sync, self._forget_sync),
            bucket_feed("links", pipelines.link_sets, self._on_links, self.links.clear),
            bucket_feed("schedules", schedules.states, self._on_schedule, self.schedule_states.clear),
            bucket_feed("cursors", event_cursors(bus), self._on_cursor, self.cursors.clear),
            bucket_feed("switches", schedules.switches, self._on_switch, self.switches.clear),
            bucket_feed("pauses", pause_sets(bus), self._on_pauses, self.pauses.clear),
            # Never forgotten on the way: an ended session must not count again while its record comes once more.
            bucket_feed("sessions", SpentStore(bus).records, self._on_spent, lambda: None, is_shown=False),
            bucket_feed("operations", OperationStore(bus).records, self._on_operation, self.operations.clear),
            skip_feed(bus, self._on_skip, self.skips.clear, newest_max=SKIPS_READ),
        )
        self._behind = {each.name for each in self._feeds}
        self._unread: dict[str, set[object]] = {each.name: set() for each in self._feeds}
        self._ready = asyncio.Event()

    async def serve(self) -> None:
        """Follow the bus until cancelled."""
        async with asyncio.TaskGroup() as group:
            for each in self._feeds:
                part = partial(follow, each, self._unread[each.name], on_batch=self._on_batch)
                group.create_task(keep(f"gateway/feed-{each.name}", part), name=f"follow-{each.name}")

    @property
    def behind(self) -> frozenset[str]:
        """Names of the feeds that have not caught up yet."""
        return frozenset(self._behind)

    @property
    def unreadable(self) -> dict[str, int]:
        """How many records of each feed cannot be read now, without those that have none."""
        return {name: len(unread) for name, unread in self._unread.items() if unread}

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
            record = (await self._pipeline_store.records.load(name)).value
        return record if record is not None and record.removed_at is None else None

    async def versions_of(self, name: PipelineName) -> list[VersionRecord]:
        """The kept versions of a pipeline, newest first. Raises ``Unavailable`` if the bus does not show them soon."""
        try:
            async with asyncio.timeout(VERSIONS_S):
                return await self._pipeline_store.versions_of(name)
        except TimeoutError:
            raise Unavailable(f"the bus did not show the versions of {name} within {VERSIONS_S:g} s.") from None

    async def run(self, run_id: RunId) -> KnownRun | None:
        """Find a run; None if it does not exist or its record is unreadable. Raises ``BusError``."""
        if (known := self.runs.get(run_id)) is not None:
            return known
        try:
            stored = await self._store.find(run_id)
        except NoSuchRun:
            return None
        except Unreadable:  # ``find`` has logged and counted it
            return None
        return KnownRun(stored.run, stored.revision)

    async def result(self, run: RunRecord) -> bytes | None:
        """The JSON that a run's script wrote; None if it has no result. Raises ``BusError``."""
        return await self._store.result(run)

    async def artifacts(self, run: RunRecord) -> ArtifactManifest | None:
        """The files that a run left; None if there is none, or none can be read. Raises ``BusError``."""
        return await self._artifacts.manifest(run)

    def content(self, artifact: StoredArtifact) -> AsyncGenerator[bytes, None]:
        """Yield the content of a file in pieces. Raises ``BusError``."""
        return self._artifacts.open(artifact)

    async def letter(self, skip: SkipRecord) -> Letter | None:
        """The message of a skip; None if it is not kept (any more). Raises ``BusError``."""
        return await self._letters.letter(skip.pipeline, skip.id) if skip.id is not None else None

    def is_spent(self, session_id: str) -> bool | None:
        """Whether a session was ended; None: the model does not know yet."""
        return None if "sessions" in self._behind else session_id in self._spent

    def runners(self, now: datetime) -> list[Presence]:
        """The runners that are alive at *now*."""
        known = self._runners.values()
        return [presence for presence, at in known if not is_gone(presence, silent_s=(now - at).total_seconds())]

    def capacity(self, now: datetime) -> Capacity:
        """The capacity at *now*: how many runs may run at once, and how many do."""
        running = self.runs.count(RunStatus.RUNNING)
        return Capacity(self.runners(now), running, self._running_max, self.pauses.now, self._turns.place)

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

    def _on_batch(self, source: Feed[Any, Any], batch: Changes[Any, Any]) -> None:
        if batch.changes and source.is_shown:
            self._watchers.anything_changed()
        if batch.caught_up:
            self._behind.discard(source.name)
            if not self._behind:
                self._ready.set()

    def _on_run(self, change: Change[RunRef, RunRecord]) -> None:
        ref, run = change.name, change.value
        if run is None:
            self.runs.remove(ref.run_id)
            self._turns.remove(ref.run_id)
        else:
            self.runs.put(run, change.revision)
            self._turns.put(run)
            self._note_started(run)
        self._watchers.run_changed(ref.run_id)

    def _on_limit(self, change: Change[str, LimitSet]) -> None:
        self._running_max = change.value.most if change.value else None

    def _on_links(self, change: Change[PipelineName, LinkSet]) -> None:
        self.links.put(change.name, change.value or LinkSet(), change.revision)

    def put_pipeline(self, record: PipelineRecord, revision: int) -> None:
        """Take in a record that this gateway has just written, before the feed brings it."""
        if revision > self._pipeline_revisions.get(record.name, 0):
            self._pipelines[record.name], self._pipeline_revisions[record.name] = record, revision

    def _on_pipeline(self, change: Change[PipelineName, PipelineRecord]) -> None:
        name, record = change.name, change.value  # of a folder with any name: its record says what is wrong
        if change.revision < self._pipeline_revisions.get(name, 0):
            return
        self._pipeline_revisions[name] = change.revision
        if record is None:
            self._pipelines.pop(name, None)
        else:
            self._pipelines[name] = record

    def _forget_pipelines(self) -> None:
        self._pipelines.clear()
        self._pipeline_revisions.clear()

    def _on_sync(self, change: Change[str, SyncStatusRecord]) -> None:
        self.sync = change.value

    def _on_runner(self, change: Change[str, Presence]) -> None:
        if change.value is None:
            self._runners.pop(change.name, None)
        else:
            self._runners[change.name] = (change.value, change.stored_at)

    def _on_cursor(self, change: Change[TriggerRef, EventCursor]) -> None:
        if change.value is None:
            self.cursors.pop(change.name, None)
        else:
            self.cursors[change.name] = change.value

    def _on_schedule(self, change: Change[JobRef, ScheduleState]) -> None:
        if change.value is None:
            self.schedule_states.pop(change.name, None)
        else:
            self.schedule_states[change.name] = change.value

    def _on_switch(self, change: Change[JobRef, Switch]) -> None:
        self.switches.put(change.name, change.revision, is_on=change.value is None or change.value.enabled)

    def _on_pauses(self, change: Change[str, PauseSet]) -> None:
        self.pauses.put(change.value or NOT_PAUSED, change.revision)

    def _on_spent(self, change: Change[str, SpentText]) -> None:
        self._spent.add(change.name, change.stored_at)

    def _on_operation(self, change: Change[RunId, OperationRecord]) -> None:
        if change.value is None:
            self.operations.pop(change.name, None)
        else:
            self.operations[change.name] = change.value

    def _on_skip(self, change: Change[str, SkipRecord]) -> None:
        skip = change.value
        assert skip is not None, "a stream has no deletions"
        self.skips.put(skip)
        if skip.id is not None and (known := self.runs.get(skip.id)) is not None:
            self._note_started(known.run)

    def _note_started(self, run: RunRecord) -> None:
        if not run.is_refused:
            self.skips.started(run.id)

    def _forget_runs(self) -> None:
        self.runs, self._turns = RunIndex(), Turns()

    def _forget_limit(self) -> None:
        self._running_max = None

    def _forget_sync(self) -> None:
        self.sync = None


MODEL = web.AppKey("MODEL", ReadModel)
