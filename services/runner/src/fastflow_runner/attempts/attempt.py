"""One attempt of one run, from the hint to the recorded end. I/O; the order of its steps is what keeps the promises.

1. Claim the run by compare-and-set; only then is the hint acknowledged.
2. Make its environment stand ready.
3. Open the sandbox, whose name is the attempt's: a second one is refused by the daemon itself.
4. Record that all of this stands, before
5. the sandbox is handed its job. Until then a crash gives the run back unharmed; from then on there is a sandbox that
   knows how far it got.
6. Carry its output to the bus, all of it, before
7. the end is recorded, before
8. the sandbox is removed. What is found in a sandbox after a crash is still to be recorded, and nothing else is.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any, Self

from fastflow_contracts.bus.errors import BusError
from fastflow_contracts.bus.subjects import ALL_RUNNING, RunRef
from fastflow_contracts.clock import now
from fastflow_contracts.runs.concurrency import ConcurrencyLimit, is_running
from fastflow_contracts.runs.logs import Chunk
from fastflow_contracts.runs.messages import Hint
from fastflow_contracts.runs.run import ErrorType, Pending, Run, RunInput, Running
from fastflow_contracts.runs.state_machine import (
    Adopt,
    Claim,
    CommandRefused,
    Finish,
    Outcome,
    Prepare,
    Release,
)
from fastflow_contracts.runs.store import NoSuchRun, Stored
from fastflow_runner.attempts.code import Code, NoCode, fetch
from fastflow_runner.attempts.context import Tools
from fastflow_runner.attempts.job import job
from fastflow_runner.attempts.outcome import Intent, outcome
from fastflow_runner.attempts.watch import watch
from fastflow_runner.environments.environments import EnvironmentFailed
from fastflow_runner.environments.store import Prepared
from fastflow_runner.guest.cells.masking import SECRET_CHARACTERS_MIN, is_maskable
from fastflow_runner.output.cell_writer import Cellbook
from fastflow_runner.output.lines import Assembler
from fastflow_runner.output.log_writer import Fenced, Logbook
from fastflow_runner.output.pump import Pump
from fastflow_runner.sandbox import (
    AlreadyExists,
    Channel,
    Detached,
    Held,
    Missing,
    SandboxError,
    Unreachable,
)
from fastflow_runner.sandbox.naming import AttemptId
from fastflow_runner.sandbox.session import Exited, Session, SessionError, Superseded, Vanished
from fastflow_runner.secrets import SecretError

log = logging.getLogger(__name__)

AGAIN_S = 1.0
BEGINNINGS_MAX = 5
"""How often a sandbox may find that its environment was taken away a moment ago."""
LOOK_S = 1.0
"""How long the bus may take to say whose a run is, when time is short."""


class NotOurs(Exception):
    """The run has another holder, or none: leave its sandbox alone."""


class Stopped(Exception):
    """It is to be stopped, and none of its code has run."""


class Attempt:
    """One attempt that this runner holds. Made by ``claim`` or ``adopt``; then call ``carry_out`` once."""

    def __init__(self, tools: Tools, held: Stored, code: Code | NoCode, sandbox: Held | None = None) -> None:
        run = held.run
        assert isinstance(run.state, Running)
        self._tools = tools
        self._held = held
        self._run = run
        self._state = run.state
        self._code = code
        self._sandbox = sandbox
        self._stop = asyncio.Event()
        self._intent = Intent()
        self._reporting = False
        self._given = RunInput()
        self._secrets: dict[str, str] = {}
        self._logbook = Logbook(tools.bus, run.ref, self._state.attempt)
        self._cellbook = Cellbook(tools.bus, run.ref, self._state.attempt)
        self._pump = self._new_pump(None)

    @classmethod
    async def claim(cls, tools: Tools, hint: Hint, *, is_fresh: bool) -> Self | None:
        """Take the attempt that *hint* names, which is not under way here; None if it is not to be had.

        *is_fresh*: nobody, this runner included, has acted on this very hint before. Raises ``NoSuchRun``,
        ``CommandRefused`` (``NotYet``), ``room.Full``, and what the bus raises.
        """
        ref, number = RunRef(hint.pipeline, hint.run_id), hint.attempt
        known = Stored(hint.run, hint.revision) if hint.run and is_fresh else await tools.runs.load(ref)
        state = known.run.state
        if _is_claimed(known.run, number, tools.runner):
            return await cls.adopt(tools, known.run, None)  # its answer was lost
        if not isinstance(state, Pending) or state.attempt != number:
            return None
        code = await fetch(tools, known.run)
        command = Claim(attempt=number, runner=tools.runner)
        most = hint.concurrent_max
        limit = ConcurrencyLimit(key=ALL_RUNNING, most=most, is_active=is_running) if most else None
        changed = await tools.runs.change(ref, command, known=known, limit=limit)
        if changed.events:
            return cls(tools, changed.stored, code)
        if _is_claimed(changed.run, number, tools.runner):  # its answer was lost, and somebody wrote since then
            return await cls.adopt(tools, changed.run, None)
        return None

    @classmethod
    async def adopt(cls, tools: Tools, run: Run, sandbox: Held | None) -> Self | None:
        """Take over a running run whose holder is gone, with its *sandbox* (None: that is gone too).

        None if somebody else was faster.
        """
        assert isinstance(run.state, Running)
        code = await fetch(tools, run)
        changed = await tools.runs.change(run.ref, Adopt(runner=tools.runner, epoch=run.state.epoch))
        return cls(tools, changed.stored, code, sandbox) if changed.events else None

    @property
    def id(self) -> AttemptId:
        return AttemptId(self._run.id, self._state.attempt)

    @property
    def ref(self) -> RunRef:
        return self._run.ref

    def abandon(self, reason: str) -> None:
        """Stop it for a reason of the runner's own, unless it is being stopped already."""
        if self._intent == Intent():
            self._intent = Intent(abandoned=reason)
            self._stop.set()

    async def carry_out(self) -> None:
        """To the recorded end, or until the run is not ours any more.

        Raises ``Unreachable`` if the daemon is away while no code of it can have run: then ``give_back``.
        """
        tools, run = self._tools, self._run
        watching = asyncio.create_task(
            watch(tools.bus, tools.runs, run, on_cancel=self._cancel), name=f"watch-{run.id}"
        )
        working = asyncio.create_task(self._work(), name=f"work-{run.id}")
        try:
            await asyncio.wait({watching, working}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done() and not self._reporting:
                raise NotOurs("its record says so")
            await working  # what the watch saw was our own report
        except (NotOurs, Fenced, Superseded) as reason:
            log.warning("run %s is let go: %s", run.id, reason)
        finally:
            await _end(watching, working)

    def _hear(self) -> None:
        """The record may say already that it is to be stopped."""
        if self._state.cancel_requested_at is not None:
            self._cancel()

    def _cancel(self) -> None:
        if self._intent == Intent():
            self._intent = Intent(cancelled=True)
            self._stop.set()

    async def _work(self) -> None:
        """The steps, then the record, then the end of the sandbox."""
        try:
            result = await self._steps()
        except (SandboxError, SessionError) as error:
            if isinstance(error, Superseded) or (isinstance(error, Unreachable) and self._state.prepared_at is None):
                raise
            result = await self._give_up(ErrorType.ENVIRONMENT_ERROR, f"its sandbox failed: {error}")
        except EnvironmentFailed as error:
            said = "the environment could not be prepared"  # uv's own words stand above it
            result = await self._give_up(ErrorType.ENVIRONMENT_ERROR, str(error), said=said)
        except Stopped:
            result = await self._stopped_early()
        except SecretError as error:
            result = await self._give_up(ErrorType.SECRET_ERROR, str(error))
        self._reporting = True
        await self._change(Finish(epoch=self._state.epoch, outcome=result))
        await self.remove_sandbox()

    async def _steps(self) -> Outcome:
        tools, run = self._tools, self._run
        self._hear()
        # Only a former holder can have written into this attempt's log; whatever is said goes on after its last word.
        last = await self._resume() if run.epoch > 1 else None
        self._pump = self._new_pump(last)
        if isinstance(self._code, NoCode):
            return await self._give_up(ErrorType.ENVIRONMENT_ERROR, self._code.reason)
        self._given = await self._input()
        self._secrets = tools.secrets.open(self._given.encrypted_env, pipeline=run.pipeline)
        self._pump = self._new_pump(last)  # knows what to mask
        if self._state.prepared_at is None:
            await self._note_secrets()
            return await self._begin(self._code, self._code.ready)
        return await self._go_on(self._code)

    async def _input(self) -> RunInput:
        """What was given, however long the bus is away. Raises ``NoSuchRun``."""
        while True:
            try:
                return await self._tools.runs.input(self._run)
            except BusError as error:
                log.warning("run %s: its input waits: %s", self._run.id, error)
                await asyncio.sleep(AGAIN_S)

    async def _note_secrets(self) -> None:
        """What works, and could be better: tokens from before they were bound, values too short to be masked."""
        if names := self._tools.secrets.unbound(self._given.encrypted_env):
            await self._pump.say(
                f"[fastflow] The token of {', '.join(names)} opens in any pipeline; bind it to this one with "
                f"`fastflow keys rotate --bind`."
            )
        if short := [name for name, value in self._secrets.items() if value and not is_maskable(value)]:
            await self._pump.say(
                f"[fastflow] The value of {', '.join(short)} is too short to be masked: it would stand in this log if "
                f"the script printed it. Use one of {SECRET_CHARACTERS_MIN} characters or more."
            )

    async def _begin(self, code: Code, ready: tuple[Prepared, ...] | None) -> Outcome:
        """From nothing; anew, if the environment was taken away before the sandbox could hold it."""
        for _ in range(BEGINNINGS_MAX):
            end = await self._begin_once(code, ready or await self._prepare(code))
            if not _found_no_environment(end):
                break
            ready = None
            for request in code.requests:
                self._tools.environments.forget(request)
        return await self._conclude(end)

    async def _begin_once(self, code: Code, prepared: tuple[Prepared, ...]) -> Exited | Vanished:
        await self._stop_here()
        channel = await self._open()
        try:
            version = self._tools.environments.version(code.requests[0])
            await self._change(Prepare(epoch=self._state.epoch, python_version=version))
            await self._stop_here()
            session = await Session.start(channel, self._job(prepared), code.bundle)
        except BaseException:
            await channel.close()
            raise
        return await self._follow(channel, session, code, prepared)

    async def _go_on(self, code: Code) -> Outcome:
        """With what a former holder left."""
        if self._sandbox is None:  # it is removed only after the end is recorded, so somebody else did that,
            await self._outlast()  # or it is elsewhere
            return await self._give_up(ErrorType.LOST, f"runner {self._tools.runner} was restarted while it ran")
        attached = await self._attach()
        if attached is None:
            return await self._conclude(Vanished(exit_code=None, oom_killed=False))
        channel, session = attached
        prepared = code.ready
        if self._sandbox.running and _wants_job(session):
            try:
                prepared = prepared or await self._prepare(code)
                await self._stop_here()
                await session.hand_over(self._job(prepared), code.bundle)
            except BaseException:
                await channel.close()
                raise
        end = await self._follow(channel, session, code, prepared)
        return await (self._begin(code, None) if _found_no_environment(end) else self._conclude(end))

    async def _prepare(self, code: Code) -> tuple[Prepared, ...]:
        """Make the environments, unless the run is to be stopped first."""
        preparing = asyncio.create_task(self._prepare_each(code), name=f"prepare-{self._run.id}")
        stopping = asyncio.create_task(self._stop.wait(), name=f"stop-{self._run.id}")
        try:
            await asyncio.wait({preparing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _end(preparing, stopping)
        await self._stop_here()
        return preparing.result()

    async def _stop_here(self) -> None:
        """Go no further if it is to be stopped, while none of its code has run. Raises ``Stopped``, ``NotOurs``."""
        if not self._stop.is_set():
            return
        if self._intent.abandoned is not None and self._state.prepared_at is None:
            await self._change(Release(epoch=self._state.epoch, reason=self._intent.abandoned))
            raise NotOurs(f"given back: {self._intent.abandoned}")
        raise Stopped

    async def _prepare_each(self, code: Code) -> tuple[Prepared, ...]:
        """One after the other, so that their words do not mix. Raises ``EnvironmentFailed``, ``Unreachable``."""
        prepare, say = self._tools.environments.prepare, self._pump.say
        try:
            return tuple([await prepare(request, say=say) for request in code.requests])
        except EnvironmentFailed as error:
            if isinstance(error.__cause__, Unreachable):
                raise Unreachable(str(error)) from error
            raise

    async def _open(self) -> Channel:
        """A sandbox of this attempt that exists already is of a former holder: ours is the higher epoch."""
        spec = self._tools.spec(self._run)
        for number in range(1, self._state.attempt):  # none is left, unless a removal failed or is still under way
            await self._tools.sandboxes.remove(self._tools.name(AttemptId(self._run.id, number)))
        try:
            return await self._tools.sandboxes.open(spec)
        except AlreadyExists:
            await self._tools.sandboxes.remove(spec.name)
            return await self._tools.sandboxes.open(spec)

    async def _follow(
        self, channel: Channel, session: Session, code: Code, prepared: tuple[Prepared, ...] | None
    ) -> Exited | Vanished:
        """Carry output until the end, attaching again whenever only the connection was lost.

        The job may have been lost with it, and is handed over again. *prepared* None: it was not.
        """
        while True:
            steering = asyncio.create_task(self._steer(session), name=f"steer-{self._run.id}")
            try:
                return await self._pump.drain(session)
            except (Detached, Unreachable) as error:
                log.warning("run %s: lost sight of its sandbox, attaching again: %s", self._run.id, error)
            finally:
                await _end(steering)
                await channel.close()
            await asyncio.sleep(AGAIN_S)
            attached = await self._attach()
            if attached is None:
                return Vanished(exit_code=None, oom_killed=False)
            channel, session = attached
            if prepared is not None and _wants_job(session):
                await session.hand_over(self._job(prepared), code.bundle)

    async def _attach(self) -> tuple[Channel, Session] | None:
        """To its sandbox, however long the daemon is away. None: it is gone."""
        spec = self._tools.spec(self._run)
        while True:
            try:
                held = next((held for held in await self._tools.sandboxes.held() if held.name == spec.name), None)
                if held is None:
                    return None
                channel = await self._tools.sandboxes.attach(held)
                return channel, await Session.resume(channel, self._pump.acked)
            except Missing:
                return None
            except (Detached, Unreachable) as error:
                log.warning("run %s: not attached yet: %s", self._run.id, error)
                await asyncio.sleep(AGAIN_S)

    async def _steer(self, session: Session) -> None:
        """Heartbeats while the bus knows that we live; a stop when it is asked for, or when we are cut off."""
        beacon = self._tools.beacon
        while not self._stop.is_set():
            if beacon.is_fresh:
                await session.beat(beacon.dead_after_s)
            elif beacon.is_cut_off and await self._may_be_ours():
                self.abandon(f"its runner was cut off from the bus for {beacon.silent_s:.0f} s")
            with suppress(TimeoutError):
                async with asyncio.timeout(beacon.lease.beat_s):
                    await self._stop.wait()
        await session.stop()

    async def _may_be_ours(self) -> bool:
        """False if the record says otherwise. A runner that was frozen wakes up cut off, and its sandbox may be held by
        another one by now, who must not find it stopped; ``watch`` lets go of it then.
        """
        try:
            async with asyncio.timeout(LOOK_S):
                run = (await self._tools.runs.load(self.ref)).run
        except (BusError, NoSuchRun, TimeoutError):
            return True
        return isinstance(run.state, Running) and run.state.epoch == self._state.epoch

    async def _outlast(self) -> None:
        """Wait for the end of a sandbox that a runner of our id has left on another host: no runner, no heartbeats."""
        if unseen_s := self._tools.beacon.unseen_s:
            await self._pump.say(f"[fastflow] Its sandbox is not on this host; it has stopped in {unseen_s:.0f} s.")
            await asyncio.sleep(unseen_s)

    async def _conclude(self, end: Exited | Vanished) -> Outcome:
        await self._pump.close()
        return outcome(end, self._intent, self._pump.observed(), now=now())

    async def _stopped_early(self) -> Outcome:
        if self._intent.abandoned is not None:
            return await self._give_up(ErrorType.LOST, self._intent.abandoned)
        await self._pump.close()
        return Outcome(finished_at=now(), stopped=True, log_sequence=self._logbook.sequence)

    async def _give_up(self, why: ErrorType, message: str, *, said: str | None = None) -> Outcome:
        """The attempt fails for no fault of the script's; its log says why, in *said* or else in *message*."""
        await self._pump.say(f"[fastflow] {said or message}")
        await self._pump.close()
        return Outcome(
            finished_at=now(),
            error_type=why,
            error_message=message,
            log_sequence=self._logbook.sequence,
            cell_sequence=self._cellbook.sequence,
        )

    async def give_back(self, reason: str) -> None:
        """Let somebody else begin it: none of its code can have run here, and no attempt is used up."""
        with suppress(NotOurs):
            await self._change(Release(epoch=self._state.epoch, reason=reason))

    async def fail(self, message: str) -> None:
        """Record that the runner itself failed to carry the attempt out."""
        lost = Outcome(
            finished_at=now(),
            error_type=ErrorType.LOST,
            error_message=message,
            log_sequence=self._logbook.sequence,
            cell_sequence=self._cellbook.sequence,
        )
        with suppress(NotOurs):
            await self._change(Finish(epoch=self._state.epoch, outcome=lost))
            await self.remove_sandbox()

    async def remove_sandbox(self) -> None:
        """Its end is recorded. If the daemon is away, the next sweep finds it."""
        try:
            await self._tools.sandboxes.remove(self._tools.spec(self._run).name)
        except SandboxError as error:
            log.warning("the sandbox of run %s is left for later: %s", self._run.id, error)

    async def _change(self, command: Prepare | Release | Finish) -> None:
        """Apply *command*, however long the bus is away. Raises ``NotOurs``."""
        while True:
            try:
                changed = await self._tools.runs.change(self.ref, command, known=self._held)
            except (NoSuchRun, CommandRefused) as error:
                raise NotOurs(str(error)) from error
            except BusError as error:
                log.warning("run %s: %s waits: %s", self._run.id, type(command).__name__, error)
                await asyncio.sleep(AGAIN_S)
                continue
            self._held, state = changed.stored, changed.run.state
            if isinstance(state, Running) and state.epoch != self._state.epoch:
                raise NotOurs(f"runner {state.runner} holds it now")
            if isinstance(state, Running):
                self._state = state
                self._hear()
            elif isinstance(command, Prepare):  # it was taken away meanwhile, and may be anybody's soon
                raise NotOurs(f"it is {changed.run.status} now")
            else:
                log.info("run %s: attempt %d: %s", self._run.id, self._state.attempt, changed.run.status)
            return

    def _job(self, prepared: tuple[Prepared, ...]) -> Any:
        return job(
            self._run,
            self._given,
            self._secrets,
            prepared=prepared,
            cell_runner=self._tools.cell_runner,
            dead_after_s=self._tools.beacon.dead_after_s,
        )

    async def _resume(self) -> Chunk | None:
        """Find out how far a former holder got; the last chunk of its log, if there is one."""
        await self._cellbook.resume()
        return await self._logbook.resume()

    def _new_pump(self, last: Chunk | None) -> Pump:
        lines = Assembler(secrets=self._secrets.values(), log_bytes_max=self._tools.log_bytes_max, resume=last)
        limits = self._run.order.limits
        return Pump(
            self._tools.bus,
            self._run.ref,
            self._state.attempt,
            limits,
            logbook=self._logbook,
            lines=lines,
            cellbook=self._cellbook,
        )


def _is_claimed(run: Run, number: int, runner: str) -> bool:
    """Whether *runner* claimed this attempt, and did nothing since then."""
    state = run.state
    return isinstance(state, Running) and (state.runner, state.attempt, state.prepared_at) == (runner, number, None)


def _wants_job(session: Session) -> bool:
    """Whether its supervisor has not got the whole of a job; or says nothing, because it has ended."""
    return session.phase in ("waiting", "preparing")


def _found_no_environment(end: Exited | Vanished) -> bool:
    return isinstance(end, Exited) and end.reason == "no_environment"


async def _end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel and await *tasks*; what they raise was seen, or does not matter any more."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
