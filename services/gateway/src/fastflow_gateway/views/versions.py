"""Turns versions into ``shapes``. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fastflow_api import shapes
from fastflow_contracts.pipelines.records import PipelineRecord, VersionChanges, VersionRecord
from fastflow_contracts.pipelines.versions import newest_bundle, version_id
from fastflow_contracts.runs.run import RunStatus


def versions(
    record: PipelineRecord, kept: Iterable[VersionRecord], counts: Mapping[str, Mapping[RunStatus, int]]
) -> shapes.PipelineVersions:
    """The versions of a pipeline. *counts*: its runs by bundle and status."""
    return shapes.PipelineVersions(
        pipeline_name=record.name,
        live=version_id(record.live.bundle) if record.live else None,
        newest=version_id(newest_bundle(record)) or None,
        pin=pin(record),
        rolled_back=rollback(record),
        why_not_newest=why_not_newest(record),
        trial_failures=len(record.trial.failed) if record.trial and not record.trial.is_passed else 0,
        versions=tuple(_version(record, each, counts.get(each.version.bundle, {})) for each in kept),
    )


def pin(record: PipelineRecord) -> shapes.VersionPin | None:
    """The pin of a pipeline."""
    if (given := record.pin) is None:
        return None
    return shapes.VersionPin(version=version_id(given.bundle), at=given.at, by=given.by, reason=given.reason)


def rollback(record: PipelineRecord) -> shapes.VersionRollback | None:
    """The rollback of a pipeline, while the version that failed is the newest one."""
    if (bad := record.rolled_back) is None:
        return None
    return shapes.VersionRollback(
        version=version_id(bad.bundle), to=version_id(bad.to), at=bad.at, failures=bad.failures
    )


def why_not_newest(record: PipelineRecord) -> str | None:
    """A sentence that says why the newest version is not live; None if it is."""
    if not record.held_back:
        return None
    newest = version_id(record.held_back)
    if record.pin is not None:
        return f"Version {version_id(record.pin.bundle)} is pinned, so the newer version {newest} is not live."
    if (bad := record.rolled_back) is not None:
        runs = "its first run" if bad.failures == 1 else f"all of its first {bad.failures} runs"
        return (
            f"Version {newest} was rolled back to {version_id(bad.to)}, because {runs} failed. It is not taken again "
            "until another version is pushed; pin it to use it all the same."
        )
    return f"Version {newest} becomes live at the next sync."


def _version(record: PipelineRecord, given: VersionRecord, counts: Mapping[RunStatus, int]) -> shapes.PipelineVersion:
    version = given.version
    successful, failed = counts.get(RunStatus.SUCCESS, 0), counts.get(RunStatus.FAILED, 0)
    return shapes.PipelineVersion(
        id=version_id(version.bundle),
        commit=version.commit,
        commit_subject=version.commit_subject,
        author=given.author,
        deployed_at=given.deployed_at,
        is_live=record.live is not None and record.live.bundle == version.bundle,
        is_newest=newest_bundle(record) == version.bundle,
        was_rolled_back=record.rolled_back is not None and record.rolled_back.bundle == version.bundle,
        before=version_id(given.before) or None,
        differences=_differences(given.changes) if given.changes is not None else None,
        total_runs=sum(counts.values()),
        successful_runs=successful,
        failed_runs=failed,
        success_rate=successful / (successful + failed) if successful + failed else None,
    )


def _differences(given: VersionChanges) -> shapes.VersionDifferences:
    return shapes.VersionDifferences(
        added=given.added,
        removed=given.removed,
        changed=given.changed,
        packages=tuple(
            shapes.VersionPackage(name=each.name, before=each.before, after=each.after) for each in given.packages
        ),
        unnamed=given.unnamed,
    )
