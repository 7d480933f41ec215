"""Wires the parts of the syncer together, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.service.lifecycle import run_until
from fastflow_contracts.service.parts import keep
from fastflow_syncer.publish import Publisher
from fastflow_syncer.retire import Retirement
from fastflow_syncer.settings import SyncerSettings
from fastflow_syncer.sources.folder import FolderSource
from fastflow_syncer.sources.git import GitSource
from fastflow_syncer.sources.mirror import Mirror
from fastflow_syncer.sources.remote import Credentials, remote
from fastflow_syncer.sources.source import Source
from fastflow_syncer.sync import Syncer
from fastflow_syncer.sync_requests import SyncRequests


async def serve(settings: SyncerSettings, bus: Bus, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Sync until *stop* is set. The next sync completes an interrupted one.

    Raises:
        BadRemote: The settings of the repository are not accepted.
    """
    with source_of(settings) as source:
        syncer = Syncer(
            source,
            Publisher(
                bus,
                pipeline_bytes_max=settings.pipeline_bundles_bytes_max,
                versions_max=settings.pipeline_versions_max,
            ),
            limits=settings.folder_limits,
            policy=settings.policy,
        )

        async def work() -> None:
            async with asyncio.TaskGroup() as group:
                sync = keep("syncer/sync", lambda: SyncRequests(bus, source, syncer).serve(ready))
                group.create_task(sync, name="sync")
                group.create_task(keep("syncer/retire", lambda: Retirement(bus).serve()), name="retire")

        await run_until(stop, work(), bus=bus)


@contextlib.contextmanager
def source_of(settings: SyncerSettings) -> Iterator[Source]:
    """Open the source that the settings name, with a private temporary directory for a repository.

    Raises:
        BadRemote: The settings of the repository are not accepted.
    """
    if not settings.git_repo_url:
        yield FolderSource(settings.root, limits=settings.folder_limits)
        return
    credentials = Credentials(
        username=settings.git_username,
        token=settings.git_token,
        ssh_key=settings.git_ssh_key,
        ssh_known_hosts=settings.git_ssh_known_hosts,
    )
    where = remote(settings.git_repo_url, settings.git_branch)
    with TemporaryDirectory(prefix="fastflow-git-", ignore_cleanup_errors=True) as home:
        mirror = Mirror(where, credentials, Path(home))
        yield GitSource(
            mirror,
            where.label,
            subdir=settings.subdir,
            interval_s=settings.git_sync_interval_s if settings.auto_sync else 0.0,
            limits=settings.folder_limits,
        )
