"""Keeps the list of deployed versions, and removes the oldest beyond a bound. I/O; ``superfluous`` is the rule.

A version is listed before a record names it, so that whoever sees a version live also finds the one before it. Several
syncers may list the same version: the later one writes the same again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import BusError, Rejected
from fastflow_contracts.bus.objects import ObjectStore
from fastflow_contracts.bus.subjects import VersionRef
from fastflow_contracts.log import get_logger
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.folder.bundle import Bundle, BundleRefused, unpack
from fastflow_contracts.pipelines.folder.changes import changes
from fastflow_contracts.pipelines.records import PipelineRecord, Version, VersionChanges, VersionRecord
from fastflow_contracts.pipelines.store import PipelineStore
from fastflow_contracts.pipelines.versions import newest_bundle, version_id
from fastflow_syncer.sources.source import Commit

log = get_logger(__name__)

KEPT_MAX: Final = 20
"""Versions of a pipeline to keep, unless the settings say otherwise."""
VERSIONS_MAX: Final = 200
"""What the settings may say at most."""
READ_S: Final = 60.0
"""How long reading one pipeline's versions may take."""


def superfluous(kept: Iterable[VersionRecord], record: PipelineRecord, *, kept_max: int) -> list[VersionRecord]:
    """Return the versions that may go: the oldest beyond *kept_max*, but none that *record* or a rollback needs."""
    by_bundle = {each.version.bundle: each for each in kept}
    needed = {newest_bundle(record)}
    if record.live is not None:
        live = by_bundle.get(record.live.bundle)
        needed |= {record.live.bundle, live.before if live is not None else ""}
    newest_first = sorted(by_bundle.values(), key=lambda each: each.deployed_at, reverse=True)
    return [each for each in newest_first[kept_max:] if each.version.bundle not in needed]


class VersionList:
    """The deployed versions of the pipelines on one bus."""

    def __init__(self, bus: Bus, *, kept_max: int = KEPT_MAX) -> None:
        self._bus = bus
        self._pipelines = PipelineStore(bus)
        self._bundles = ObjectStore(bus)
        self._kept_max = kept_max

    async def add(
        self, old: PipelineRecord | None, name: PipelineName, version: Version, bundle: Bundle, commit: Commit | None
    ) -> None:
        """List *version* as the newest one, unless it is the newest already.

        Args:
            old: The pipeline's record before.
            name: The pipeline.
            version: The version.
            bundle: Its code.
            commit: Where it comes from.

        Raises:
            BusError: The bus fails.
        """
        newest = newest_bundle(old) if old is not None else ""
        if newest == version.bundle and await self._pipelines.version(name, newest) is not None:
            return
        live = old.live if old is not None else None
        if live is not None and live.bundle == version.bundle == newest:
            version = live  # of a record that an older syncer wrote
        before = live.bundle if live is not None and live.bundle != version.bundle else ""
        has_author = commit is not None and commit.hash == version.commit
        listed = VersionRecord(
            pipeline=name,
            version=version,
            author=commit.author if commit is not None and has_author else None,
            deployed_at=version.live_since,
            before=before,
            changes=await self._changes(newest, bundle) if newest not in ("", version.bundle) else None,
        )
        await self._pipelines.versions.put(VersionRef(name, version_id(version.bundle)), listed, expect=None)

    async def shorten(self, record: PipelineRecord) -> None:
        """Remove the oldest versions of a pipeline beyond the bound, or all of a removed one. Raises ``BusError``."""
        async with asyncio.timeout(READ_S):
            kept = await self._pipelines.versions_of(record.name)
        kept_max = self._kept_max if record.removed_at is None else 0
        for each in superfluous(kept, record, kept_max=kept_max):
            await self.forget(record.name, each.version.bundle)

    async def forget(self, name: PipelineName, bundle: str) -> None:
        """Remove one version from the list. Raises ``BusError``."""
        ref = VersionRef(name, version_id(bundle))
        stored = await self._pipelines.versions.load(ref)
        if stored.revision:
            await self._bus.purge(subjects.PIPELINES, subjects.version_key(ref), until=stored.revision)
            log.info("version removed", pipeline=name, version=ref.version)

    async def _changes(self, before: str, bundle: Bundle) -> VersionChanges | None:
        try:
            data = await self._bundles.get(before)
            return await asyncio.to_thread(lambda: changes(unpack(data), unpack(bundle.data)))
        except (Rejected, BundleRefused) as error:
            log.info("changes not read", bundle=before, error=str(error))
        except BusError:
            raise
        except Exception:
            # What only tells people about a version must not keep it from becoming live.
            log.exception("changes not read", bundle=before)
        return None
