"""Receives a job: its files, its bundle, and the folder made from them. Reads what the script leaves behind.

Standard library only.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat

from .delivery import FolderDelivery
from .failure import SetupFailed, safe_name
from .lean import sha256, suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

BLOCK_BYTES = 512
"""Of a tar."""


def hold(path: str, byte: int, python: str) -> bool:
    """Keep the environment of *python* from being collected until ``release``, or the end of this process.

    It takes a shared lock on the environment's byte of the store's file *path* and leaves that file open.

    Returns:
        False if the environment is gone or being removed.
    """
    try:
        fcntl.lockf(os.open(path, os.O_RDONLY), fcntl.LOCK_SH | fcntl.LOCK_NB, 1, byte)
    except (FileNotFoundError, PermissionError, BlockingIOError):
        return False
    except OSError:
        pass  # no locks on this file system; then nothing is collected either
    return os.path.exists(python)


def release(path: str) -> None:
    """Let the environments be collected that ``hold`` keeps by locks on *path*: any close drops all of them."""
    with suppress(OSError):
        os.close(os.open(path, os.O_RDONLY))


class JobIntake:
    """Collects a job's DATA in an unnamed file and makes the job's files and directory from it."""

    def __init__(self, job: dict[str, Any], work: str) -> None:
        self.job = job
        self._work = work
        self._files_bytes = sum(entry["size_bytes"] for entry in job["files"])
        self._missing_bytes: int = self._files_bytes + (job["bundle"]["size_bytes"] if job["bundle"] else 0)
        self._delivery: FolderDelivery | None = None
        if folders := job.get("folders"):  # an older runner does not send folders
            self._delivery = FolderDelivery(folders, work)
        self._received_bytes = 0
        self._sha256 = sha256()
        path = os.path.join(work, ".intake")
        self._spool = open(path, "w+b")  # noqa: SIM115 - closed by prepare()
        os.unlink(path)

    @property
    def complete(self) -> bool:
        return self._missing_bytes == 0 and (self._delivery is None or self._delivery.complete)

    def take(self, data: bytes) -> None:
        """Add the next bytes.

        Raises:
            SetupFailed: More bytes than announced, or the disk is full.
        """
        own_bytes = self._missing_bytes
        if self._delivery is None and len(data) > own_bytes:
            raise SetupFailed("the runner sent more bytes than it announced.")
        if own_bytes:
            self._spool_in(data[:own_bytes])
        if self._delivery is None or self._missing_bytes:
            return
        try:
            self._delivery.open()
            self._delivery.take(memoryview(data)[own_bytes:])
        except OSError as error:
            raise SetupFailed(
                f"a folder that the run brings along does not fit into the sandbox: {error.strerror}; raise "
                "FASTFLOW_WORK_BYTES of the runner or bring less."
            ) from error

    def close(self) -> None:
        """Give up: the rest will not arrive."""
        self._spool.close()
        if self._delivery is not None:
            self._delivery.close()

    def _spool_in(self, data: bytes) -> None:
        try:
            self._spool.write(data)
        except OSError as error:
            raise SetupFailed(f"the code does not fit into the sandbox: {error}.") from error
        self._sha256.update(data[max(0, self._files_bytes - self._received_bytes) :])
        self._received_bytes += len(data)
        self._missing_bytes -= len(data)

    def prepare(self) -> tuple[str, dict[str, str]]:
        """Return the working directory and the variables that name the files. Raises ``SetupFailed``."""
        try:
            with self._spool as spool:
                spool.seek(0)
                variables = {}
                for entry in self.job["files"]:
                    path = os.path.join(self._work, ".files", safe_name(entry["name"]))
                    os.makedirs(os.path.dirname(path), exist_ok=True)
                    _write(path, spool.read(entry["size_bytes"]), 0o644)
                    variables[entry["env"]] = path
                for entry in self.job.get("answers", ()):  # an older runner does not send answers
                    path = answer_path(self._work, entry["name"])
                    os.makedirs(os.path.dirname(path), exist_ok=True)
                    variables[entry["env"]] = path
                if self._delivery is not None:
                    variables.update(self._delivery.variables)
                directory = os.path.join(self._work, safe_name(self.job["cwd"]))
                os.mkdir(directory)
                if self.job["bundle"]:
                    if self._sha256.hexdigest() != self.job["bundle"]["sha256"]:
                        raise SetupFailed("the code that arrived is not the code that was announced.")
                    unpack(spool, directory)
                return directory, variables
        except OSError as error:
            raise SetupFailed(f"the code does not fit into the sandbox: {error}.") from error


def answer_path(work: str, name: str) -> str:
    """Return where the script may write its answer *name*. Raises ``SetupFailed`` for an unsafe name."""
    return os.path.join(work, ".answers", safe_name(name))


def read_answer(path: str, bytes_max: int) -> bytes:
    """Return what the script wrote to *path*, at most one byte more than *bytes_max*; empty if there is no such file.

    Never waits, and never follows a link: the script may have put anything there.

    Raises:
        OSError: It is no regular file, or cannot be read.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise OSError("it is a link") if error.errno == errno.ELOOP else error from None
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError("it is not a regular file")
        return os.read(file, bytes_max + 1)
    finally:
        os.close(file)


def unpack(tar: Any, directory: str) -> None:
    """Write the files and empty folders of an uncompressed tar below a fresh directory. Raises ``SetupFailed``.

    Only the members' content is used. Nothing in the directory is a link, because only this function has written there.
    It never writes more than the tar's length, because sparse members are refused.
    """
    start = tar.tell()
    members = _plain_members(tar)
    tar.seek(start)
    for member in _all_members(tar) if members is None else members:
        parts = member.name.split("/")
        if any(part in ("", ".", "..") or "\0" in part for part in parts):
            raise SetupFailed(f"the bundle holds {member.name!r}, which is not a safe path.")
        path = os.path.join(directory, *parts)
        if member.is_folder:
            os.makedirs(path, exist_ok=True)
            continue
        os.makedirs(os.path.dirname(path), exist_ok=True)
        tar.seek(member.offset)
        _write(path, tar.read(member.size_bytes), 0o755 if member.is_executable else 0o644)


class _Member:
    """A file or folder in a tar."""

    def __init__(self, name: str, offset: int, size_bytes: int, *, is_folder: bool, is_executable: bool) -> None:
        self.name = name
        self.offset = offset
        self.size_bytes = size_bytes
        self.is_folder = is_folder
        self.is_executable = is_executable


def _plain_members(tar: Any) -> list[_Member] | None:
    """Return the members of a tar of files and folders with short names; None for any other: see ``_all_members``.

    Most are such, and ``tarfile`` takes longer to import than all else here together.
    """
    members: list[_Member] = []
    at = tar.tell()
    tar_bytes = tar.seek(0, os.SEEK_END)
    while True:
        tar.seek(at)
        head = tar.read(BLOCK_BYTES)
        if head == bytes(BLOCK_BYTES):
            return members
        if len(head) < BLOCK_BYTES or head[257:265] != b"ustar\00000" or head[156] not in b"05" or head[345]:
            return None
        try:
            name = head[:100].rstrip(b"\0").decode("ascii")
            mode, size_bytes, checksum = int(head[100:107], 8), int(head[124:135], 8), int(head[148:154], 8)
        except ValueError:
            return None
        offset = at + BLOCK_BYTES
        at = offset + -(-size_bytes // BLOCK_BYTES) * BLOCK_BYTES
        is_folder = head[156:157] == b"5"
        if checksum != sum(head) - sum(head[148:156]) + 8 * ord(" ") or at > tar_bytes or (is_folder and size_bytes):
            return None
        name = name.rstrip("/") if is_folder else name
        members.append(_Member(name, offset, size_bytes, is_folder=is_folder, is_executable=bool(mode & 0o100)))


def _all_members(tar: Any) -> Iterator[_Member]:
    """Yield the members of any tar. Raises ``SetupFailed`` for what is neither a file nor a folder."""
    import tarfile

    try:
        with tarfile.open(fileobj=tar, mode="r:", encoding="utf-8") as members:
            for each in members:
                if each.type not in (tarfile.REGTYPE, tarfile.DIRTYPE) or each.issparse():
                    raise SetupFailed(f"the bundle holds {each.name!r}, which is not a regular file or folder.")
                yield _Member(
                    each.name,
                    each.offset_data,
                    each.size,
                    is_folder=each.isdir(),
                    is_executable=bool(each.mode & 0o100),
                )
    except (tarfile.TarError, ValueError, OverflowError, EOFError) as error:
        raise SetupFailed(f"the bundle cannot be read: {error}.") from error


def _write(path: str, data: bytes, mode: int) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode), "wb") as file:
        file.write(data)
