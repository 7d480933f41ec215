"""Takes work while a slot is free, runs its attempts, and cleans up what was left behind. I/O.

A hint is acknowledged as soon as the claim has succeeded or failed: from then on the record governs the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import aclosing, suppress
from typing import Any

from fastflow_contracts.bus import streams
from fastflow_contracts.bus.decoding import Unreadable, decoded
from fastflow_contracts.bus.errors import BusError
from fastflow_contracts.bus.pull import ConsumerGone, Message, Pull
from fastflow_contracts.bus.subjects import Kind
from fastflow_contracts.clock import now
from fastflow_contracts.ids import RunId
from fastflow_contracts.log import get_logger
from fastflow_contracts.runs.concurrency import Full
from fastflow_contracts.runs.messages import HINT, Hint
from fastflow_contracts.runs.run import Running, RunRecord
from fastflow_contracts.runs.runners import presences
from fastflow_contracts.runs.state_machine import CommandRefused, NotYet, Release
from fastflow_contracts.runs.store import NoSuchRun
from fastflow_runner.attempts.attempt import RunningAttempt
from fastflow_runner.attempts.context import AttemptContext
from fastflow_runner.attempts.orphans import OrphanDecision, decide
from fastflow_runner.sandbox import DaemonUnreachable, Held, SandboxError
from fastflow_runner.sandbox.naming import LABEL_KEEPER, LABEL_PREPARER, AttemptId, attempt_of, is_warm

log = get_logger(__name__)

AGAIN_S = 1.0
SOON_S = 10.0
"""A hint that is early by at most this much is redelivered when it is due: our clock may be behind the scheduler's."""
DAEMON_S = 10.0
"""How long a claimed run waits for an absent daemon before it is given back. A daemon restart takes less, and if many
runners share the daemon, each of them would give the run back.
"""
LAST_WORDS_S = 5.0
"""Time limit for giving runs back when the runner ends."""


class AttemptRunner:
    """One runner. It carries out at most ``slots`` attempts at once."""

    def __init__(self, context: AttemptContext, slots: int) -> None:
        self._context = context
        self._presences = presences(context.bus)
        self._slots = asyncio.Semaphore(slots)
        self._attempts: dict[AttemptId, RunningAttempt] = {}
        self._claiming: set[AttemptId] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._silence: dict[str, tuple[int, float]] = {}
        self._is_daemon_away = False
        self._recovered = 0
        """The bus's generation when the records were last read."""

    @property
    def is_paused(self) -> bool:
        """Whether it takes no work because its Docker daemon does not answer."""
        return self._is_daemon_away

    @property
    def busy(self) -> int:
        """The number of attempts under way."""
        return len(self._attempts)

    async def take(self, kind: Kind) -> None:
        """Take work of *kind* until cancelled. Attempts under way continue: see ``finish``."""
        async with Pull(self._context.bus, streams.WORK, kind) as pull:
            while True:
                # Wait for a free slot, but do not keep it while waiting: the other kind of work may need it.
                await self._slots.acquire()
                self._slots.release()
                await self._daemon()
                try:
                    taken = await pull.take(1)
                except ConsumerGone as error:
                    log.warning("consumer lost", error=str(error))
                    await asyncio.sleep(AGAIN_S)
                    continue
                for message in taken:
                    if self._slots.locked() or self._is_daemon_away:
                        await message.nak(AGAIN_S)
                        continue
                    await self._slots.acquire()
                    self._spawn(self._handle(message), f"hint-{message.sequence}")

    async def recover(self, why: str = "was restarted") -> None:
        """Continue every run that the records assign to us but no attempt here carries out; give back unprepared ones.

        At the start these are the runs of our previous process. Later they are runs that we hold without knowing,
        because the bus's answer got lost. Raises ``Replaced``.
        """
        generation = self._context.bus.generation
        await self.sweep()
        ours = await self._ours_by_the_records()
        await self._context.presence.renew()  # fails if another process has our id now, and with it these runs
        for run in ours:
            assert isinstance(run.state, Running)
            attempt = AttemptId(run.id, run.state.attempt)
            if attempt in self._attempts or attempt in self._claiming:
                continue
            try:
                if run.state.prepared_at is None:
                    await self._give_back(run, run.state, why)
                else:
                    await self._adopt(run, None)
            except (NoSuchRun, Unreadable, CommandRefused) as error:
                # Its record has changed since we read it; the epoch fences the rest.
                log.info("run skipped at recovery", run=run.id, error=str(error))
        self._recovered = generation

    async def keep_order(self) -> None:
        """Sweep periodically until cancelled. After the bus was away, also read the records: answers may be lost.

        Run this in one task only, after ``recover``: two tasks must not adopt at the same time.
        """
        while True:
            await asyncio.sleep(self._context.presence.lease.sweep_s)
            try:
                if self._context.bus.generation == self._recovered:
                    await self.sweep()
                else:
                    await self.recover("lost the response to its claim")
            except (SandboxError, BusError) as error:
                log.warning("sweep failed", error=str(error))

    async def sweep(self) -> None:
        """Adopt or remove every sandbox that no runner holds. What cannot be removed is tried again next time."""
        for held in await self._context.sandboxes.held():
            try:
                if preparer_of := held.labels.get(LABEL_PREPARER):
                    await self._sweep_preparer(held, preparer_of)
                else:
                    await (self._sweep_warm(held) if is_warm(held.name) else self._sweep_one(held))
            except SandboxError as error:
                log.warning("sandbox sweep failed", sandbox=held.name, error=str(error))

    async def _sweep_one(self, held: Held) -> None:
        attempt = attempt_of(held.name)
        if attempt is None or attempt in self._attempts:
            return
        try:
            run: RunRecord | None = (await self._context.runs.find(attempt.run_id)).run
        except NoSuchRun:
            run = None
        except Unreadable as error:
            log.warning("run record not read", sandbox=held.name, error=str(error))
            return
        gone = run is not None and isinstance(run.state, Running) and await self._is_silent(run.state.runner)
        if attempt in self._attempts:
            return  # claimed while we looked
        match decide(run, attempt.number, runner=self._context.runner, holder_is_gone=gone):
            case OrphanDecision.REMOVE:
                await self._context.sandboxes.remove(held.name)
                log.info("orphan sandbox removed", sandbox=held.name)
            case OrphanDecision.ADOPT:
                assert run is not None
                await self._adopt(run, held)
            case OrphanDecision.LEAVE:
                pass

    async def _sweep_warm(self, held: Held) -> None:
        """Remove warm sandboxes of dead runners. Our pool hides its own, so ours here are from our previous process."""
        keeper = held.labels.get(LABEL_KEEPER, "")
        if keeper == self._context.runner or await self._is_silent(keeper):
            await self._context.sandboxes.remove(held.name)
            log.info("warm sandbox removed", sandbox=held.name, runner=keeper)

    async def _sweep_preparer(self, held: Held, runner: str) -> None:
        """Remove preparers of dead runners: no other runner can use them. Ours are under way."""
        if await self._is_silent(runner):
            await self._context.sandboxes.remove(held.name)
            log.info("preparer removed", sandbox=held.name, runner=runner)

    async def finish(self, grace_s: float | None) -> None:
        """Wait up to *grace_s* seconds for attempts under way; None: as long as it takes."""
        if self._tasks:
            log.info("shutdown delayed", runs=len(self._attempts), grace_s=grace_s)
            await asyncio.wait(self._tasks, timeout=grace_s)

    def abandon_all(self, reason: str) -> None:
        """Stop all attempts under way; ``finish`` waits until that is recorded."""
        for attempt in self._attempts.values():
            attempt.abandon(reason)

    async def let_go(self) -> int:
        """Detach from attempts still under way, and give back those that have not begun.

        Returns:
            How many continue in their sandboxes, for the next runner.
        """
        held = {*self._attempts, *self._claiming}
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        try:
            async with asyncio.timeout(LAST_WORDS_S):
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
            await self._give_back(run, state, "was stopped")
        except CommandRefused:  # our own last write, that it is prepared, was stored after we looked
            return True
        return False

    def _spawn(self, steps: Coroutine[Any, Any, None], name: str, *, counted: bool = True) -> None:
        """Run *steps* as a task in an acquired slot (if *counted*), which is released when they end."""
        task = asyncio.create_task(steps, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        if counted:
            task.add_done_callback(lambda _: self._slots.release())

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task failed", task=task.get_name(), exc_info=error)

    async def _handle(self, message: Message) -> None:
        hint = decoded(HINT, message.data, where=message.subject)
        if hint is None:
            await message.term()
            return
        wanted = AttemptId(hint.run_id, hint.attempt)
        if wanted in self._attempts or wanted in self._claiming:
            await message.ack_soon()  # a duplicate hint
            return
        self._claiming.add(wanted)
        try:
            attempt = await self._claim(hint, is_fresh=message.delivered == 1)
        except NotYet as early:
            early_s = max(0.0, (early.until - now()).total_seconds())
            # An earlier one is stale: the scheduler hints again when the run is due.
            await (message.nak(early_s) if early_s <= SOON_S else message.ack_soon())
            return
        else:
            await message.ack_soon()
        finally:
            self._claiming.discard(wanted)
        if attempt is not None:
            await self._keep(attempt)

    async def _claim(self, hint: Hint, *, is_fresh: bool) -> RunningAttempt | None:
        """None if there is nothing to carry out. Raises ``NotYet``."""
        while True:
            try:
                return await RunningAttempt.claim(self._context, hint, is_fresh=is_fresh)
            except NotYet:
                raise
            except Full:
                return None  # the scheduler hints again when the limit allows it
            except (NoSuchRun, Unreadable, CommandRefused) as error:
                log.info("stale hint ignored", run=hint.run_id, error=str(error))
                return None
            except BusError as error:
                # The claim may be stored nevertheless, and then no other runner handles this run.
                log.warning("claim delayed", run=hint.run_id, error=str(error))
                is_fresh = False
                await asyncio.sleep(AGAIN_S)

    async def _keep(self, attempt: RunningAttempt) -> None:
        """Carry out *attempt*. An unexpected error of ours also ends it, so that no run hangs."""
        self._attempts[attempt.id] = attempt
        try:
            await attempt.carry_out()
        except DaemonUnreachable as error:
            self._is_daemon_away = True
            log.warning("run not begun", run=attempt.id.run_id, error=str(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(DAEMON_S):
                    await self._daemon()
            await attempt.give_back(f"runner {self._context.runner} could not begin: {error}")
        except Exception as error:
            log.exception("attempt failed", run=attempt.id.run_id, attempt=attempt.id.number)
            await attempt.fail(f"the runner failed: {type(error).__name__}: {error}")
        finally:
            del self._attempts[attempt.id]

    async def _daemon(self) -> None:
        """Wait until the daemon answers. Without it a runner can only give runs back, which is limited for each run."""
        while self._is_daemon_away:
            try:
                await self._context.sandboxes.held()
            except SandboxError:
                await asyncio.sleep(AGAIN_S)
            else:
                log.info("docker connection restored")
                self._is_daemon_away = False

    async def _give_back(self, run: RunRecord, state: Running, why: str) -> None:
        release = Release(epoch=state.epoch, reason=f"runner {self._context.runner} {why}")
        changed = (await self._context.runs.change(run.ref, release)).run
        log.info("run given back", run=run.id, reason=release.reason, status=str(changed.status))

    async def _adopt(self, run: RunRecord, held: Held | None) -> None:
        attempt = await RunningAttempt.adopt(self._context, run, held)
        if attempt is not None:
            log.info("run adopted", run=run.id, sandbox=held.name if held else None)
            self._attempts[attempt.id] = attempt
            counted = not self._slots.locked()
            if counted:  # else we exceed our slots for a while: the run is already running
                await self._slots.acquire()
            self._spawn(self._keep(attempt), f"adopted-{run.id}", counted=counted)

    async def _is_silent(self, runner: str) -> bool:
        """Whether *runner* announced its end, or has not renewed its presence for a whole lease.

        The silence is measured here, between two or more calls.
        """
        if runner == self._context.runner:
            return False
        presence, revision = await self._presences.load(runner)
        at = asyncio.get_running_loop().time()
        seen_revision, since = self._silence.get(runner, (revision, at))
        if seen_revision != revision:
            since = at
        self._silence[runner] = (revision, since)
        if presence is None:
            return at - since > self._context.presence.lease.lease_s
        return presence.is_gone(silent_s=at - since)

    async def _ours_by_the_records(self) -> list[RunRecord]:
        found: dict[RunId, RunRecord] = {}
        async with aclosing(self._context.runs.records.once()) as batches:
            async for batch in batches:
                for _, run, _, _ in batch.changes:
                    if run and isinstance(run.state, Running) and run.state.runner == self._context.runner:
                        found[run.id] = run
        return list(found.values())
