"""Step 6 of an attempt: carries its output to the bus, and sends its sandbox heartbeats or a stop. I/O.

This module handles lost connections. ``output`` handles the output itself, ``sandbox`` the channel.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from fastflow_contracts.log import get_logger
from fastflow_runner.attempts.attempt_sandbox import GONE, AttemptSandbox, Conversation, Handover
from fastflow_runner.attempts.context import AttemptContext
from fastflow_runner.attempts.holding import Holding, pause
from fastflow_runner.attempts.recorder import Recorder
from fastflow_runner.attempts.side_task import side_task
from fastflow_runner.sandbox import DaemonUnreachable, Detached
from fastflow_runner.sandbox.events import Exited, Vanished
from fastflow_runner.sandbox.session import Session

log = get_logger(__name__)


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

    async def carry(self, conversation: Conversation, given: Handover | None) -> Exited | Vanished:
        """Carry output until the sandbox ends. Attaches again after a lost connection.

        Args:
            given: the job that the sandbox was handed. It may have been lost with the connection, so it is handed over
                again if the sandbox asks for it. None: no job was handed over.
        """
        run_id = self._holding.run.id
        while True:
            try:
                async with side_task(self._steer(conversation.session), f"steer-{run_id}"):
                    return await self._recorder.pump.drain(conversation.session)
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
