"""The exceptions of the syncer and its sources."""

from __future__ import annotations

from fastflow_contracts.errors import FastFlowError


class SyncerError(FastFlowError):
    """Base class of the syncer's exceptions."""


class SourceFailed(SyncerError):
    """The source cannot be read now. Live versions stay live."""


class SourceDamaged(SourceFailed):
    """The local copy of the source was unusable and is removed; the next attempt creates a new one."""
