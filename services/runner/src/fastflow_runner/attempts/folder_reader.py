"""Reads what a script left in its folders, over as many connections to its sandbox as it takes. I/O."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from fastflow_contracts.log import get_logger
from fastflow_runner.attempts.attempt_sandbox import Conversation
from fastflow_runner.attempts.holding import pause
from fastflow_runner.sandbox import DaemonUnreachable, Detached
from fastflow_runner.sandbox.events import Exited
from fastflow_runner.sandbox.fetching import fetched
from fastflow_runner.sandbox.folders import SandboxGone

log = get_logger(__name__)


class FolderReader:
    """The folders of one ended job."""

    def __init__(
        self, end: Exited, conversation: Conversation, attach: Callable[[], Awaitable[Conversation | None]]
    ) -> None:
        """*attach* opens another conversation with the sandbox; None: it is gone."""
        self._end = end
        self._conversation = conversation
        self._attach = attach

    async def read(self, folder: str, number: int) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of a file: *number* counts the files of ``LeftFolder``. One iterator at a time.

        Goes on at the same byte after a lost connection. Raises ``FileLost``, ``SandboxGone``, ``SessionError``.
        """
        size_bytes, at = self._end.folders[folder].files[number].size_bytes, 0
        while at < size_bytes:
            try:
                async with aclosing(fetched(self._conversation.session, folder, number, at, size_bytes)) as pieces:
                    async for piece in pieces:
                        at += len(piece)
                        yield piece
            except (Detached, DaemonUnreachable) as error:
                log.warning("sandbox connection lost", folder=folder, error=str(error))
                await self.close()
                await pause()
                conversation = await self._attach()
                if conversation is None:
                    raise SandboxGone("its sandbox was killed or removed from outside.") from error
                self._conversation = conversation

    async def close(self) -> None:
        """Detach from the sandbox."""
        await self._conversation.channel.close()
