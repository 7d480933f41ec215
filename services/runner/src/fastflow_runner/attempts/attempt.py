"""One attempt of one run, from the hint to the recorded end. I/O. The guarantees depend on the order of the steps.

1. Claim the run by compare-and-set; only then acknowledge the hint (``claiming``). If it is paused, give it back
   (``holding``).
2. Prepare its environment (``preparing``).
3. Open the sandbox, named after the attempt: the daemon itself refuses a second one (``attempt_sandbox``).
4. Record that all of this is ready (``holding``), before step 5.
5. Hand the sandbox its job. After a crash before this step the run is given back; after a crash later there
   is a sandbox that knows how far it got.
6. Carry all of its output to the bus (``carrying``), before step 7.
7. Record the end, before step 8.
8. Remove the sandbox, at once or soon (``removals``). So if the record of a run that a dead runner held is not final,
   its sandbox is still there, and knows the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress
from typing import Self

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.errors import BusError
from fastflow_contracts.bus.subjects import RunRef
from fastflow_contracts.log import get_logger
from fastflow_contracts.runs.messages import Hint
from fastflow_contracts.runs.result import told
from fastflow_contracts.runs.run import RunErrorType, RunInput, RunRecord
from fastflow_contracts.runs.state_machine import AttemptOutcome, Finish, Prepare
from fastflow_contracts.runs.store import Stored
from fastflow_runner.attempts.artifacts import ArtifactsMissing, ArtifactTaker, ParentArtifacts, parent_artifacts
from fastflow_runner.attempts.attempt_sandbox import GONE, AttemptSandbox, Conversation, Handover, found_no_environment
from fastflow_runner.attempts.carrying import Carrier
from fastflow_runner.attempts.claiming import adopt, claim
from fastflow_runner.attempts.code import Code, NoCode
from fastflow_runner.attempts.context import AttemptContext
from fastflow_runner.attempts.folder_reader import FolderReader
from fastflow_runner.attempts.holding import Holding, NotOurs, StoppedEarly
from fastflow_runner.attempts.job import ARTIFACTS_DIR, ARTIFACTS_NAME, STATE_NAME, job
from fastflow_runner.attempts.preparing import prepare, secret_notes
from fastflow_runner.attempts.recorder import Recorder
from fastflow_runner.attempts.side_task import side_task
from fastflow_runner.attempts.state_folder import StateFolder, StateMissing
from fastflow_runner.attempts.watch import watch
from fastflow_runner.environments.environments import EnvironmentFailed
from fastflow_runner.environments.store import ReadyEnvironment
from fastflow_runner.output.log_writer import Fenced
from fastflow_runner.sandbox import DaemonUnreachable, Held, SandboxError
from fastflow_runner.sandbox.events import Exited, Vanished
from fastflow_runner.sandbox.folders import CarriedFolder, ContentMismatch, FolderFile
from fastflow_runner.sandbox.job import SandboxJob
from fastflow_runner.sandbox.naming import AttemptId
from fastflow_runner.sandbox.session import SessionError, Superseded
from fastflow_runner.secrets import SecretError

log = get_logger(__name__)

BEGINNINGS_MAX = 5
"""How often an attempt starts over because its environment was collected a moment ago."""


class RunningAttempt:
    """One attempt that this runner holds. Made by ``claim`` or ``adopt``; then call ``carry_out`` once."""

    def __init__(self, context: AttemptContext, held: Stored, code: Code | NoCode, sandbox: Held | None = None) -> None:
        """*sandbox*: the one that a previous holder left, if any."""
        self._context = context
        self._code = code
        self._left = sandbox
        self._holding = Holding(context.runs, held)
        self._recorder = Recorder(context, held.run)
        self._sandbox = AttemptSandbox(context, held.run, self.id)
        self._carrier = Carrier(context, self._holding, self._recorder, self._sandbox)
        self._given = RunInput()
        self._secrets: Mapping[str, str] = {}
        self._is_reporting = False
        self._taker = ArtifactTaker(context.artifacts, self._recorder.say)
        self._parent_artifacts: ParentArtifacts | None = None
        self._state = StateFolder(context.runs.states, held.run) if held.run.order.keeps_state else None

    @classmethod
    async def claim(cls, context: AttemptContext, hint: Hint, *, is_fresh: bool) -> Self | None:
        """Step 1, see ``claiming.claim``. None if there is nothing to carry out."""
        claimed = await claim(context, hint, is_fresh=is_fresh)
        return claimed and cls(context, claimed.held, claimed.code)

    @classmethod
    async def adopt(cls, context: AttemptContext, run: RunRecord, sandbox: Held | None) -> Self | None:
        """Take over a running run whose holder is gone, with its *sandbox* (None: that is gone too).

        Returns:
            None if another runner was faster.
        """
        claimed = await adopt(context, run)
        return claimed and cls(context, claimed.held, claimed.code, sandbox)

    @property
    def id(self) -> AttemptId:
        return self._holding.id

    @property
    def ref(self) -> RunRef:
        return self._holding.ref

    def abandon(self, reason: str) -> None:
        """Stop the attempt for a reason of the runner's own, unless it is already being stopped."""
        self._holding.abandon(reason)

    async def carry_out(self) -> None:
        """Run the attempt to its recorded end, or until another runner holds the run.

        Raises:
            DaemonUnreachable: the daemon is away and no code of the run has started. Call ``give_back``.
        """
        context, run = self._context, self._holding.run
        watching_steps = watch(context.bus, context.runs, run, on_cancel=self._holding.cancel)
        try:
            async with (
                side_task(watching_steps, f"watch-{run.id}") as watching,
                side_task(self._work(), f"work-{run.id}") as working,
            ):
                await asyncio.wait({watching, working}, return_when=asyncio.FIRST_COMPLETED)
                if not working.done() and not self._is_reporting:
                    raise NotOurs("its record has changed")
                await working  # the watch saw our own report
        except (NotOurs, Fenced, Superseded) as reason:
            log.warning("run given up", run=run.id, reason=str(reason))

    async def give_back(self, reason: str) -> None:
        """Let another runner begin the run: none of its code has run here, and no attempt is used up."""
        await self._holding.give_back(reason)

    async def fail(self, message: str) -> None:
        """Record that the runner itself failed to carry the attempt out."""
        with suppress(NotOurs):
            await self._record_end(self._recorder.lost(message))
            await self._sandbox.remove()

    # The steps.

    async def _work(self) -> None:
        outcome = await self._reach_end()
        self._is_reporting = True
        await self._record_end(outcome)
        await self._sandbox.remove()

    async def _reach_end(self) -> AttemptOutcome:
        """Steps 2 to 6. A failure outside the script becomes an outcome too."""
        give_up = self._recorder.give_up
        try:
            return await self._begin_or_go_on()
        except (SandboxError, SessionError) as error:
            has_not_begun = self._holding.state.prepared_at is None
            if isinstance(error, Superseded) or (isinstance(error, DaemonUnreachable) and has_not_begun):
                raise
            return await give_up(RunErrorType.ENVIRONMENT_ERROR, f"its sandbox failed: {error}")
        except EnvironmentFailed as error:
            first, *_ = [*str(error).splitlines(), ""]  # of uv's own words, the log has the others above this line
            said = f"the environment could not be prepared: {first.strip().removeprefix('error: ')}"
            return await give_up(RunErrorType.ENVIRONMENT_ERROR, str(error), said=said)
        except StoppedEarly:
            abandoned = self._holding.intent.abandoned
            if abandoned is not None:
                return await give_up(RunErrorType.LOST, abandoned)
            return await self._recorder.stop_early()
        except SecretError as error:
            return await give_up(RunErrorType.SECRET_ERROR, str(error))
        except (ArtifactsMissing, ContentMismatch) as error:
            return await give_up(RunErrorType.ARTIFACTS_ERROR, str(error))
        except StateMissing as error:
            return await give_up(error.why, str(error))

    async def _begin_or_go_on(self) -> AttemptOutcome:
        holding, recorder = self._holding, self._recorder
        holding.look()
        # A previous holder may have written to this attempt's log: continue after its last chunk.
        if holding.run.epoch > 1:
            await recorder.resume()
        if isinstance(self._code, NoCode):
            return await recorder.give_up(RunErrorType.ENVIRONMENT_ERROR, self._code.reason)
        if holding.state.prepared_at is None:
            await holding.stop_if_paused(self._context.pauses)
        self._given = await holding.read_input()
        tokens = self._given.encrypted_env
        self._secrets = self._context.secrets.open(tokens, pipeline=holding.run.pipeline)
        recorder.mask(self._secrets.values())
        if (parent := self._given.parent) is not None and parent.artifacts_of is not None:
            context = self._context
            self._parent_artifacts = await parent_artifacts(context.runs, context.artifacts, parent.artifacts_of)
        if holding.state.prepared_at is not None:
            return await self._go_on(self._code)
        for note in secret_notes(self._context.secrets, tokens, self._secrets):
            await recorder.say(note)
        return await self._begin(self._code, self._code.ready)

    async def _begin(self, code: Code, ready: tuple[ReadyEnvironment, ...] | None) -> AttemptOutcome:
        """Begin from nothing; start over if the environment was collected before the sandbox could lock it."""
        for _ in range(BEGINNINGS_MAX):
            end = await self._begin_once(code, ready or await self._prepare(code))
            if not found_no_environment(end):
                break
            ready = None
            for request in code.requests:
                self._context.environments.forget(request)
        return await self._conclude(end)

    async def _begin_once(self, code: Code, ready: tuple[ReadyEnvironment, ...]) -> Exited | Vanished:
        await self._holding.stop_here()
        channel = await self._sandbox.open()
        try:
            await self._record_prepared(ready[0])
            await self._open_state(with_files=True)
            await self._holding.stop_here()
            given = self._handover(code, ready)
            conversation = await Conversation.start(channel, given)
        except BaseException:
            await channel.close()
            raise
        return await self._carrier.carry(conversation, given, self._take)

    async def _go_on(self, code: Code) -> AttemptOutcome:
        """Continue with what a previous holder left."""
        # A sandbox is removed only after its end is recorded. If ours is missing, it was removed from outside or is
        # on another host.
        if self._left is None:
            await self._outlast()
            lost = f"runner {self._context.runner} was restarted while it ran"
            return await self._recorder.give_up(RunErrorType.LOST, lost)
        conversation = await self._carrier.attach()
        if conversation is None:
            return await self._conclude(GONE)
        ready = code.ready
        await self._open_state(with_files=conversation.session.phase in ("waiting", "preparing"))
        if self._left.running and conversation.wants_job:
            try:
                ready = ready or await self._prepare(code)
                await self._holding.stop_here()
                await conversation.hand_over(self._handover(code, ready))
            except BaseException:
                await conversation.channel.close()
                raise
        given = None if ready is None else self._handover(code, ready)
        end = await self._carrier.carry(conversation, given, self._take)
        if found_no_environment(end):
            return await self._begin(code, None)
        return await self._conclude(end)

    async def _conclude(self, end: Exited | Vanished) -> AttemptOutcome:
        self._sandbox.ended(end)
        outcome = await self._recorder.conclude(end, self._holding.intent, self._taker.left)
        return outcome if self._state is None else self._state.settled(outcome, self._holding.intent)

    async def _take(self, end: Exited, reader: FolderReader) -> None:
        if self._state is not None:
            await self._state.take(end, reader)
        await self._taker.take(end, reader)

    async def _open_state(self, *, with_files: bool) -> None:
        if self._state is not None:
            await self._state.open(self._holding.state.state_version or 0, with_files=with_files)

    async def _outlast(self) -> None:
        """Wait until a sandbox that our id left on another host has stopped itself: it gets no heartbeats."""
        if unseen_s := self._context.presence.unseen_s:
            await self._recorder.say(f"Its sandbox is not on this host; it has stopped in {unseen_s:.0f} s.")
            await asyncio.sleep(unseen_s)

    async def _prepare(self, code: Code) -> tuple[ReadyEnvironment, ...]:
        return await prepare(self._context, self._holding, code, self._recorder.pump.say)

    async def _record_prepared(self, prepared: ReadyEnvironment) -> None:
        state_version = None if self._state is None else await self._state.current()
        epoch, python_version = self._holding.state.epoch, prepared.python_version
        await self._holding.change(Prepare(epoch=epoch, python_version=python_version, state_version=state_version))

    def _handover(self, code: Code, ready: tuple[ReadyEnvironment, ...]) -> Handover:
        run, context, parent = self._holding.run, self._context, self._parent_artifacts
        folders = [CarriedFolder(env=ARTIFACTS_DIR, name=ARTIFACTS_NAME, back=context.artifact_bounds)]
        contents: dict[str, Callable[[FolderFile], AsyncGenerator[bytes, None]]] = {}
        if parent is not None:
            folders.append(parent.folder)
            contents[parent.folder.name] = parent.read
        if self._state is not None:
            folders.append(self._state.folder)
            contents[STATE_NAME] = self._state.read

        def current_job() -> SandboxJob:
            return job(
                run,
                self._given,
                self._secrets,
                prepared=ready,
                cell_runner=context.cell_runner,
                dead_after_s=context.presence.dead_after_s,
                memory_bytes_max=context.memory_bytes_max,
                public_url=context.public_url,
                folders=tuple(folders),
            )

        return Handover(current_job, code.bundle, contents)

    async def _record_end(self, outcome: AttemptOutcome) -> None:
        changed = await self._holding.change(Finish(epoch=self._holding.state.epoch, outcome=outcome))
        if self._state is not None:
            await self._state.clear(outcome, changed.run)
        if changed.events and changed.run.result_bytes is not None:
            await self._tell_result(changed.run, outcome.result)

    async def _tell_result(self, run: RunRecord, result: bytes | None) -> None:
        """Say which result the run has to those who listen now; the record is the truth."""
        try:
            await self._context.bus.tell(subjects.result(run.ref), told(run, result))
        except BusError as error:
            log.warning("result lost", run=run.id, error=str(error))
