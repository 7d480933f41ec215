"""Reads the contents of files with ``git cat-file --batch``. I/O."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from fastflow_syncer.errors import SyncerError
from fastflow_syncer.sources import process
from fastflow_syncer.sources.tree import TreeEntry


class UnreadableBlob(SyncerError):
    """git did not return the requested content."""


async def read_blobs(
    git: Sequence[str], env: Mapping[str, str], entries: Sequence[TreeEntry], *, timeout_s: float
) -> list[bytes]:
    """Read the contents of these files, in the same order.

    Args:
        git: The command.
        env: Its complete environment.
        entries: The files.
        timeout_s: Time limit in seconds.

    Raises:
        UnreadableBlob: A content is missing.
        CommandTimedOut: It took too long.
    """
    try:
        async with process.command(git, env=env, timeout_s=timeout_s) as batch:
            assert batch.stdin is not None
            assert batch.stdout is not None
            return [await _blob(batch.stdin, batch.stdout, entry) for entry in entries]
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise UnreadableBlob(f"git cat-file ended early: {error}") from error


async def _blob(asks: asyncio.StreamWriter, answers: asyncio.StreamReader, entry: TreeEntry) -> bytes:
    # One request at a time: with more, both sides could block on full pipes.
    asks.write(entry.oid.encode() + b"\n")
    await asks.drain()
    header = (await answers.readuntil(b"\n")).decode(errors="replace").split()
    if header != [entry.oid, "blob", str(entry.size_bytes)]:
        raise UnreadableBlob(f"object {entry.oid} is missing or of another kind or size")
    return (await answers.readexactly(entry.size_bytes + 1))[:-1]
