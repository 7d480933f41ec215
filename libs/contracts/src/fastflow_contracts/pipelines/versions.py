"""Which version of a pipeline is live, and how that changes. Pure: old record in, new record out.

Theory of operation. Syncers, gateways and schedulers change one record by compare-and-set, each with its own function
here. All of them keep what the others wrote, so the loser decides again on what the winner left. ``held_back``
names the newest valid version while a pin or a rollback keeps another one live; a version that becomes live begins
with no trial.

* ``deployed``: a syncer saw a valid version. It becomes live, unless there is a pin, or it is the one rolled back.
* ``pinned`` and ``unpinned``: people choose. Without a pin the newest version is live, unless it was rolled back.
* ``rolled_back``: the first runs of the live version all failed. Only the newest version is on trial, so one rollback
  never leads to another.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from msgspec.structs import replace

from fastflow_contracts.bus.subjects import VersionRef
from fastflow_contracts.codec import Malformed
from fastflow_contracts.pipelines.records import Pin, PipelineRecord, Rollback, Version, VersionRecord

ID_CHARACTERS: Final = 12
"""As many of a bundle's hash tell the versions of a pipeline apart."""


def version_id(bundle: str) -> str:
    """Return the id of the version with this bundle. An id stays as it is."""
    return bundle[:ID_CHARACTERS]


def not_kept(pipeline: str, version: str) -> str:
    """Return the sentence about a version that is not there."""
    return f"{pipeline} has no version {version[:64]!r} (any more); `fastflow versions {pipeline}` lists those it has."


def newest_bundle(record: PipelineRecord) -> str:
    """Return the bundle of the newest valid version; empty if there never was one."""
    return record.held_back or (record.live.bundle if record.live else "")


def deployed(record: PipelineRecord, version: Version) -> PipelineRecord:
    """Return *record* after *version* was found to be the newest valid one."""
    failed = record.rolled_back
    if failed is not None and failed.bundle != version.bundle:
        record, failed = replace(record, rolled_back=None), None
    live = record.live
    if live is not None and live.bundle == version.bundle:
        # Same code, perhaps parsed by a later release: keep the commit that introduced it.
        same = replace(version, commit=live.commit, commit_subject=live.commit_subject, live_since=live.live_since)
        return replace(record, live=same, held_back="")
    if record.pin is not None or failed is not None:
        return replace(record, held_back=version.bundle)
    return _live(record, version, version.live_since, held_back="")


def pinned(record: PipelineRecord, version: Version, pin: Pin) -> PipelineRecord:
    """Return *record* with *version* live until the pin is removed."""
    newest, failed = newest_bundle(record), record.rolled_back
    if failed is not None and failed.bundle == version.bundle:
        failed = None
    held_back = "" if newest == version.bundle else newest
    return _live(replace(record, pin=pin, rolled_back=failed), version, pin.at, held_back=held_back)


def unpinned(record: PipelineRecord, newest: Version | None, at: datetime) -> PipelineRecord:
    """Return *record* without a pin.

    Args:
        record: The record.
        newest: The version of ``held_back``; None if it is not kept. Then the next sync makes it live.
        at: The current time.
    """
    record, failed = replace(record, pin=None), record.rolled_back
    if newest is None or newest.bundle != record.held_back or (failed is not None and failed.bundle == newest.bundle):
        return record
    return _live(record, newest, at, held_back="")


def has_failed(record: PipelineRecord) -> bool:
    """Whether the live version failed its trial."""
    after = record.live.spec.rollback_after if record.live else None
    return after is not None and record.trial is not None and len(record.trial.failed) >= after


def rolled_back(record: PipelineRecord, to: Version, at: datetime) -> PipelineRecord:
    """Return *record*, whose live version failed its trial, with *to* live in its place."""
    assert record.live is not None
    assert record.trial is not None
    bad = Rollback(bundle=record.live.bundle, to=to.bundle, at=at, failures=len(record.trial.failed))
    return _live(replace(record, rolled_back=bad), to, at, held_back=bad.bundle)


def check_version(ref: VersionRef, record: VersionRecord) -> None:
    """Check a stored record. Raises ``Malformed`` if it is another version's."""
    if ref != (record.pipeline, version_id(record.version.bundle)):
        raise Malformed(f"it is the record of {record.version.bundle[:64]!r} of {record.pipeline[:64]!r}")


def _live(record: PipelineRecord, version: Version, at: datetime, *, held_back: str) -> PipelineRecord:
    if record.live is not None and record.live.bundle == version.bundle:
        return replace(record, held_back=held_back)
    return replace(record, live=replace(version, live_since=at), held_back=held_back, trial=None)
