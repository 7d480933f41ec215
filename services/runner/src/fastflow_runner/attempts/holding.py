"""The record of a run while this runner holds it: changes to it, and whether the run must stop. I/O.

In the runner, only this module changes the record of a claimed run. The epoch fences every change.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from fastflow_contracts.bus.bucket import Bucket
from fastflow_contracts.bus.errors import BusError
from fastflow_contracts.bus.subjects import PAUSE_KEY, RunRef
from fastflow_contracts.log import get_logger
from fastflow_contracts.pipelines.pauses import PauseSet
from fastflow_contracts.runs.run import RunInput, Running, RunRecord
from fastflow_contracts.runs.state_machine import CommandRefused, Finish, Prepare, Release
from fastflow_contracts.runs.store import Changed, NoSuchRun, RunStore, Stored
from fastflow_runner.attempts.outcome import Intent
from fastflow_runner.sandbox.naming import AttemptId

log = get_logger(__name__)

AGAIN_S = 1.0
"""Pause between two tries while the bus or the daemon is away."""
LOOK_S = 1.0
"""How long to wait for a run's record when time is short."""


class NotOurs(Exception):
    """The run has another holder, or none: leave its sandbox alone."""


class StoppedEarly(Exception):
    """The run must be stopped, and none of its code has run."""


class Holding:
    """One attempt that this runner holds."""

    def __init__(self, runs: RunStore, held: Stored) -> None:
        """*held*: the run's record; the run must be running."""
        assert isinstance(held.run.state, Running)
        self.run: RunRecord = held.run
        """The run as it was claimed; ``state`` is newer."""
        self.state: Running = held.run.state
        self.intent = Intent()
        self.stopping = asyncio.Event()
        """Set as soon as the run must stop, for the reason in ``intent``."""
        self._runs = runs
        self._held = held

    @property
    def ref(self) -> RunRef:
        """The run."""
        return self.run.ref

    @property
    def id(self) -> AttemptId:
        """The attempt."""
        return AttemptId(self.run.id, self.state.attempt)

    def cancel(self) -> None:
        """Stop the run because a user cancelled it."""
        self._stop(Intent(cancelled=True))

    def abandon(self, reason: str) -> None:
        """Stop the run for a reason of the runner's own, unless it is already being stopped."""
        self._stop(Intent(abandoned=reason))

    def look(self) -> None:
        """Check whether the record already asks for a stop."""
        if self.state.cancel_requested_at is not None:
            self.cancel()

    async def stop_here(self) -> None:
        """Raise if the run must stop. Call this only before any of its code runs.

        Raises:
            StoppedEarly: the run must stop, and that must be recorded.
            NotOurs: the run was given back, because it was not prepared yet.
        """
        if not self.stopping.is_set():
            return
        if self.intent.abandoned is not None and self.state.prepared_at is None:
            await self.change(Release(epoch=self.state.epoch, reason=self.intent.abandoned))
            raise NotOurs(f"given back: {self.intent.abandoned}")
        raise StoppedEarly

    async def change(self, command: Prepare | Release | Finish) -> Changed:
        """Apply *command*. Waits for the bus as long as it takes. Raises ``NotOurs``."""
        while True:
            try:
                changed = await self._runs.change(self.ref, command, known=self._held)
            except (NoSuchRun, CommandRefused) as error:
                raise NotOurs(str(error)) from error
            except BusError as error:
                log.warning("command delayed", run=self.run.id, command=type(command).__name__, error=str(error))
                await pause()
                continue
            self._held, state = changed.stored, changed.run.state
            if isinstance(state, Running) and state.epoch != self.state.epoch:
                raise NotOurs(f"runner {state.runner} holds it now")
            if isinstance(state, Running):
                self.state = state
                self.look()
            elif isinstance(command, Prepare):  # it was taken away meanwhile, and another runner may claim it
                raise NotOurs(f"it is {changed.run.status} now")
            else:
                log.info("attempt ended", run=self.run.id, attempt=self.state.attempt, status=str(changed.run.status))
            return changed

    async def give_back(self, reason: str) -> None:
        """Let another runner begin the run: none of its code has run here, and no attempt is used up."""
        with suppress(NotOurs):
            await self.change(Release(epoch=self.state.epoch, reason=reason))

    async def stop_if_paused(self, pauses: Bucket[str, PauseSet]) -> None:
        """Give the run back if a pause holds it. Call this before anything is done for it. Raises ``NotOurs``.

        The claim is stored before the pause is read. So a run that goes on was claimed before the pause was stored:
        once a pause is stored, no run begins.
        """
        while not self.run.attempts:
            try:
                stored = await pauses.load(PAUSE_KEY, is_exact=True)
            except BusError as error:
                log.warning("pause not read", run=self.run.id, error=str(error))
                await pause()
                continue
            if stored.value is not None and stored.value.of(self.run.pipeline) is not None:
                await self.change(Release(epoch=self.state.epoch, reason="paused", held=True))
                raise NotOurs("it is paused")
            return

    async def read_input(self) -> RunInput:
        """Read the run's input. Waits for the bus as long as it takes. Raises ``NoSuchRun``."""
        while True:
            try:
                return await self._runs.input(self.run)
            except BusError as error:
                log.warning("input delayed", run=self.run.id, error=str(error))
                await pause()

    async def may_be_ours(self) -> bool:
        """Whether the run may still be ours: true unless its record names another holder.

        A runner that was frozen wakes up cut off. By then another runner may hold its sandbox and must not find it
        stopped; ``watch`` then releases it.
        """
        try:
            async with asyncio.timeout(LOOK_S):
                run = (await self._runs.load(self.ref)).run
        except (BusError, NoSuchRun, TimeoutError):
            return True
        return isinstance(run.state, Running) and run.state.epoch == self.state.epoch

    def _stop(self, intent: Intent) -> None:
        if self.intent == Intent():  # the first reason counts
            self.intent = intent
            self.stopping.set()


async def pause() -> None:
    """Wait a moment, because the bus or the daemon is away."""
    await asyncio.sleep(AGAIN_S)
