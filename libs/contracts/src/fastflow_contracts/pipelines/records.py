"""What the bus keeps of a pipeline, and what a sync reports. Data only."""

from __future__ import annotations

from fastflow_contracts.base import Fact, Instant
from fastflow_contracts.codec import Codec
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.diagnostics import Notice, Problem
from fastflow_contracts.pipelines.spec import PipelineSpec


class Version(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """One good version of a pipeline: what a trigger starts."""

    bundle: str
    """Hash of its code in the object store."""
    commit: str | None = None
    commit_subject: str | None = None
    spec: PipelineSpec
    has_requirements: bool = False
    live_since: Instant


class PipelineRecord(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of one pipeline. Stored under ``pipeline.<name>``; written by syncers only."""

    v: int = 1
    name: PipelineName
    live: Version | None = None
    """The last good version. None: it never had one."""
    commit: str | None = None
    """Of the newest version seen, good or bad."""
    problems: tuple[Problem, ...] = ()
    """Why the newest version is not live; empty if it is."""
    notices: tuple[Notice, ...] = ()
    removed_at: Instant | None = None
    """Its folder is gone: it is no longer listed, its runs stay."""
    seen_at: Instant
    write_id: str = ""


class PipelineChange(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """What one sync did to one pipeline."""

    pipeline: str
    action: str
    """``added``, ``updated``, ``removed``, ``unchanged``, ``refused``."""
    detail: str = ""


class SyncReport(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """What one sync found and did."""

    v: int = 1
    source: str
    """The folder or repository, without credentials."""
    commit: str | None = None
    started_at: Instant
    finished_at: Instant
    ok: bool
    error: str | None = None
    changes: tuple[PipelineChange, ...] = ()
    pipelines: int = 0
    """How many are listed now."""


class SyncStatus(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """Stored under ``sync.status``: the newest report, the newest good one, and the last ones, newest first."""

    v: int = 1
    last: SyncReport
    live: SyncReport | None = None
    history: tuple[SyncReport, ...] = ()
    write_id: str = ""


PIPELINE = Codec(PipelineRecord)

SYNC_REPORT = Codec(SyncReport)

SYNC_STATUS = Codec(SyncStatus)
