"""The exceptions of the syncer and its sources."""

from __future__ import annotations

from fastflow_contracts.errors import FastFlowError


class SyncerError(FastFlowError):
    """Root of everything the syncer raises on purpose."""


class SourceFailed(SyncerError):
    """The source cannot be read now. What is live stays live."""


class SourceDamaged(SourceFailed):
    """The source's local copy is unusable and was removed; the next try makes a new one."""
