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
    commit: str | None = None
    started_at: datetime
    finished_at: datetime
    ok: bool
    error: str | None = None
    changes: tuple[PipelineChange, ...] = ()
    pipelines: int = 0
    """How many are listed now."""


class SyncStatus(Shape, frozen=True, kw_only=True):
    """What is live and what the last sync found."""

    live_commit: str | None
    live_since: datetime | None
    """When the newest good sync ended."""
    last: SyncReport | None


class SyncLogs(Shape, frozen=True, kw_only=True):
    """The last syncs, newest first."""

    syncs: tuple[SyncReport, ...]


class Runner(Shape, frozen=True, kw_only=True):
    """A runner that is alive."""

    id: str
    host: str
    version: str
    sandbox: str
    sandbox_reason: str
    """Why it is not Docker, where the runner's settings leave the choice; else empty."""
    kinds: tuple[str, ...]
    slots: int
    busy: int
    """Attempts that it holds."""
    load: float
    """Of its host: processes that ran or wanted to, mean of the last minute, for each core."""
    environments: int
    """Interpreters with packages that stand ready, as far as it knows."""
    leaving: bool
    """It finishes what it has and takes no more."""
    paused: bool
    """It takes nothing for now: its Docker daemon does not answer."""
    unenforced: tuple[str, ...]
    """What its sandbox cannot enforce, one sentence each."""
    started_at: datetime
    seen_at: datetime
    """By its own clock."""


class Runners(Shape, frozen=True, kw_only=True):
    """The runners that are alive, by name."""

    runners: tuple[Runner, ...]


class Encrypted(Shape, frozen=True, kw_only=True):
    """A secret that can be shown."""

    encrypted: str
    """The token, to be put into ``encrypted_env`` of a pipeline.json."""


class Health(Shape, frozen=True, kw_only=True):
    """Each dependency and its state: ``ok``, or what is wrong."""

    status: Literal["ok", "unavailable"]
    dependencies: dict[str, str]
