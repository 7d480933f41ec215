"""Stores the artifacts of runs, and reads them. I/O only."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from typing import Final

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.bucket import Bucket
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.large_objects import LargeObjects
from fastflow_contracts.bus.subjects import RunRef
from fastflow_contracts.runs.artifacts.manifest import (
    ARTIFACTS_MAX,
    MANIFEST,
    MANIFEST_BYTES_MAX,
    PROBLEMS_MAX,
    ArtifactManifest,
    BadArtifact,
    StoredArtifact,
    check_path,
    media_type_of,
)
from fastflow_contracts.runs.run import RunRecord

GATHERING_S: Final = 12 * 3600.0
"""Longest time from the first upload of an attempt to its end, in seconds. Objects that no run refers to are removed
after a longer time, so what a manifest names is there.
"""


class ArtifactStore:
    """The artifacts of one bus."""

    def __init__(self, bus: Bus) -> None:
        self._objects = LargeObjects(bus)
        self.manifests: Bucket[RunRef, ArtifactManifest] = Bucket(
            bus,
            subjects.RUNS,
            MANIFEST,
            keys=subjects.ARTIFACTS_KEYS,
            key_of=subjects.artifacts_key,
            name_in=subjects.parse_artifacts_key,
        )

    def gather(self) -> Gathering:
        """Begin to take the files of one attempt."""
        return Gathering(self._objects)

    async def manifest(self, run: RunRecord) -> ArtifactManifest | None:
        """Return what *run* left; None if it left nothing, or is not over.

        Of a run with ``artifacts_count``, None means that it is gone or unreadable. Raises ``BusError``.
        """
        if run.artifacts_count is None:
            return None
        # The leading server: another one may have the record and not yet what was stored with it.
        return (await self.manifests.load(run.ref, is_exact=True)).value

    def open(self, artifact: StoredArtifact) -> AsyncGenerator[bytes, None]:
        """Yield the content in pieces. Its hash is checked at the end.

        Raises:
            Rejected: It is missing, incomplete or damaged.
            Unavailable: The bus does not answer.
        """
        return self._objects.read(artifact.sha256)


class Gathering:
    """The files of one attempt. They count when ``manifest`` is stored with the end of the run."""

    def __init__(self, objects: LargeObjects, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._objects = objects
        self._clock = clock
        self._began = clock()
        self._artifacts: dict[str, StoredArtifact] = {}
        self._bytes = 0

    async def put(self, path: str, chunks: AsyncIterable[bytes]) -> StoredArtifact:
        """Store one file; its pieces may have any size.

        What *chunks* raises comes out, and nothing of the file is stored then.

        Raises:
            BadArtifact: This file cannot be an artifact.
            Rejected: The store is full, or the bus refuses.
            Unavailable: The bus does not answer.
        """
        check_path(path)
        if path in self._artifacts:
            raise BadArtifact(f"{path!r} is there twice.")
        if len(self._artifacts) >= ARTIFACTS_MAX:
            raise BadArtifact(f"{path!r} is beyond {ARTIFACTS_MAX:,} files; pack them into one, such as a zip file.")
        room = len(MANIFEST.encode(ArtifactManifest(artifacts=(_artifact(path, "0" * 64, 2**53),))))
        if self._bytes + room > MANIFEST_BYTES_MAX:
            raise BadArtifact(f"{path!r} is one name too many: they are too long together; pack the files into one.")
        written = await self._objects.put(chunks)
        artifact = _artifact(path, written.name, written.size)
        self._artifacts[path] = artifact
        self._bytes += room
        return artifact

    def manifest(self, problems: Iterable[str] = ()) -> ArtifactManifest | None:
        """Return what was stored; None if that is nothing, and nothing stayed behind.

        Args:
            problems: A sentence for each file that stayed behind.

        Raises:
            BadArtifact: It took longer than ``GATHERING_S``.
        """
        if self._clock() - self._began > GATHERING_S:
            raise BadArtifact("the artifacts took longer than 12 hours to store; leave fewer, or smaller ones.")
        said = tuple(problem[:400] for problem in problems)[:PROBLEMS_MAX]
        if not self._artifacts and not said:
            return None
        return ArtifactManifest(
            artifacts=tuple(self._artifacts[path] for path in sorted(self._artifacts)), problems=said
        )


def _artifact(path: str, sha256: str, size: int) -> StoredArtifact:
    return StoredArtifact(path=path, size_bytes=size, sha256=sha256, media_type=media_type_of(path))
