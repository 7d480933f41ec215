"""What all attempts of one runner share. Data only; ``app`` fills it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from fastflow_contracts.bus.bucket import Bucket
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.pipelines.pauses import PauseSet
from fastflow_contracts.runs.artifacts.store import ArtifactStore
from fastflow_contracts.runs.run import RunRecord
from fastflow_contracts.runs.store import RunStore
from fastflow_runner.attempts.removals import Removals
from fastflow_runner.bundles import Bundles
from fastflow_runner.environments.environments import Environments
from fastflow_runner.output.quota import OutputQuota
from fastflow_runner.presence import PresenceWriter
from fastflow_runner.sandbox import Sandboxes, SandboxSpec
from fastflow_runner.sandbox.folders import FolderBounds
from fastflow_runner.sandbox.naming import AttemptId
from fastflow_runner.secrets import SecretBox


class AttemptContext(msgspec.Struct, frozen=True, kw_only=True):
    """``spec`` returns the sandbox specification of a run, ``name`` an attempt's sandbox name. Sizes are bytes."""

    runner: str
    labels: frozenset[str] = frozenset()
    """What runs may ask for with ``runs_on``."""
    only_labelled: bool = False
    """Whether it takes no run that asks for no label."""
    bus: Bus
    runs: RunStore
    pauses: Bucket[str, PauseSet]
    bundles: Bundles
    sandboxes: Sandboxes
    removals: Removals
    environments: Environments
    secrets: SecretBox
    presence: PresenceWriter
    spec: Callable[[RunRecord], SandboxSpec]
    name: Callable[[AttemptId], str]
    cell_runner: str
    """Path of ``cells`` inside a sandbox."""
    memory_bytes_max: int | None = None
    """The most memory of one sandbox; None: no bound."""
    artifacts: ArtifactStore
    artifact_bounds: FolderBounds
    log_bytes_max: int
    quota: OutputQuota
    public_url: str = ""
    """Address of the dashboard, without a slash at its end; empty = unknown."""
