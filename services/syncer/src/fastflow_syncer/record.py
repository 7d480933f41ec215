"""What a pipeline's record becomes when its folder was looked at. Pure: old record and finding in, new record out.

A version is live or it is not: a bad one changes only what is said about it. What is the same is not written again,
so a record's revision grows with its content, and a live version keeps the commit that brought it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NamedTuple

import msgspec

from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.manifest import Notice, Problem
from fastflow_contracts.pipelines.records import PipelineRecord, Version
from fastflow_contracts.pipelines.spec import PipelineSpec
from fastflow_syncer.source import Commit

Action = Literal["added", "updated", "removed", "unchanged", "refused"]


class Found(msgspec.Struct, frozen=True):
    """The pipeline in a folder: a good version, or problems."""

    name: PipelineName
    version: FoundVersion | None
    problems: tuple[Problem, ...]
    notices: tuple[Notice, ...]


class FoundVersion(msgspec.Struct, frozen=True):
    """A version that can run."""

    bundle: str
    spec: PipelineSpec
    has_requirements: bool


class RecordChange(NamedTuple):
    """``record`` is what to write; None: what is there is right."""

    action: Action
    record: PipelineRecord | None


def after_look(old: PipelineRecord | None, found: Found, commit: Commit | None, seen_at: datetime) -> RecordChange:
    """The record once *found* was seen in *commit* at *seen_at*."""
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
    """The record once its folder was missed at *seen_at*."""
    if old.removed_at is not None:
        return RecordChange("unchanged", None)
    # Without a live version nothing can start it, whatever a reader thinks of ``removed_at``.
    gone = PipelineRecord(name=old.name, commit=old.commit, removed_at=seen_at, seen_at=seen_at)
    return RecordChange("removed", gone)


def is_newer(old: PipelineRecord | None, looked_at: datetime, at: datetime) -> bool:
    """Whether another syncer recorded a later look than *looked_at*, which makes our finding stale.

    A time after *at*, which is now, is a wrong clock and proves nothing.
    """
    return old is not None and looked_at < old.seen_at <= at


def _live(old: Version | None, found: FoundVersion, commit: Commit | None, seen_at: datetime) -> Version:
    new = Version(
        bundle=found.bundle,
        commit=_hash(commit),
        commit_subject=None if commit is None else commit.subject,
        spec=found.spec,
        has_requirements=found.has_requirements,
        live_since=seen_at,
    )
    if old is None or old.bundle != new.bundle:
        return new
    # The same code, perhaps read anew by a later release: it came with the commit that it came with.
    return msgspec.structs.replace(new, commit=old.commit, commit_subject=old.commit_subject, live_since=old.live_since)


def _hash(commit: Commit | None) -> str | None:
    return None if commit is None else commit.hash
