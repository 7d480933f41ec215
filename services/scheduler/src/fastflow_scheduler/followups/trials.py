"""Tries new versions: one with ``rollback_after`` whose first runs all fail is rolled back. I/O; ``tried`` is the rule.

Each end of such a run is one compare-and-set of the pipeline's record, which names the runs that count. So a repeated
end changes nothing, whichever scheduler handles it, and the last failure and the rollback are one write.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import RevisionConflict
from fastflow_contracts.clock import now as wall_clock
from fastflow_contracts.log import get_logger
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.records import PipelineRecord, Trial, Version
from fastflow_contracts.pipelines.store import PipelineStore
from fastflow_contracts.pipelines.versions import has_failed, rolled_back, version_id
from fastflow_contracts.runs.run import Ended, RunErrorType, RunRecord, Verdict

log = get_logger(__name__)

CONFLICTS_MAX: Final = 20
"""Attempts to load, decide and compare-and-set. An attempt fails when another writer wins."""


def is_on_trial(record: PipelineRecord) -> bool:
    """Whether the ends of runs matter: the newest version is live, has ``rollback_after``, and did not succeed yet."""
    live, trial = record.live, record.trial
    if live is None or live.spec.rollback_after is None or record.pin is not None or record.held_back:
        return False
    return trial is None or not trial.is_passed


def tried(record: PipelineRecord, run: RunRecord) -> PipelineRecord:
    """Return *record* after *run* has ended; the same object if that says nothing about its new version.

    A run that was cancelled, or whose runner was lost, says nothing. Safe to repeat.
    """
    live, trial = record.live, record.trial or Trial()
    if live is None or not is_on_trial(record) or not isinstance(run.state, Ended):
        return record
    if run.order.bundle != live.bundle or run.created_at < live.live_since:
        return record
    if run.id in trial.failed or has_failed(record):
        return record
    if run.state.verdict is Verdict.SUCCESS:
        return replace(record, trial=replace(trial, is_passed=True))
    is_lost = bool(run.attempts) and run.attempts[-1].error_type is RunErrorType.LOST
    if run.state.verdict is Verdict.FAILED and not is_lost:
        return replace(record, trial=replace(trial, failed=(*trial.failed, run.id)))
    return record


class Trials:
    """The trials of new versions on one bus."""

    def __init__(self, bus: Bus, *, clock: Callable[[], datetime] = wall_clock) -> None:
        self._pipelines = PipelineStore(bus)
        self._clock = clock

    async def ended(self, run: RunRecord, known: PipelineRecord | None) -> None:
        """Take in that *run* ended, and roll its version back if that is due. Safe to repeat.

        Args:
            run: The run.
            known: Its pipeline's record as just read.

        Raises:
            BusError: The bus fails, or other writers keep changing the record.
        """
        if known is None or known.live is None:
            return
        if known.live.bundle == run.order.bundle and not is_on_trial(known):
            return  # with another version, the record may be newer than the one that was read
        for _ in range(CONFLICTS_MAX):
            record, revision = await self._pipelines.records.load(run.pipeline, is_exact=True)
            if record is None:
                return
            changed = tried(record, run)
            to = await self._version_before(changed) if has_failed(changed) and is_on_trial(changed) else None
            if to is not None:
                changed = rolled_back(changed, to, self._clock())
            if changed is record:
                return
            try:
                await self._pipelines.records.put(run.pipeline, changed, expect=revision)
            except RevisionConflict:
                continue
            _say(run, changed)
            return
        raise RevisionConflict(f"other writers keep changing the record of {run.pipeline}; try again.")

    async def _version_before(self, record: PipelineRecord) -> Version | None:
        assert record.live is not None
        live = await self._pipelines.version(record.name, record.live.bundle)
        before = await self._pipelines.version(record.name, live.before) if live is not None else None
        return before.version if before is not None else None


def _say(run: RunRecord, record: PipelineRecord) -> None:
    pipeline: PipelineName = run.pipeline
    if (bad := record.rolled_back) is not None:
        log.warning(
            "version rolled back",
            pipeline=pipeline,
            version=version_id(bad.bundle),
            to=version_id(bad.to),
            failures=bad.failures,
            run=run.id,
        )
    elif has_failed(record):
        log.warning("version not rolled back", pipeline=pipeline, run=run.id, reason="no version before it is kept")
