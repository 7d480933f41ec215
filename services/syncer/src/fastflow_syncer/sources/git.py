"""A ``Source`` of pipelines from a branch of a git repository. I/O; ``mirror`` does the work."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Iterable, Mapping

from fastflow_contracts.pipelines.folder import bundle
from fastflow_contracts.pipelines.folder.bundle import File, Refusal
from fastflow_contracts.pipelines.folder.lfs import LfsPointer, pointer_in
from fastflow_contracts.pipelines.folder.limits import DEFAULT, FolderLimits
from fastflow_contracts.pipelines.folder.links import TARGET_BYTES_MAX, follow
from fastflow_contracts.pipelines.folder.selection import (
    FOLDERS_MAX,
    STRAY_ENTRIES,
    STRAY_ENTRY,
    Folder,
    ReadingPlan,
    plan,
    skipped_child,
    skipped_folder,
    travelling,
)
from fastflow_syncer.errors import SourceFailed
from fastflow_syncer.sources.lfs import NotInLfs
from fastflow_syncer.sources.mirror import Mirror, TooManyEntries
from fastflow_syncer.sources.source import Snapshot
from fastflow_syncer.sources.tree import TreeEntry


class GitSource:
    """The child folders of a repository, or of one folder in it, at the newest commit of the branch."""

    def __init__(
        self,
        mirror: Mirror,
        label: str,
        *,
        subdir: str,
        interval_s: float,
        limits: FolderLimits = DEFAULT,
    ) -> None:
        self._mirror = mirror
        self._limits = limits
        self._label = label
        self._subdir = subdir
        self._interval_s = interval_s

    @property
    def label(self) -> str:
        return self._label

    @property
    def branch(self) -> str:
        return self._mirror.branch

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
        } | {e.path: STRAY_ENTRY for e in entries if e.kind == "file" and e.path in STRAY_ENTRIES}
        return Snapshot(commit, folders, ignored)

    async def read(self, snapshot: Snapshot, name: str) -> Folder:
        """Read the files of one folder. Submodules, and links out of it, become refusals."""
        try:
            entries = {each.path: each for each in await self._mirror.files(snapshot.fingerprints[name])}
        except TooManyEntries:
            return Folder({}, (Refusal("", f"more than {self._limits.files:,} files; keep data out of it"),))
        kept = {path: entries[path] for path in travelling(entries) if not _is_left(entries[path])}
        sizes_bytes = {path: each.size_bytes for path, each in kept.items() if each.kind == "file"}
        followed = follow(sizes_bytes, await self._links(kept), paths_max=self._limits.files)
        refused = tuple(
            Refusal(bundle.shown(e.path), f"is a {e.kind}, which is not followed; commit the files themselves")
            for e in kept.values()
            if e.kind == "submodule"
        )
        sizes_bytes |= {path: sizes_bytes[source] for path, source in followed.sources.items()}
        refused = (*followed.refusals, *refused)
        planned = plan(sizes_bytes, refused, self._limits)
        wanted = {path: kept[followed.sources.get(path, path)] for path in planned.paths}
        contents = await self._contents(wanted.values())
        pointers = {path: found for path, entry in wanted.items() if (found := pointer_in(contents[entry.oid]))}
        if pointers and not planned.refusals and await self._mirror.has_lfs():
            planned = plan(sizes_bytes | {p: each.size_bytes for p, each in pointers.items()}, refused, self._limits)
            if not planned.refusals:
                large, missing = await self._large_files(pointers)
                contents |= {wanted[path].oid: data for path, data in large.items()}
                planned = ReadingPlan(planned.paths, missing)
        files = {path: File(contents[wanted[path].oid], wanted[path].executable) for path in planned.paths}
        return Folder(files, planned.refusals)

    async def _large_files(self, pointers: Mapping[str, LfsPointer]) -> tuple[dict[str, bytes], tuple[Refusal, ...]]:
        """Fetch the files of Git LFS by path, up to the first that is not there."""
        found: dict[str, bytes] = {}
        for path, pointer in pointers.items():
            try:
                found[path] = await self._mirror.large_file(pointer)
            except NotInLfs as error:
                return found, (Refusal(bundle.shown(path), str(error)),)
        return found, ()

    async def _links(self, kept: Mapping[str, TreeEntry]) -> dict[str, str]:
        links = {path: entry for path, entry in kept.items() if entry.kind == "link"}
        contents = await self._contents(entry for entry in links.values() if entry.size_bytes <= TARGET_BYTES_MAX)
        return {path: contents.get(entry.oid, b"/").decode("utf-8", "surrogateescape") for path, entry in links.items()}

    async def _contents(self, entries: Iterable[TreeEntry]) -> dict[str, bytes]:
        """Read every content once, by its id: several paths may have the same."""
        once = {entry.oid: entry for entry in entries}
        return dict(zip(once, await self._mirror.blobs(list(once.values())), strict=True))

    async def changes(self) -> AsyncGenerator[None, None]:
        """Yield immediately, then after every interval; an interval of 0 yields only once."""
        while True:
            yield
            await asyncio.sleep(self._interval_s or math.inf)


def _is_left(entry: TreeEntry) -> bool:
    """Whether it is a link in the place of a folder that stays behind, such as ``.venv``."""
    return entry.kind == "link" and skipped_folder(entry.path.rpartition("/")[2])


def _name(entry: TreeEntry) -> str:
    """Return the name, escaped if it is not UTF-8. No valid name has a backslash, so names stay distinct."""
    try:
        entry.path.encode()
    except UnicodeEncodeError:
        return bundle.shown(entry.path)
    return entry.path
