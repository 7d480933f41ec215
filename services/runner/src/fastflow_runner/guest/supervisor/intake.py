"""Receives a job: its files, its bundle, and the folder made from them. Reads what the script leaves behind.

Standard library only.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import tarfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class SetupFailed(Exception):
    """User code could not start; the message is for the run's owner."""

    def __init__(self, message: str, exit_code: int = 126) -> None:
        super().__init__(message)
        self.exit_code = exit_code


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
    try:  # noqa: SIM105 - contextlib would be one more import at the start of every sandbox
        os.close(os.open(path, os.O_RDONLY))
    except OSError:
        pass


class JobIntake:
    """Collects a job's DATA in an unnamed file and makes the job's files and directory from it."""

    def __init__(self, job: dict[str, Any], work: str) -> None:
        self.job = job
        self._work = work
        self._files_bytes = sum(entry["size_bytes"] for entry in job["files"])
        self._missing_bytes: int = self._files_bytes + (job["bundle"]["size_bytes"] if job["bundle"] else 0)
        self._received_bytes = 0
        self._sha256 = hashlib.sha256()
        path = os.path.join(work, ".intake")
        self._spool = open(path, "w+b")  # noqa: SIM115 - closed by prepare()
        os.unlink(path)

    @property
    def complete(self) -> bool:
        return self._missing_bytes == 0

    def take(self, data: bytes) -> None:
        """Add the next bytes.

        Raises:
            SetupFailed: More bytes than announced, or the disk is full.
        """
        if len(data) > self._missing_bytes:
            raise SetupFailed("the runner sent more bytes than it announced.")
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
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError("it is not a regular file")
        return os.read(file, bytes_max + 1)
    finally:
        os.close(file)


def safe_name(name: str) -> str:
    """Return *name* if it is a single, visible part of a path. Raises ``SetupFailed``."""
    if not name or name.startswith(".") or "/" in name or "\0" in name:
        raise SetupFailed(f"{name!r} is not a file name.")
    return name


def unpack(tar: Any, directory: str) -> None:
    """Write the files and empty folders of an uncompressed tar below a fresh directory. Raises ``SetupFailed``.

    Only the members' content is used. Nothing in the directory is a link, because only this function has written there.
    It never writes more than the tar's length, because sparse members are refused.
    """
    try:
        with tarfile.open(fileobj=tar, mode="r:", encoding="utf-8") as members:
            for member in members:
                parts = member.name.split("/")
                if member.type not in (tarfile.REGTYPE, tarfile.DIRTYPE) or member.issparse():
                    raise SetupFailed(f"the bundle holds {member.name!r}, which is not a regular file or folder.")
                if any(part in ("", ".", "..") or "\0" in part for part in parts):
                    raise SetupFailed(f"the bundle holds {member.name!r}, which is not a safe path.")
                path = os.path.join(directory, *parts)
                if member.isdir():
                    os.makedirs(path, exist_ok=True)
                    continue
                content = members.extractfile(member)
                assert content is not None
                os.makedirs(os.path.dirname(path), exist_ok=True)
                _write(path, content.read(), 0o755 if member.mode & 0o100 else 0o644)
    except (tarfile.TarError, ValueError, OverflowError, EOFError) as error:
        raise SetupFailed(f"the bundle cannot be read: {error}.") from error


def _write(path: str, data: bytes, mode: int) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode), "wb") as file:
        file.write(data)
