"""Records of pipelines on the bus, and reports of syncs. Data only."""

from __future__ import annotations

from fastflow_contracts.base import BundleName, Count, Fact, Instant
from fastflow_contracts.codec import Codec, Malformed
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.diagnostics import Notice, Problem
from fastflow_contracts.pipelines.format.spec import PipelineSpec


class Version(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A valid version of a pipeline: what a trigger starts."""

    bundle: BundleName
    """Name of its code in the object store: a hash."""
    commit: str | None = None
    commit_subject: str | None = None
    spec: PipelineSpec
    has_requirements: bool = False
    python: str | None = None
    """The Python version or range that its files ask for; ``python_version`` of the spec wins."""
    live_since: Instant


class PipelineRecord(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """The state of one pipeline. Stored under ``pipeline.<name>``; only syncers write it."""

    v: Count = 1
    name: PipelineName
    live: Version | None = None
    """The last valid version. None: there never was one."""
    commit: str | None = None
    """Commit of the newest version seen, valid or not."""
    problems: tuple[Problem, ...] = ()
    """Why the newest version is not live; empty if it is."""
    notices: tuple[Notice, ...] = ()
    removed_at: Instant | None = None
    """When its folder disappeared. A removed pipeline is not listed; its runs stay."""
    seen_at: Instant
    write_id: str = ""


class PipelineChangeRecord(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """The effect of one sync on one pipeline."""

    pipeline: str
    action: str
    """``added``, ``updated``, ``removed``, ``unchanged``, ``refused``."""
    detail: str = ""


class SyncReportRecord(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """The result of one sync."""

    v: Count = 1
    source: str
    """The folder or repository, without credentials."""
    branch: str | None = None
    """The branch of the repository that is followed; None: a folder, or an older version wrote this."""
    commit: str | None = None
    started_at: Instant
    finished_at: Instant
    ok: bool
    error: str | None = None
    changes: tuple[PipelineChangeRecord, ...] = ()
    pipelines: Count = 0
    """Number of pipelines listed after the sync."""


class SyncStatusRecord(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """The last report, the last successful one (``live``), and the history, newest first.

    Stored under ``sync.status``.
    """

    v: Count = 1
    last: SyncReportRecord
    live: SyncReportRecord | None = None
    history: tuple[SyncReportRecord, ...] = ()
    write_id: str = ""


PIPELINE = Codec(PipelineRecord)

SYNC_REPORT = Codec(SyncReportRecord)

SYNC_STATUS = Codec(SyncStatusRecord)


def check_pipeline(name: PipelineName, record: PipelineRecord) -> None:
    """Check a stored record. Raises ``Malformed`` if it is another pipeline's."""
    if record.name != name:
        raise Malformed(f"it is the record of {record.name[:64]!r}")
