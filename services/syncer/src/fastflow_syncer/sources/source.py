"""The interface of a source of pipelines. ``folder`` and ``git`` implement it; the rest cannot tell them apart."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from datetime import datetime
from typing import Protocol

import msgspec

from fastflow_contracts.pipelines.folder.selection import Folder


class Commit(msgspec.Struct, frozen=True):
    """One commit of a repository."""

    hash: str
    authored_at: datetime | None
    """None if the commit has no valid time."""
    subject: str
    author: str | None = None
    """The name only, without the address."""


class Snapshot(msgspec.Struct, frozen=True):
    """The child folders of the root at one moment. Equal fingerprints mean equal content."""

    commit: Commit | None
    fingerprints: Mapping[str, str]
    ignored: Mapping[str, str] = {}
    """Reasons by name for children that look like folders but are not."""


class Source(Protocol):
    """A source of pipelines. Calls must not overlap."""

    @property
    def label(self) -> str:
        """The folder or repository for messages, without credentials."""

    @property
    def branch(self) -> str | None:
        """The branch that it follows; None: it is no repository."""

    async def snapshot(self) -> Snapshot:
        """Take a snapshot of the source.

        Raises:
            SourceFailed: The source cannot be read now.
            SourceDamaged: The local copy was unusable; try again.
        """

    async def read(self, snapshot: Snapshot, name: str) -> Folder:
        """Read one folder of the newest snapshot. Raises the errors of ``snapshot``."""

    def changes(self) -> AsyncGenerator[None, None]:
        """Yield once at the start, then each time a new snapshot is due. Ends only when closed."""
