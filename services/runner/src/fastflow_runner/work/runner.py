"""Keeps the attempts of this runner under way, within its slots. I/O."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from fastflow_contracts.bus.decoding import Unreadable
from fastflow_contracts.bus.errors import BusError
from fastflow_contracts.log import get_logger
from fastflow_contracts.runs.run import Running, RunRecord
from fastflow_contracts.runs.state_machine import CommandRefused, Release
from fastflow_contracts.runs.store import NoSuchRun
from fastflow_runner.attempts.attempt import RunningAttempt
from fastflow_runner.attempts.context import AttemptContext
from fastflow_runner.sandbox import DaemonUnreachable, Held, SandboxError
from fastflow_runner.sandbox.naming import AttemptId

log = get_logger(__name__)

AGAIN_S = 1.0
DAEMON_S = 10.0
"""How long a claimed run waits for an absent daemon before it is given back. A daemon restart takes less, and if many
runners share the daemon, each of them would give the run back.
"""
GIVE_BACK_S = 5.0
"""Time limit for giving runs back when the runner ends."""


class AttemptRunner:
    """The attempts under way. At most ``slots`` begin; adopted ones may exceed that for a while."""

    def __init__(self, context: AttemptContext, slots: int) -> None:
        self._context = context
        self._slots_max = slots
        self._slots_taken = 0
        self.slots = asyncio.Semaphore(slots)
        self.attempts: dict[AttemptId, RunningAttempt] = {}
        self.claiming: set[AttemptId] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.is_paused = False
        """Whether it takes no work because its Docker daemon does not answer."""

    @property
    def busy(self) -> int:
        """The number of attempts under way."""
        return len(self.attempts)

    @property
    def free(self) -> int:
        """The number of free slots."""
        return self._slots_max - self._slots_taken

    def has(self, attempt: AttemptId) -> bool:
        """Whether *attempt* is under way or being claimed."""
        return attempt in self.attempts or attempt in self.claiming

    def spawn(self, steps: Coroutine[Any, Any, None], name: str, *, counted: bool = True) -> None:
        """Run *steps* as a task in an acquired slot (if *counted*), which is released when they end."""
        task = asyncio.create_task(steps, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        if counted:
            self._slots_taken += 1
            task.add_done_callback(self._release)

    def _release(self, _: asyncio.Task[None]) -> None:
        self._slots_taken -= 1
        self.slots.release()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task failed", task=task.get_name(), exc_info=error)

    async def keep(self, attempt: RunningAttempt) -> None:
        """Carry out *attempt*. An unexpected error of ours also ends it, so that no run hangs."""
        self.attempts[attempt.id] = attempt
        try:
            await attempt.carry_out()
        except DaemonUnreachable as error:
            self.is_paused = True
            log.warning("run not begun", run=attempt.id.run_id, error=str(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(DAEMON_S):
                    await self.until_daemon_answers()
            await attempt.give_back(f"runner {self._context.runner} could not begin: {error}")
        except Exception as error:
            log.exception("attempt failed", run=attempt.id.run_id, attempt=attempt.id.number)
            await attempt.fail(f"the runner failed: {type(error).__name__}: {error}")
        finally:
            del self.attempts[attempt.id]

    async def until_daemon_answers(self) -> None:
        """Wait until the daemon answers. Without it a runner can only give runs back, which is limited for each run."""
        while self.is_paused:
            try:
                await self._context.sandboxes.held()
            except SandboxError:
                await asyncio.sleep(AGAIN_S)
            else:
                log.info("docker connection restored")
                self.is_paused = False

    async def give_back(self, run: RunRecord, state: Running, why: str) -> None:
        release = Release(epoch=state.epoch, reason=f"runner {self._context.runner} {why}")
        changed = (await self._context.runs.change(run.ref, release)).run
        log.info("run given back", run=run.id, reason=release.reason, status=str(changed.status))

    async def adopt(self, run: RunRecord, held: Held | None) -> None:
        attempt = await RunningAttempt.adopt(self._context, run, held)
        if attempt is not None:
            log.info("run adopted", run=run.id, sandbox=held.name if held else None)
            self.attempts[attempt.id] = attempt
            counted = not self.slots.locked()
            if counted:  # else we exceed our slots for a while: the run is already running
                await self.slots.acquire()
            self.spawn(self.keep(attempt), f"adopted-{run.id}", counted=counted)

    async def finish(self, grace_s: float | None) -> None:
        """Wait up to *grace_s* seconds for attempts under way; None: as long as it takes."""
        if self._tasks:
            log.info("shutdown delayed", runs=len(self.attempts), grace_s=grace_s)
            await asyncio.wait(self._tasks, timeout=grace_s)

    def abandon_all(self, reason: str) -> None:
        """Stop all attempts under way; ``finish`` waits until that is recorded."""
        for attempt in self.attempts.values():
            attempt.abandon(reason)

    async def let_go(self) -> int:
        """Detach from attempts still under way, and give back those that have not begun.

        Returns:
            How many continue in their sandboxes, for the next runner.
        """
        held = {*self.attempts, *self.claiming}
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        try:
            async with asyncio.timeout(GIVE_BACK_S):
                return sum([await self._is_left(attempt) for attempt in held])
        except (TimeoutError, BusError, NoSuchRun, Unreadable) as error:
            log.warning("runs not given back", error=str(error) or type(error).__name__)
            return len(held)

    async def _is_left(self, attempt: AttemptId) -> bool:
        run = (await self._context.runs.find(attempt.run_id)).run
        state = run.state
        if run.is_over:  # its task was stopped between recording the end and removing the sandbox
            with suppress(SandboxError):
                await self._context.sandboxes.remove(self._context.name(attempt))
        if not isinstance(state, Running) or (state.runner, state.attempt) != (self._context.runner, attempt.number):
            return False
        if state.prepared_at is not None:
            return True
        try:
            await self.give_back(run, state, "was stopped")
        except CommandRefused:  # our own last write, that it is prepared, was stored after we looked
            return True
        return False
