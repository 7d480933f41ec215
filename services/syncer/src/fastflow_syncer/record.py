"""Decides the new record of a pipeline after its folder was read. Pure: old record and result in, new record out.

An invalid version never becomes live; it changes only problems, notices and commit. An equal record is not written
again, so a new revision means new content. A live version keeps the commit that introduced it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NamedTuple

import msgspec

from fastflow_contracts.pipelines.folder.examine import Found, FoundVersion
from fastflow_contracts.pipelines.records import PipelineRecord, Version
from fastflow_syncer.sources.source import Commit

Action = Literal["added", "updated", "removed", "unchanged", "refused"]


class RecordChange(NamedTuple):
    """An action and the record to write; None: the stored record is correct."""

    action: Action
    record: PipelineRecord | None


def after_look(old: PipelineRecord | None, found: Found, commit: Commit | None, seen_at: datetime) -> RecordChange:
    """Return the change after *found* was seen in *commit* at *seen_at*."""
    if old is None or old.removed_at is not None:
        old, before = None, PipelineRecord(name=found.name, seen_at=seen_at)
    else:
        before = old
    live = before.live if found.version is None else _live(before.live, found.version, commit, seen_at)
    record = msgspec.structs.replace(before, live=live, problems=found.problems, notices=found.notices, removed_at=None)
    if found.version is None:
        same = before.problems == found.problems
        record = msgspec.structs.replace(record, commit=before.commit if same and old else _hash(commit))
        action: Action = "refused"
    else:
        assert live is not None
        record = msgspec.structs.replace(record, commit=live.commit)
        action = "added" if before.live is None else "updated"
    if record == old:
        return RecordChange("unchanged" if action != "refused" else action, None)
    return RecordChange(action, msgspec.structs.replace(record, seen_at=seen_at))


def after_removal(old: PipelineRecord, seen_at: datetime) -> RecordChange:
    """Return the change after the folder was missing at *seen_at*."""
    if old.removed_at is not None:
        return RecordChange("unchanged", None)
    # Without a live version nothing can start it, even if a reader ignores ``removed_at``.
    gone = PipelineRecord(name=old.name, commit=old.commit, removed_at=seen_at, seen_at=seen_at)
    return RecordChange("removed", gone)


def is_newer(old: PipelineRecord | None, looked_at: datetime, at: datetime) -> bool:
    """Whether another syncer read the folder later than *looked_at*, so that our result is stale.

    *at* is the current time. A record from later than that comes from a wrong clock and is not newer.
    """
    return old is not None and looked_at < old.seen_at <= at


def _live(old: Version | None, found: FoundVersion, commit: Commit | None, seen_at: datetime) -> Version:
    new = Version(
        bundle=found.bundle,
        commit=_hash(commit),
        commit_subject=None if commit is None else commit.subject,
        spec=found.spec,
        has_requirements=found.has_requirements,
        python=found.python,
        live_since=seen_at,
        inferred_parameters=found.inferred_parameters,
    )
    if old is None or old.bundle != new.bundle:
        return new
    # Same code, perhaps parsed by a later release: keep the commit that introduced it.
    return msgspec.structs.replace(new, commit=old.commit, commit_subject=old.commit_subject, live_since=old.live_since)


def _hash(commit: Commit | None) -> str | None:
    return None if commit is None else commit.hash
