"""Backs up everything on the bus into files while it is in use, and restores it. I/O.

The streams are copied one after the other, each as it is at one instant (JetStream's own snapshot: sequences, and the
progress of consumers). Requests are copied before their effects: a trigger whose run is also in the copy starts
nothing, since ids are derived; in the other order the trigger would be lost. What runs refer to is copied after them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from fastflow.errors import CliError
from fastflow_contracts.bus import snapshots, streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import BusError
from fastflow_contracts.bus.streams import bucket_stream, object_stream

ORDER: Final = (
    streams.TRIGGERS,
    streams.COMMANDS,
    streams.WORK,
    bucket_stream(subjects.SCHEDULES),
    bucket_stream(subjects.OPERATIONS),
    bucket_stream(subjects.RUNS),
    bucket_stream(subjects.INPUTS),
    bucket_stream(subjects.RUNNERS),
    bucket_stream(subjects.SESSIONS),
    bucket_stream(subjects.LINKS),
    bucket_stream(subjects.PIPELINES),
    object_stream(subjects.BUNDLES),
    object_stream(subjects.ARTIFACTS),
    object_stream(subjects.STATES),
    streams.LOGS,
    streams.CELLS,
    streams.METRICS,
    streams.NOTICES,
)
COMPLETE: Final = "backup.json"
"""Written last: a folder without it is not a backup."""

Say = Callable[[str], None]


class BackupFailed(CliError):
    """The backup or the restore failed."""


async def backup(bus: Bus, folder: Path, *, say: Say) -> None:
    """Copy every stream into *folder*, which must be empty or not exist. Raises ``BackupFailed``."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise BackupFailed(f"{folder} is not empty; give each backup its own folder.")
    folder.chmod(0o700)
    described = {}
    for stream in ORDER:
        described[stream] = await _save(bus, stream, folder / stream)
        state = described[stream]["state"]
        say(f"{stream}: {state['messages']} messages, {(folder / stream).stat().st_size:,} bytes")
    part = folder / f"{COMPLETE}.part"
    part.write_text(json.dumps({"v": 1, "streams": described}, indent=1))
    _sync(part)
    part.rename(folder / COMPLETE)
    _sync(folder)


async def restore(bus: Bus, folder: Path, *, replicas: int | None, say: Say) -> None:
    """Create every stream of the backup in *folder* on a bus that has none of them.

    Args:
        bus: The bus.
        folder: The backup.
        replicas: Copies of each stream in a cluster; None: as in the backup.
        say: Receives one line for each stream.

    Raises:
        BackupFailed: The backup is incomplete, the bus is not empty, or the bus refuses.
    """
    try:
        described = json.loads((folder / COMPLETE).read_text())["streams"]
    except (OSError, ValueError, KeyError):
        raise BackupFailed(f"{folder} holds no complete backup: its {COMPLETE} is missing or damaged.") from None
    present = {str(info.config.name) for info in await bus.js.streams_info()}
    if there := sorted(present & set(described)):
        raise BackupFailed(
            f"the bus already holds {', '.join(there)}; restore into an empty one: stop the services and the server, "
            "move its store away, start the server alone."
        )
    for stream in described:
        if replicas is not None:
            described[stream]["config"]["num_replicas"] = replicas
        await _load(bus, stream, described[stream], folder / stream)
        say(f"{stream}: {described[stream]['state']['messages']} messages")


async def _save(bus: Bus, stream: str, path: Path) -> dict[str, Any]:
    try:
        with path.open("xb") as file:
            description = await snapshots.save(bus, stream, file)
    except BusError as error:
        raise BackupFailed(str(error)) from error
    _sync(path)
    return description


async def _load(bus: Bus, stream: str, description: dict[str, Any], path: Path) -> None:
    try:
        with path.open("rb") as file:
            await snapshots.restore(bus, stream, description, file)
    except BusError as error:
        raise BackupFailed(str(error)) from error


def _sync(path: Path) -> None:
    """Flush the file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
