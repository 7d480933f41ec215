"""Which states a pipeline has had, and which one is current. Data and arithmetic.

The record of a pipeline's state lies in the bucket of the runs, so one atomic batch writes it and the end of the run
that left it. The files of a version are an archive in the object store. A version has one archive of its own, so
removing it never takes one away that another version needs.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

import msgspec
from msgspec.structs import replace

from fastflow_contracts.base import Count, Fact, Instant, Ordinal, StoredRunId
from fastflow_contracts.codec import Codec
from fastflow_contracts.ids import RunId

STATE_BYTES_MAX: Final = 8 * 1024 * 1024
"""Of all files together."""
STATE_FILES_MAX: Final = 1_000
HISTORY_MAX: Final = 20
"""Versions that are kept, the current one included."""

ArchiveName = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{64})?\Z")]


class LeftState(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """The files that a run left, and that differ from those that it began with."""

    archive: ArchiveName = ""
    """Name of their archive in the object store; empty: there are no files."""
    files: Count = 0
    size_bytes: Count = 0
    """Of all files together."""
    content: str = ""
    """Hash of what makes two states differ."""


class KeptState(LeftState, frozen=True, kw_only=True, omit_defaults=True):
    """One state that a pipeline had."""

    number: Ordinal
    """Grows with every version, also after a reset."""
    at: Instant
    run_id: StoredRunId | None = None
    """The run that left it; None: someone reset the state, and it has no files."""
    attempt: Count = 0
    """Of that run."""
    by: str = ""
    """Who reset it."""


class StateHead(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """The states of one pipeline."""

    v: Count = 1
    versions: tuple[KeptState, ...] = ()
    """Newest first. The first one is current."""
    write_id: str = ""

    @property
    def number(self) -> int:
        """Of the current version; 0: there was none yet."""
        return self.versions[0].number if self.versions else 0

    def version(self, number: int) -> KeptState | None:
        """Return the version with this number; None: it is not kept."""
        return next((each for each in self.versions if each.number == number), None)


STATE_HEAD = Codec(StateHead)


def committed(head: StateHead, left: LeftState, *, run_id: RunId, attempt: int, at: datetime) -> StateHead:
    """Return *head* with what an attempt of a run left as the current version."""
    version = KeptState(
        number=head.number + 1,
        at=at,
        run_id=run_id,
        attempt=attempt,
        archive=left.archive,
        files=left.files,
        size_bytes=left.size_bytes,
        content=left.content,
    )
    return replace(head, versions=(version, *head.versions)[:HISTORY_MAX])


def emptied(head: StateHead, *, by: str, at: datetime, above: int = 0) -> StateHead:
    """Return *head* with an empty current version.

    Args:
        above: the revision of an unreadable record: no number that it may have had comes again.
    """
    version = KeptState(number=max(head.number, above) + 1, at=at, by=by)
    return replace(head, versions=(version, *head.versions)[:HISTORY_MAX])


def dropped(before: StateHead, after: StateHead) -> tuple[str, ...]:
    """Return the archives that *after* no longer refers to."""
    kept = {each.archive for each in after.versions}
    return tuple(each.archive for each in before.versions if each.archive and each.archive not in kept)
