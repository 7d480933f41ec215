"""Writes downloaded files below a folder: never outside it, never through a link. I/O."""

from __future__ import annotations

import contextlib
import hashlib
import os
import uuid
from collections.abc import AsyncIterable
from pathlib import Path
from typing import Final

from fastflow.errors import CliError
from fastflow_contracts.runs.artifacts.manifest import check_path

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


async def save(folder: Path, path: str, pieces: AsyncIterable[bytes], *, sha256: str, replace: bool) -> None:
    """Write *pieces* to the file *path* below *folder*, whole or not at all.

    Args:
        folder: Made if it is missing. It may be a link itself.
        path: Relative, with "/". A server says it, so it may be anything.
        pieces: The content.
        sha256: Of the content.
        replace: Replace a file that exists.

    Raises:
        BadArtifact: *path* is no path of an artifact.
        CliError: The file exists, a link is in the way, or the content is damaged.
        OSError: From the file system.
    """
    *parts, name = check_path(path).split("/")
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        here = _entered(stack, folder, None)
        for part in parts:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, dir_fd=here)
            try:
                here = _entered(stack, part, here)
            except (NotADirectoryError, OSError) as error:
                raise CliError(f"{part!r} in {path!r} is a link or no folder; use an empty folder: {error}.") from error
        if not replace and _exists(name, here):
            raise CliError(f"{path!r} exists below {folder}; use another folder, or --force to replace it.")
        whole = f".fastflow-{uuid.uuid4().hex}"
        try:
            digest = hashlib.sha256()
            with os.fdopen(os.open(whole, _NEW, 0o644, dir_fd=here), "wb") as file:
                async for piece in pieces:
                    digest.update(piece)
                    file.write(piece)
            if digest.hexdigest() != sha256:
                raise CliError(f"{path!r} arrived damaged; try again.")
            if replace:
                os.replace(whole, name, src_dir_fd=here, dst_dir_fd=here)  # replaces a link, and does not follow it
            else:
                try:
                    os.link(whole, name, src_dir_fd=here, dst_dir_fd=here)
                except FileExistsError:
                    raise CliError(f"{path!r} exists below {folder}; use another folder, or --force.") from None
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(whole, dir_fd=here)


def _entered(stack: contextlib.ExitStack, name: str | Path, parent: int | None) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY if parent is None else _FOLDER
    descriptor = os.open(name, flags, dir_fd=parent)
    stack.callback(os.close, descriptor)
    return descriptor


def _exists(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
