"""A ``Source`` of pipelines from a branch of a git repository. Edge; ``mirror`` does the work."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator

from fastflow_contracts.pipelines.folder import bundle
from fastflow_contracts.pipelines.folder.bundle import File, Refusal
from fastflow_contracts.pipelines.folder.selection import FOLDERS_MAX, Folder, plan, skipped, skipped_child
from fastflow_syncer.errors import SourceFailed
from fastflow_syncer.sources.mirror import Mirror, TooManyEntries
from fastflow_syncer.sources.source import Snapshot
from fastflow_syncer.sources.tree import TreeEntry


class GitSource:
    """The child folders of a repository, or of one folder in it, at the newest commit of the branch."""

    def __init__(self, mirror: Mirror, label: str, *, subdir: str, interval_s: float) -> None:
        self._mirror = mirror
        self._label = label
        self._subdir = subdir
        self._interval_s = interval_s

    @property
    def label(self) -> str:
        return self._label

    async def snapshot(self) -> Snapshot:
        """Fetch, then list. A folder's fingerprint is the id of its tree."""
        commit = await self._mirror.fetch()
        root = await self._mirror.folder(commit, self._subdir)
        entries = [e for e in await self._mirror.children(root) if not skipped_child(e.path)]
        folders = {_name(e): e.oid for e in entries if e.kind == "folder"}
        if len(folders) > FOLDERS_MAX:
            raise SourceFailed(f"{self._label}: more than {FOLDERS_MAX:,} folders; set PIPELINES_SUBDIR.")
        ignored = {
            _name(e): f"is a {e.kind}, which is not followed; commit the folder itself."
            for e in entries
            if e.kind in ("link", "submodule")
        }
        return Snapshot(commit, folders, ignored)

    async def read(self, snapshot: Snapshot, name: str) -> Folder:
        """Read the files of one folder. Links and submodules in it become refusals."""
        try:
            entries = await self._mirror.files(snapshot.fingerprints[name])
        except TooManyEntries:
            return Folder({}, (Refusal("", f"more than {bundle.FILES_MAX:,} files; keep data out of it"),))
        kept = {e.path: e for e in entries if not skipped(e.path)}
        refused = tuple(
            Refusal(bundle.shown(e.path), f"is a {e.kind}, which is not followed; commit the files themselves")
            for e in kept.values()
            if e.kind != "file"
        )
        planned = plan({e.path: e.size_bytes for e in kept.values() if e.kind == "file"}, refused)
        contents = await self._mirror.blobs([kept[path] for path in planned.paths])
        files = {path: File(data, kept[path].executable) for path, data in zip(planned.paths, contents, strict=True)}
        return Folder(files, planned.refusals)

    async def changes(self) -> AsyncGenerator[None, None]:
        """Yield immediately, then after every interval; an interval of 0 yields only once."""
        while True:
            yield
            await asyncio.sleep(self._interval_s or math.inf)


def _name(entry: TreeEntry) -> str:
    """Return the name, escaped if it is not UTF-8. No valid name has a backslash, so names stay distinct."""
    try:
        entry.path.encode()
    except UnicodeEncodeError:
        return bundle.shown(entry.path)
    return entry.path
