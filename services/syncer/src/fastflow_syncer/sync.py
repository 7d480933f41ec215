"""One sync: read the source, publish new versions, report the changes. Only the order of steps; no rules.

Folders are independent: a problem in one does not affect the next.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Final, NamedTuple

from msgspec.structs import replace

from fastflow_contracts.bus.errors import BusError, Rejected
from fastflow_contracts.clock import now
from fastflow_contracts.log import get_logger
from fastflow_contracts.names import BadToken, PipelineName
from fastflow_contracts.pipelines.expressions.evaluator import ExpressionEvaluator
from fastflow_contracts.pipelines.folder.examine import examine
from fastflow_contracts.pipelines.folder.limits import DEFAULT, FolderLimits
from fastflow_contracts.pipelines.format.diagnostics import Problem
from fastflow_contracts.pipelines.format.limit_policy import NO_POLICY, LimitPolicy
from fastflow_contracts.pipelines.records import PipelineChangeRecord, PipelineRecord, SyncReportRecord
from fastflow_contracts.pipelines.trial import tried
from fastflow_contracts.pipelines.versions import version_id
from fastflow_syncer.errors import SourceDamaged, SourceFailed
from fastflow_syncer.publish import NOTHING, Contended, Publisher, StoredRecord
from fastflow_syncer.record import RecordChange, after_look, after_removal, is_newer, version_of
from fastflow_syncer.sources.source import Snapshot, Source

log = get_logger(__name__)

SYNC_S: Final = 900.0
"""Time limit of one sync."""
VERIFY_S: Final = 600.0
"""An unchanged folder is read again after this time, which restores a lost bundle."""
SHOWN_CHARACTERS_MAX: Final = 200
"""How much of a name that is too long for the bus the report shows."""


class _Settled(NamedTuple):
    """The last result for a folder, valid while fingerprint and revision stay the same."""

    fingerprint: str
    revision: int
    at_s: float
    change: PipelineChangeRecord | None
    """None: the folder is not a pipeline."""


class Syncer:
    """Syncs one source to one bus, one sync at a time."""

    def __init__(
        self, source: Source, publisher: Publisher, *, limits: FolderLimits = DEFAULT, policy: LimitPolicy = NO_POLICY
    ) -> None:
        self._source = source
        self._limits = limits
        self._policy = policy
        self._publisher = publisher
        self._settled: dict[str, _Settled] = {}
        self._evaluator = ExpressionEvaluator()
        self._one_at_a_time = asyncio.Lock()

    async def sync(self) -> SyncReportRecord:
        """Sync once. A failure of the source or the bus is in the report, not raised."""
        async with self._one_at_a_time:
            report = await self._sync(now())
            try:
                await self._publisher.remember(report)
            except BusError as error:
                log.warning("sync report not stored", error=str(error))
            return report

    async def _sync(self, started_at: datetime) -> SyncReportRecord:
        snapshot: Snapshot | None = None
        changes: tuple[PipelineChangeRecord, ...] = ()
        error: Exception | None = None
        try:
            async with asyncio.timeout(SYNC_S):
                snapshot, changes = await self._twice_if_damaged(started_at)
        except (SourceFailed, BusError) as failure:
            error = failure
        except TimeoutError:
            error = SourceFailed(f"the sync took longer than {SYNC_S:g} s; it is tried again at the next one.")
        finally:
            await self._evaluator.close()
        if error is not None:
            log.warning("sync failed", error=str(error))
        commit = snapshot.commit if snapshot is not None else None
        ignored = snapshot.ignored if snapshot is not None else {}
        return SyncReportRecord(
            source=self._source.label,
            branch=self._source.branch,
            commit=commit.hash if commit is not None else None,
            started_at=started_at,
            finished_at=now(),
            ok=error is None,
            error=str(error) if error is not None else None,
            changes=changes,
            pipelines=sum(c.action != "removed" and c.pipeline not in ignored for c in changes),
        )

    async def _twice_if_damaged(self, started_at: datetime) -> tuple[Snapshot, tuple[PipelineChangeRecord, ...]]:
        try:
            return await self._once(started_at)
        except SourceDamaged as damage:
            log.warning("source damaged", error=str(damage))
            return await self._once(started_at)

    async def _once(self, started_at: datetime) -> tuple[Snapshot, tuple[PipelineChangeRecord, ...]]:
        snapshot = await self._source.snapshot()
        records = await self._publisher.records()
        changes: list[PipelineChangeRecord] = []
        for name in sorted(snapshot.fingerprints):
            change = await self._folder(snapshot, name, records.get(name, NOTHING), started_at)
            if change is not None:
                changes.append(change)
        pipelines = {change.pipeline for change in changes}
        for name, stored in sorted(records.items()):
            if name not in pipelines and stored.value is not None and stored.value.removed_at is None:
                changes.append(await self._remove(PipelineName(name), stored, started_at))
        changes += [
            PipelineChangeRecord(pipeline=n, action="refused", detail=why) for n, why in snapshot.ignored.items()
        ]
        self._settled = {name: each for name, each in self._settled.items() if name in snapshot.fingerprints}
        return snapshot, tuple(changes)

    async def _folder(
        self, snapshot: Snapshot, name: str, stored: StoredRecord, started_at: datetime
    ) -> PipelineChangeRecord | None:
        """Update the pipeline of one folder. Returns None if the folder is not a pipeline."""
        fingerprint = snapshot.fingerprints[name]
        settled = self._settled.get(name)
        at_s = asyncio.get_running_loop().time()
        if (
            settled is not None
            and (settled.fingerprint, settled.revision) == (fingerprint, stored.revision)
            and at_s - settled.at_s < VERIFY_S
        ):
            return settled.change
        folder = await self._source.read(snapshot, name)
        is_known = stored.value is not None and stored.value.removed_at is None
        try:
            examined = await asyncio.to_thread(
                examine, name, folder, is_known=is_known, limits=self._limits, policy=self._policy
            )
            if examined is not None:
                examined = examined.after(await tried(examined.found, self._evaluator))
        except Exception as error:
            # A bug in our code must not stop the other folders.
            log.exception("pipeline not examined", pipeline=name)
            return PipelineChangeRecord(pipeline=name, action="refused", detail=f"internal error: {error!r}")
        if examined is None:
            self._settled[name] = _Settled(fingerprint, stored.revision, at_s, None)
            return None
        found, bundle, is_settled = *examined, not folder.refusals

        def decide(old: PipelineRecord | None) -> RecordChange:
            if is_newer(old, started_at, now()):
                return RecordChange("unchanged", None)
            return after_look(old, found, snapshot.commit, started_at)

        try:
            if bundle is not None and (why := await self._publisher.upload(found.name, bundle)):
                found, is_settled = replace(found, version=None, problems=(Problem(accepted=why),)), False
            old = stored.value if is_known else None
            if found.version is not None and bundle is not None and not is_newer(old, started_at, now()):
                version = version_of(found.version, snapshot.commit, started_at)
                await self._publisher.versions.add(old, found.name, version, bundle, snapshot.commit)
            written = await self._publisher.change(found.name, stored, decide)
        except (Rejected, Contended, BadToken) as error:
            log.error("pipeline not published", pipeline=name[:SHOWN_CHARACTERS_MAX], error=str(error))
            return PipelineChangeRecord(pipeline=name[:SHOWN_CHARACTERS_MAX], action="refused", detail=str(error))
        detail = "; ".join(map(str, found.problems))
        if written.is_new:
            log.info("pipeline changed", pipeline=name, action=written.action)
            await self._shorten(written.now.value)
            detail = detail or _why_not_live(written.now.value)
        # Not settled: an unreadable file may become readable and a full store empty without a new fingerprint, and a
        # later result of another syncer replaces ours.
        if is_settled and not is_newer(written.now.value, started_at, now()):
            left = "refused" if found.problems else "unchanged"
            change = PipelineChangeRecord(pipeline=name, action=left, detail=detail)
            self._settled[name] = _Settled(fingerprint, written.now.revision, at_s, change)
        return PipelineChangeRecord(pipeline=name, action=written.action, detail=detail)

    async def _remove(self, name: PipelineName, stored: StoredRecord, started_at: datetime) -> PipelineChangeRecord:
        def decide(old: PipelineRecord | None) -> RecordChange:
            if old is None or is_newer(old, started_at, now()):
                return RecordChange("unchanged", None)
            return after_removal(old, started_at)

        try:
            written = await self._publisher.change(name, stored, decide)
        except (Rejected, Contended) as error:
            return PipelineChangeRecord(pipeline=name, action="refused", detail=str(error))
        if written.is_new:
            log.info("pipeline removed", pipeline=name)
            await self._shorten(written.now.value)
        return PipelineChangeRecord(pipeline=name, action=written.action)

    async def _shorten(self, record: PipelineRecord | None) -> None:
        try:
            if record is not None:
                await self._publisher.versions.shorten(record)
        except (BusError, TimeoutError) as error:  # the next change of the pipeline does it
            log.warning("versions not shortened", error=str(error))


def _why_not_live(record: PipelineRecord | None) -> str:
    if record is None or not record.held_back:
        return ""
    if record.pin is not None:
        return f"listed, not live: version {version_id(record.pin.bundle)} is pinned"
    return "listed, not live: it was rolled back"
