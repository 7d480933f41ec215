"""Decides the new record of a pipeline after its folder was read. Pure: old record and result in, new record out.

An invalid version never becomes live; it changes only problems, notices and commit. An equal record is not written
again, so a new revision means new content. A live version keeps the commit that introduced it. A pin, a rollback and
what is known of its runs stay as they are: ``versions.deployed`` says what they mean for a new version.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NamedTuple

import msgspec

from fastflow_contracts.pipelines.folder.examine import Found, FoundVersion
from fastflow_contracts.pipelines.records import PipelineRecord, Version
from fastflow_contracts.pipelines.versions import deployed
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
    record = msgspec.structs.replace(before, problems=found.problems, notices=found.notices, removed_at=None)
    if found.version is None:
        same = before.problems == found.problems
        record = msgspec.structs.replace(record, commit=before.commit if same and old else _hash(commit))
        action: Action = "refused"
    else:
        version = version_of(found.version, commit, seen_at)
        record = deployed(record, version)
        assert record.live is not None
        if record.held_back and record.held_back == before.held_back and not before.problems:
            newest_commit = before.commit  # as a live version, it keeps the commit that introduced it
        else:
            newest_commit = version.commit if record.held_back else record.live.commit
        record = msgspec.structs.replace(record, commit=newest_commit)
        action = "added" if before.live is None else "updated"
    if record == old:
        return RecordChange("unchanged" if action != "refused" else action, None)
    return RecordChange(action, msgspec.structs.replace(record, seen_at=seen_at))


def version_of(found: FoundVersion, commit: Commit | None, seen_at: datetime) -> Version:
    """Return the version that was found in *commit*."""
    return Version(
        bundle=found.bundle,
        commit=_hash(commit),
        commit_subject=None if commit is None else commit.subject,
        spec=found.spec,
        has_requirements=found.has_requirements,
        python=found.python,
        live_since=seen_at,
    )


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


def _hash(commit: Commit | None) -> str | None:
    return None if commit is None else commit.hash
