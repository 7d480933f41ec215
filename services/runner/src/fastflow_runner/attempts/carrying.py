"""Step 6 of an attempt: carries its output to the bus, and what is in its folders into its sandbox and out of it. I/O.

Meanwhile it sends the sandbox heartbeats, or a stop.

This module handles lost connections. ``output`` handles the output itself, ``sandbox`` the channel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TypeAlias

from fastflow_contracts.log import get_logger
from fastflow_runner.attempts.attempt_sandbox import GONE, AttemptSandbox, Conversation, Handover
from fastflow_runner.attempts.context import AttemptContext
from fastflow_runner.attempts.folder_reader import FolderReader
from fastflow_runner.attempts.holding import Holding, pause
from fastflow_runner.attempts.recorder import Recorder
from fastflow_runner.attempts.side_task import side_task
from fastflow_runner.sandbox import DaemonUnreachable, Detached
from fastflow_runner.sandbox.events import Exited, Vanished
from fastflow_runner.sandbox.session import Session

log = get_logger(__name__)

Take: TypeAlias = Callable[[Exited, FolderReader], Coroutine[None, None, None]]
"""Takes what a script left in its folders, before its sandbox is removed."""


class Carrier:
    """Stays with one sandbox until its end."""

    def __init__(self, context: AttemptContext, holding: Holding, recorder: Recorder, sandbox: AttemptSandbox) -> None:
        self._presence = context.presence
        self._holding = holding
        self._recorder = recorder
        self._sandbox = sandbox

    async def attach(self) -> Conversation | None:
        """Attach to the sandbox and continue after the stored output. Waits for the daemon. None: it is gone."""
        return await self._sandbox.attach(self._recorder.pump.acked)

    async def carry(
        self, conversation: Conversation, given: Handover | None, take: Take | None = None
    ) -> Exited | Vanished:
        """Carry what the job's folders hold into the sandbox, and output until it ends. Attaches again if necessary.

        Args:
            given: the job that the sandbox was handed. It may have been lost with the connection, so it is handed over
                again if the sandbox asks for it. None: no job was handed over.
            take: called after the script's end, if it had folders that go back. Cancelled if the run must stop.

        Raises:
            ContentMismatch: what a folder should hold is not what it was; also what the source of it raises. No code
                of the run has started then.
        """
        run_id = self._holding.run.id
        while True:
            try:
                session = conversation.session
                async with (
                    side_task(self._steer(session), f"steer-{run_id}"),
                    side_task(self._deliver(session, given), f"deliver-{run_id}") as delivering,
                ):
                    end = await self._recorder.pump.drain(session)
                    if isinstance(end, Exited) and take is not None and end.folders:
                        await self._let_take(take, end, conversation)
                if delivering.done() and not delivering.cancelled():
                    await delivering
                return end
            except (Detached, DaemonUnreachable) as error:
                log.warning("sandbox connection lost", run=run_id, error=str(error))
            finally:
                await conversation.channel.close()
            await pause()
            attached = await self.attach()
            if attached is None:
                return GONE
            conversation = attached
            if given is not None and conversation.wants_job:
                await conversation.hand_over(given)

    async def _deliver(self, session: Session, given: Handover | None) -> None:
        """Bring the folders' files into a sandbox that has no whole job yet. If that fails, nothing starts there."""
        if given is None or not given.contents or session.phase not in ("waiting", "preparing"):
            return
        try:
            await session.deliver(given.job(), given.contents)
        except DaemonUnreachable:
            pass  # the other task sees it too
        except Exception:
            await session.stop()
            raise

    async def _let_take(self, take: Take, end: Exited, conversation: Conversation) -> None:
        """Let *take* work, but not longer than the run may go on. What was cancelled before its end is taken too."""
        holding = self._holding
        if holding.intent.abandoned is not None:
            return  # this runner leaves, or its word does not count any more
        reader = FolderReader(end, conversation, self.attach)
        stopping = asyncio.Event() if holding.stopping.is_set() else holding.stopping
        try:
            async with (
                side_task(take(end, reader), "take-folders") as taking,
                side_task(stopping.wait(), "stop") as stopped,
            ):
                await asyncio.wait({taking, stopped}, return_when=asyncio.FIRST_COMPLETED)
                if taking.done():
                    await taking
        finally:
            await reader.close()

    async def _steer(self, session: Session) -> None:
        """Send heartbeats while our presence is fresh; stop the script on request, or when we are cut off."""
        holding, presence = self._holding, self._presence
        while not holding.stopping.is_set():
            if presence.is_fresh:
                await session.beat(presence.dead_after_s)
            elif presence.is_cut_off and await holding.may_be_ours():
                holding.abandon(f"its runner was cut off from the bus for {presence.silent_s:.0f} s")
            with suppress(TimeoutError):
                async with asyncio.timeout(presence.lease.beat_s):
                    await holding.stopping.wait()
        await session.stop()
