"""The versions of a pipeline."""

from __future__ import annotations

from datetime import datetime

from fastflow_api.shapes.base import Shape


class VersionPackage(Shape, frozen=True, kw_only=True):
    """A requirement that differs from the version before."""

    name: str
    before: str | None
    """What it had to be, as in ``>=2.1``; null: it is new."""
    after: str | None
    """null: it is gone."""

    def __str__(self) -> str:
        if self.before is None:
            return f"+ {self.name} {self.after}".rstrip()
        if self.after is None:
            return f"- {self.name}"
        return f"{self.name} {self.before or 'any'} → {self.after or 'any'}"


class VersionDifferences(Shape, frozen=True, kw_only=True):
    """What differs from the version before: names of files, at most 50 of each kind, and requirements."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    packages: tuple[VersionPackage, ...]
    unnamed: int
    """How many differences the lists leave out."""


class PipelineVersion(Shape, frozen=True, kw_only=True):
    """One deployed version of a pipeline."""

    id: str
    """The beginning of the hash of its files."""
    commit: str | None
    commit_subject: str | None
    author: str | None
    deployed_at: datetime
    """When it became the newest one, the last time."""
    is_live: bool
    is_newest: bool
    was_rolled_back: bool
    before: str | None
    """The version that was live when this one came: where a rollback leads."""
    differences: VersionDifferences | None
    """From the version before; null: unknown."""
    total_runs: int
    successful_runs: int
    failed_runs: int
    success_rate: float | None
    """Successful runs divided by successful and failed runs; null before the first."""


class VersionPin(Shape, frozen=True, kw_only=True):
    """A version that stays live, whatever is pushed."""

    version: str
    at: datetime
    by: str
    """``manual`` in the dashboard, ``api`` with the token."""
    reason: str


class VersionRollback(Shape, frozen=True, kw_only=True):
    """A version whose first runs all failed, and that is therefore not live."""

    version: str
    to: str
    at: datetime
    failures: int


class PipelineVersions(Shape, frozen=True, kw_only=True):
    """The kept versions of a pipeline, newest first."""

    pipeline_name: str
    live: str | None
    newest: str | None
    pin: VersionPin | None
    rolled_back: VersionRollback | None
    """While the version that failed is the newest one."""
    why_not_newest: str | None
    """A sentence that says why the live version is not the newest one; null: it is."""
    trial_failures: int
    """How many of the live version's first runs failed, while ``rollback_after`` is set and none has succeeded."""
    versions: tuple[PipelineVersion, ...]
