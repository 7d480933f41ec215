"""Fetches what a script left in its folders, over one session with its ended job.

The runner asks for a few pieces ahead, so at most ``PIECES_AHEAD`` are on their way, wherever the bytes go afterwards.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator
from typing import Final

from fastflow_runner.sandbox.folders import FileLost
from fastflow_runner.sandbox.session import Session

PIECE_BYTES: Final = 256 * 1024
PIECES_AHEAD: Final = 4


async def fetched(
    session: Session, folder: str, number: int, offset: int, size_bytes: int
) -> AsyncGenerator[bytes, None]:
    """Yield the bytes of a file of an ended job, from *offset* to *size_bytes*. One iterator at a time.

    Args:
        folder: its name.
        number: of the file in ``LeftFolder.files``.

    Raises:
        FileLost: the file cannot be read.
        SandboxGone: the sandbox has ended.
        Detached, DaemonUnreachable: the connection is lost; go on in another session.
        SessionError: the supervisor violated the protocol.
    """
    asked: deque[int] = deque()
    at = offset
    while at < size_bytes or asked:
        while at < size_bytes and len(asked) < PIECES_AHEAD:
            piece_bytes = min(PIECE_BYTES, size_bytes - at)
            asked.append(await session.fetch(folder, number, at, piece_bytes))
            at += piece_bytes
        is_file, data = await session.part(asked.popleft())
        if not is_file:
            raise FileLost(data.decode(errors="replace"))
        yield data
