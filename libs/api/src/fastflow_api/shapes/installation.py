"""The installation: syncs, runners, secrets, health."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from fastflow_api.shapes.base import Shape


class PipelineChange(Shape, frozen=True, kw_only=True, omit_defaults=True):
    """What one sync did to one pipeline."""

    pipeline: str
    action: str
    """``added``, ``updated``, ``removed``, ``unchanged``, ``refused``."""
    detail: str = ""


class SyncReport(Shape, frozen=True, kw_only=True, omit_defaults=True):
    """What one sync found and did."""

    source: str
    """The folder or repository, without credentials."""
    branch: str | None = None
    """The branch of the repository; null: a folder."""
    commit: str | None = None
    started_at: datetime
    finished_at: datetime
    ok: bool
    error: str | None = None
    changes: tuple[PipelineChange, ...] = ()
    pipelines: int = 0
    """Number of listed pipelines."""


class SyncStatus(Shape, frozen=True, kw_only=True):
    """The live commit and the last sync."""

    live_commit: str | None
    live_since: datetime | None
    """When the last successful sync ended."""
    last: SyncReport | None


class SyncLogs(Shape, frozen=True, kw_only=True):
    """The last syncs, newest first."""

    syncs: tuple[SyncReport, ...]


class PushAnswer(Shape, frozen=True, kw_only=True):
    """What followed from a push that a git host reported."""

    action: Literal["synced", "failed", "requested", "nothing"]
    detail: str


class Runner(Shape, frozen=True, kw_only=True):
    """A live runner."""

    id: str
    host: str
    version: str
    sandbox: str
    sandbox_reason: str
    """Why ``auto`` did not choose Docker; else empty."""
    kinds: tuple[str, ...]
    labels: tuple[str, ...] = ()
    """What pipelines may ask for with ``runs_on``."""
    only_labelled: bool = False
    """Whether it takes no run that asks for no label."""
    slots: int
    busy: int
    """Number of attempts it has."""
    load: float
    """Load average of its host over the last minute, per core."""
    environments: int
    """Number of ready environments (interpreter with packages) that it knows of."""
    leaving: bool
    """It finishes its attempts and takes no new ones."""
    paused: bool
    """It takes no attempts for now: its Docker daemon does not answer."""
    unenforced: tuple[str, ...]
    """What its sandbox cannot enforce, one sentence each."""
    degraded: tuple[str, ...]
    """Its parts that failed and are not well again yet, one clause each."""
    started_at: datetime
    seen_at: datetime
    """By the runner's own clock."""


class Runners(Shape, frozen=True, kw_only=True):
    """The live runners, by name."""

    runners: tuple[Runner, ...]


class LoginCode(Shape, frozen=True, kw_only=True):
    """A code that signs in one browser, once, at ``/login?code=…``."""

    code: str
    expires_at: datetime


class Encrypted(Shape, frozen=True, kw_only=True):
    """An encrypted secret."""

    encrypted: str
    """The token for ``encrypted_env`` of a pipeline.json."""


class Health(Shape, frozen=True, kw_only=True):
    """Each dependency and its state: ``ok``, or what is wrong."""

    status: Literal["ok", "degraded", "unavailable"]
    """``degraded``: it works, but a part failed lately or a record cannot be read."""
    dependencies: dict[str, str]
    degraded: tuple[str, ...] = ()
    """Parts of the process that failed and are not well again yet, one clause each."""
    unreadable: dict[str, int] = {}
    """How many stored records of each kind cannot be read; `fastflow bus unreadable` lists them."""
