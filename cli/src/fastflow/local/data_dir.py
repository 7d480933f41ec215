"""The data folder of one installation: its lock and its login token. Files only.

The kernel holds the lock, so it ends with its process, however that ends. An orderly end removes the lock file; a
leftover file means nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from fastflow.errors import BadUsage, CliError

LOCK = "up.pid"
TOKEN = "token"  # noqa: S105 - a file's name
TOKEN_BYTES = 24


class InUse(CliError):
    """Another process holds the folder."""


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Create *folder* if needed and lock it. Raises ``InUse`` with the holder's pid, or ``BadUsage``."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _keep_out_of_git(folder)
        descriptor = _lock(folder / LOCK)
    except OSError as error:
        raise _unusable(folder, error) from None
    try:
        try:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        except OSError as error:
            raise _unusable(folder, error) from None
        yield
    finally:
        (folder / LOCK).unlink(missing_ok=True)
        os.close(descriptor)


def _unusable(folder: Path, error: OSError) -> BadUsage:
    return BadUsage(f"{folder} cannot be the data folder: {error.strerror}; name another with --data-dir.")


def login_token(folder: Path) -> str:
    """The token of this installation, created at its first start and readable only by its owner."""
    path = folder / TOKEN
    if token := read_kept(path):
        return token
    import secrets  # imported here, as commands that only read start faster without it

    token = secrets.token_urlsafe(TOKEN_BYTES)
    write_private(path, token + "\n")
    return token


def read_kept(path: Path) -> str:
    """The stripped text of a file of this installation; empty if there is no such file.

    Raises:
        BadUsage: The file exists and cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise BadUsage(
            f"{path} cannot be read ({reason}); move it away, and the next start creates a new one."
        ) from None


def write_private(path: Path, text: str) -> None:
    """Write a file atomically. Only its owner may read it."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    beside.replace(path)


def _lock(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(descriptor, 32).decode(errors="replace").strip()
            os.close(descriptor)
            who = f"process {pid}" if pid else "another process"
            raise InUse(
                f"{path.parent} is in use by {who}: stop that `fastflow up`, or give this one another --data-dir."
            ) from None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)  # its previous holder removed it between our open and our lock


def _keep_out_of_git(folder: Path) -> None:
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")
