"""Fetches files of Git LFS with ``git lfs``, where it is installed. I/O.

``git lfs smudge`` turns a pointer into its file. It asks the repository's own server with the repository's own
credentials; an ``.lfsconfig`` in the repository, which could name another server, is not read.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

from fastflow_contracts.pipelines.folder.lfs import LfsPointer
from fastflow_syncer.errors import SyncerError
from fastflow_syncer.sources import process
from fastflow_syncer.sources.process import CommandTimedOut

SMUDGE_TIMEOUT_S: Final = 120.0
"""Time limit of one file."""
_TEXT_BYTES_MAX: Final = 64 * 1024
_SLACK_BYTES: Final = 1024 * 1024


class NotInLfs(SyncerError):
    """The file could not be fetched; the message completes a sentence about the file."""


async def is_installed(env: Mapping[str, str]) -> bool:
    """Whether git knows the command ``lfs``."""
    try:
        done = await process.run(
            ("git", "lfs", "version"), env=env, timeout_s=SMUDGE_TIMEOUT_S, stdout_bytes_max=_TEXT_BYTES_MAX
        )
    except CommandTimedOut:
        return False
    return done.code == 0


async def smudge(
    git: Sequence[str], env: Mapping[str, str], pointer: LfsPointer, *, timeout_s: float
) -> tuple[bytes | None, str]:
    """Fetch one file, from the mirror's own storage if it is there.

    Args:
        git: The git command with its options, up to the subcommand.
        env: The complete environment, with the credentials.
        pointer: The file.
        timeout_s: Time limit in seconds.

    Returns:
        The content, or None and what git said.

    Raises:
        CommandTimedOut: It took too long.
    """
    argv = (*git, "lfs", "smudge")
    try:
        async with process.command(
            argv,
            env={**env, "GIT_LFS_SKIP_SMUDGE": "0"},
            timeout_s=timeout_s,
            file_bytes_max=pointer.size_bytes + _SLACK_BYTES,
        ) as running:
            assert running.stdin is not None
            assert running.stdout is not None
            assert running.stderr is not None
            running.stdin.write(_text(pointer))
            running.stdin.close()
            errors = asyncio.create_task(process.read_tail(running.stderr), name="git-lfs-stderr")
            try:
                data = await process.read_all(running.stdout, pointer.size_bytes + _SLACK_BYTES)
                said = await errors
            finally:
                errors.cancel()
            await running.wait()
    except (process.OutputTooLarge, ConnectionError) as error:
        return None, str(error)
    if hashlib.sha256(data).hexdigest() != pointer.sha256:
        return None, said.decode(errors="replace")
    return data, ""


def _text(pointer: LfsPointer) -> bytes:
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{pointer.sha256}\nsize {pointer.size_bytes}\n"
    return text.encode()
