"""A bare, shallow mirror of one branch in a private directory, without a checkout. I/O: it runs git.

The mirror is a cache: the bus has all lasting state. A failed read, or a failed fetch that the remote did not cause,
means that the mirror is damaged; it is removed, and the next fetch starts in a new directory. A fetch replaces the old
state of the branch, so a rewritten or unrelated history needs no special case.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NoReturn

from fastflow_contracts.pipelines.folder import bundle
from fastflow_contracts.pipelines.folder.lfs import LfsPointer
from fastflow_syncer.errors import SourceDamaged, SourceFailed
from fastflow_syncer.sources import lfs, process
from fastflow_syncer.sources.blobs import UnreadableBlob, read_blobs
from fastflow_syncer.sources.failures import explain, object_format_wanted, scrubbed
from fastflow_syncer.sources.lfs import NotInLfs
from fastflow_syncer.sources.process import CommandOutput, CommandTimedOut, OutputTooLarge
from fastflow_syncer.sources.remote import (
    Credentials,
    Remote,
    check_credentials,
    environment,
    flags,
    gitconfig,
    lfs_flags,
    secret_environment,
    text_file,
)
from fastflow_syncer.sources.source import Commit
from fastflow_syncer.sources.tree import BadListing, TreeEntry, parse_listing

FETCH_TIMEOUT_S: Final = 300.0
READ_TIMEOUT_S: Final = 60.0
PACK_BYTES_MAX: Final = 2 * 1024**3
"""Largest pack of one fetch. A larger branch holds more than code."""
LISTING_BYTES_MAX: Final = 16 * 1024 * 1024
"""More than the most files that a folder may have, with the longest paths."""
LFS_BYTES_MAX: Final = 2 * 1024**3
"""Files of Git LFS that the mirror keeps; with more, all of them are removed."""
SUBJECT_CHARS_MAX: Final = 200
AUTHOR_CHARS_MAX: Final = 100

_REF: Final = "refs/fastflow/followed"
_TEXT_BYTES_MAX: Final = 1024 * 1024


class TooManyEntries(SourceFailed):
    """A listing is longer than ``LISTING_BYTES_MAX``."""


class Mirror:
    """Fetches and reads one branch. One call at a time.

    *home* is an empty directory that only this user can enter.
    """

    def __init__(
        self,
        remote: Remote,
        credentials: Credentials,
        home: Path,
        *,
        fetch_timeout_s: float = FETCH_TIMEOUT_S,
        pack_bytes_max: int = PACK_BYTES_MAX,
        smudge_timeout_s: float = lfs.SMUDGE_TIMEOUT_S,
    ) -> None:
        check_credentials(remote, credentials)
        self._remote = remote
        self._credentials = credentials
        self._home = home
        self._fetch_timeout_s = fetch_timeout_s
        self._pack_bytes_max = pack_bytes_max
        self._env = environment(str(home), os.environ)
        self._directory: Path | None = None
        self._generation = 0
        self._object_format = "sha1"
        self._smudge_timeout_s = smudge_timeout_s
        self._lfs_bytes = 0
        self._lfs_hangs = False
        self._write_private("gitconfig", gitconfig(remote))
        if remote.scheme == "ssh":
            self._write_private("ssh_key", text_file(credentials.ssh_key))
            self._write_private("known_hosts", text_file(credentials.ssh_known_hosts))

    @property
    def branch(self) -> str:
        """The branch that it follows."""
        return self._remote.branch

    async def fetch(self) -> Commit:
        """Fetch the newest commit of the branch.

        Raises:
            SourceFailed: The fetch failed; a subclass says why.
        """
        fresh, self._lfs_hangs = self._directory is None, False
        done = await self._fetched()
        wanted = object_format_wanted(done.stderr) if done.code != 0 else None
        if wanted is not None and wanted != self._object_format:
            # The repository is new to us, or was created again in the other format.
            await self._drop()
            self._object_format = wanted
            done = await self._fetched()
        if done.code != 0:
            await self._blame(done, fresh)
        return await self._commit()

    async def _fetched(self) -> CommandOutput:
        directory = self._directory or await self._begin()
        refspec = f"+refs/heads/{self._remote.branch}:{_REF}"
        try:
            return await process.run(
                self._git(directory, "fetch", "--quiet", "--depth=1", "--update-shallow", "--no-tags",
                          "--no-write-fetch-head", "--", self._remote.url, refspec),
                env=self._env | self._secrets(),
                timeout_s=self._fetch_timeout_s,
                stdout_bytes_max=_TEXT_BYTES_MAX,
                file_bytes_max=self._pack_bytes_max,
            )  # fmt: skip
        except CommandTimedOut as error:
            # A killed fetch leaves a partial pack and perhaps a lock.
            await self._drop()
            raise SourceFailed(f"{self._remote.label}: {error} It is tried again at the next sync.") from error

    async def folder(self, commit: Commit, path: str) -> str:
        """Return the id of the tree at *path*; an empty path means the root.

        Raises:
            SourceFailed: There is no such folder, or the mirror cannot be read.
        """
        if not path:
            return f"{commit.hash}^{{tree}}"
        found = await self._listing(commit.hash, "--", path)
        if [entry.kind for entry in found] != ["folder"]:
            raise SourceFailed(
                f"{self._remote.label}: the branch {self._remote.branch!r} has no folder {path!r}; "
                "push it or change PIPELINES_SUBDIR."
            )
        return found[0].oid

    async def children(self, tree: str) -> list[TreeEntry]:
        """List the entries of one tree, without sizes.

        Raises:
            SourceDamaged: The mirror cannot be read.
            TooManyEntries: The listing is too long.
        """
        return await self._listing(tree)

    async def files(self, tree: str) -> list[TreeEntry]:
        """List all entries below one tree except folders, with sizes. Raises the errors of ``children``."""
        return await self._listing("-r", "-l", tree)

    async def blobs(self, entries: Sequence[TreeEntry]) -> list[bytes]:
        """Read the contents of these files, in the same order.

        Raises:
            SourceDamaged: The mirror cannot be read.
        """
        git = self._git(self._existing(), "cat-file", "--batch")
        try:
            return await read_blobs(git, self._env, entries, timeout_s=READ_TIMEOUT_S)
        except (UnreadableBlob, CommandTimedOut) as error:
            await self._damaged(error)

    async def has_lfs(self) -> bool:
        """Whether files of Git LFS can be fetched here."""
        return await lfs.is_installed(self._env)

    async def large_file(self, pointer: LfsPointer) -> bytes:
        """Fetch one file of Git LFS.

        Raises:
            NotInLfs: The server did not give it.
        """
        git = ("git", *flags(self._remote), *lfs_flags(self._remote), f"--git-dir={self._existing()}")
        try:
            if self._lfs_hangs:  # the next pipeline need not wait for the same server
                raise CommandTimedOut("its server did not answer before; it is asked again at the next sync.")
            env = self._env | self._secrets()
            data, said = await lfs.smudge(git, env, pointer, timeout_s=self._smudge_timeout_s)
        except CommandTimedOut as error:
            self._lfs_hangs = True
            raise NotInLfs(f"is in Git LFS and could not be fetched: {error}") from error
        if data is None:
            raise NotInLfs(f"is in Git LFS and could not be fetched (git: {scrubbed(said, self._credentials)})")
        self._lfs_bytes += len(data)
        if self._lfs_bytes > LFS_BYTES_MAX:
            await asyncio.to_thread(shutil.rmtree, self._existing() / "lfs", ignore_errors=True)
            self._lfs_bytes = 0
        return data

    def _secrets(self) -> dict[str, str]:
        return secret_environment(self._remote, self._credentials, str(self._home))

    async def _begin(self) -> Path:
        self._generation += 1
        directory = self._home / f"mirror-{self._generation}"
        done = await process.run(
            self._git(directory, "init", "--quiet", "--template=", f"--object-format={self._object_format}"),
            env=self._env,
            timeout_s=READ_TIMEOUT_S,
            stdout_bytes_max=_TEXT_BYTES_MAX,
        )
        if done.code != 0:
            raise SourceFailed(f"no mirror can be made: {scrubbed(done.stderr, self._credentials)}")
        self._directory = directory
        return directory

    async def _commit(self) -> Commit:
        printed = await self._read("log", "-1", "--no-show-signature", "--format=%H%x00%at%x00%an%x00%s", _REF)
        commit, authored_s, author, subject = printed.decode(errors="replace").rstrip("\n").split("\0", 3)
        try:
            authored_at = datetime.fromtimestamp(int(authored_s), UTC)
        except (ValueError, OverflowError, OSError):
            authored_at = None
        shown = bundle.shown(subject[:SUBJECT_CHARS_MAX])
        return Commit(commit, authored_at, shown, bundle.shown(author[:AUTHOR_CHARS_MAX]) or None)

    async def _listing(self, *args: str) -> list[TreeEntry]:
        printed = await self._read("ls-tree", "-z", "--full-tree", *args)
        try:
            return parse_listing(printed)
        except BadListing as error:
            await self._damaged(error)

    async def _read(self, *args: str) -> bytes:
        try:
            done = await process.run(
                self._git(self._existing(), *args),
                env=self._env,
                timeout_s=READ_TIMEOUT_S,
                stdout_bytes_max=LISTING_BYTES_MAX,
            )
        except OutputTooLarge as error:
            raise TooManyEntries(f"{self._remote.label}: a folder has far too many entries.") from error
        except CommandTimedOut as error:
            await self._damaged(error)
        if done.code != 0:
            await self._damaged(SourceFailed(scrubbed(done.stderr, self._credentials)))
        return done.stdout

    async def _blame(self, done: CommandOutput, fresh: bool) -> NoReturn:
        refused = explain(done.stderr, self._remote, self._credentials)
        if refused is not None:
            raise refused
        said = scrubbed(done.stderr, self._credentials)
        if not fresh:
            await self._damaged(SourceFailed(said))
        await self._drop()
        raise SourceFailed(f"{self._remote.label}: it cannot be fetched. (git: {said})")

    async def _damaged(self, cause: Exception) -> NoReturn:
        await self._drop()
        raise SourceDamaged(
            f"{self._remote.label}: the local mirror was damaged and is fetched again. ({cause})"
        ) from cause

    async def _drop(self) -> None:
        directory, self._directory = self._directory, None
        if directory is not None:
            await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)

    def _existing(self) -> Path:
        if self._directory is None:
            raise SourceDamaged(f"{self._remote.label}: there is no mirror; it is fetched again.")
        return self._directory

    def _git(self, directory: Path, *args: str) -> tuple[str, ...]:
        return ("git", *flags(self._remote), "--bare", f"--git-dir={directory}", *args)

    def _write_private(self, name: str, text: str) -> None:
        with os.fdopen(os.open(self._home / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
