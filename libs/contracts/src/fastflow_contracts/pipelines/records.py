"""Records of pipelines on the bus, and reports of syncs. Data only."""

from __future__ import annotations

from typing import Any

from fastflow_contracts.base import BundleName, Count, Fact, Instant, StoredRunId
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
    inferred_parameters: dict[str, Any] | None = None
    """The schema of a notebook's parameters that its tagged cell shows. Only texts are refused by it that the
    cell cannot take."""

    @property
    def parameters(self) -> dict[str, Any] | None:
        """The schema of its parameters, declared or inferred; None: there is none."""
        return self.inferred_parameters if self.spec.parameters is None else self.spec.parameters


class Pin(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """People keep one version live, whatever is pushed."""

    bundle: BundleName
    at: Instant
    by: str = ""
    """How they asked: ``manual`` in the dashboard, ``api`` with the token."""
    reason: str = ""


class Rollback(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A new version failed from its first run on, so the one before it is live again."""

    bundle: BundleName
    """The version that failed. It does not become live again until another one is pushed, or people pin it."""
    to: BundleName
    at: Instant
    failures: Count


class Trial(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """How the first runs of the live version ended, kept while it has ``rollback_after``."""

    failed: tuple[StoredRunId, ...] = ()
    is_passed: bool = False
    """A run succeeded: later failures do not count."""


class PipelineRecord(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """The state of one pipeline. Stored under ``pipeline.<name>``, changed by compare-and-set.

    Syncers write what they see, gateways the pin, schedulers the trial and the rollback. Each changes its own part and
    ``live`` by a function of ``versions``, and keeps the rest.
    """

    v: Count = 1
    name: PipelineName
    live: Version | None = None
    """What starts: the last valid version, unless a pin or a rollback holds that back. None: there never was one."""
    commit: str | None = None
    """Commit of the newest version seen, valid or not."""
    problems: tuple[Problem, ...] = ()
    """Why the newest version is not live; empty if it is."""
    notices: tuple[Notice, ...] = ()
    removed_at: Instant | None = None
    """When its folder disappeared. A removed pipeline is not listed; its runs stay."""
    held_back: BundleName = ""
    """The newest valid version, while it is not the live one."""
    pin: Pin | None = None
    rolled_back: Rollback | None = None
    """The last rollback, while the version that failed is the newest one."""
    trial: Trial | None = None
    seen_at: Instant
    write_id: str = ""


class PackageChange(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A requirement that is new, gone, or another one. None: it is not there."""

    name: str
    before: str | None = None
    after: str | None = None


class VersionChanges(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """The names of what differs from the version before. The lists are bounded."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    packages: tuple[PackageChange, ...] = ()
    unnamed: Count = 0
    """How many differences the lists leave out."""


class VersionRecord(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A deployed version. Stored under ``version.<pipeline>.<id>``; only syncers write it."""

    v: Count = 1
    pipeline: PipelineName
    version: Version
    author: str | None = None
    deployed_at: Instant
    """When it became the newest one, the last time."""
    before: BundleName = ""
    """The version that was live then. Empty: none."""
    changes: VersionChanges | None = None
    """Since the version that was the newest one then. None: unknown."""
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

VERSION = Codec(VersionRecord)

SYNC_REPORT = Codec(SyncReportRecord)

SYNC_STATUS = Codec(SyncStatusRecord)


def check_pipeline(name: PipelineName, record: PipelineRecord) -> None:
    """Check a stored record. Raises ``Malformed`` if it is another pipeline's."""
    if record.name != name:
        raise Malformed(f"it is the record of {record.name[:64]!r}")
