"""Steps 3, 5 and 8 of an attempt: opens its sandbox, attaches to it, hands it the job, removes it. I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Self

from fastflow_contracts.log import get_logger
from fastflow_contracts.pipelines.folder.bundle import Bundle
from fastflow_contracts.runs.run import RunRecord
from fastflow_runner.attempts.context import AttemptContext
from fastflow_runner.attempts.holding import pause
from fastflow_runner.sandbox import AlreadyExists, Channel, DaemonUnreachable, Detached, Missing, SandboxError
from fastflow_runner.sandbox.events import Exited, Offsets, Vanished
from fastflow_runner.sandbox.folders import Contents
from fastflow_runner.sandbox.job import SandboxJob
from fastflow_runner.sandbox.naming import AttemptId
from fastflow_runner.sandbox.session import Session

log = get_logger(__name__)

IDLE_FILES_BYTES_MAX = 1024**2
"""What files may still hold in memory while a sandbox waits for its removal."""
GONE = Vanished(exit_code=None, oom_killed=False)
"""The end of a sandbox that no longer exists."""


class Handover(NamedTuple):
    """The job and code that a sandbox gets."""

    job: Callable[[], SandboxJob]
    """Builds the job again each time it is sent, because the time allowed without a heartbeat shrinks."""
    bundle: Bundle
    contents: Contents = {}
    """What the job's folders hold at first."""


class Conversation(NamedTuple):
    """A sandbox that this runner is attached to."""

    channel: Channel
    session: Session

    @property
    def wants_job(self) -> bool:
        """Whether its supervisor has not received a whole job. Also true if it has ended and says nothing."""
        return self.session.phase in ("waiting", "preparing")

    @classmethod
    async def start(cls, channel: Channel, given: Handover) -> Self:
        """Hand a fresh sandbox its job. From then on the sandbox knows how far it got."""
        return cls(channel, await Session.start(channel, given.job(), given.bundle))

    async def hand_over(self, given: Handover) -> None:
        """Hand the job over again, because it was lost the first time."""
        await self.session.hand_over(given.job(), given.bundle)


class AttemptSandbox:
    """The sandbox of one attempt, named after it."""

    def __init__(self, context: AttemptContext, run: RunRecord, attempt: AttemptId) -> None:
        """*run* must be running."""
        self._context = context
        self._run = run
        self._attempt = attempt
        self._name = context.name(attempt)
        self._is_idle = False

    async def open(self) -> Channel:
        """Open the sandbox. An existing one is from a previous holder and is replaced: our epoch is higher.

        Raises ``SandboxError``, also if the pipeline asks for what this runner does not give.
        """
        with self._context.removals.opening():
            return await self._open()

    async def _open(self) -> Channel:
        sandboxes, spec = self._context.sandboxes, self._context.spec(self._run)
        for number in range(1, self._attempt.number):  # one remains only if a removal failed or is still under way
            await sandboxes.remove(self._context.name(AttemptId(self._run.id, number)))
        try:
            return await sandboxes.open(spec)
        except AlreadyExists:
            await sandboxes.remove(self._name)
            return await sandboxes.open(spec)

    async def attach(self, acked: Offsets) -> Conversation | None:
        """Attach to the sandbox and continue after *acked*. Waits for the daemon. None: it is gone."""
        while True:
            try:
                held = next((held for held in await self._context.sandboxes.held() if held.name == self._name), None)
                if held is None:
                    return None
                channel = await self._context.sandboxes.attach(held)
                return Conversation(channel, await Session.resume(channel, acked))
            except Missing:
                return None
            except (Detached, DaemonUnreachable) as error:
                log.warning("sandbox not attached", run=self._run.id, error=str(error))
                await pause()

    def ended(self, end: Exited | Vanished) -> None:
        """Note how the job ended. One that leaves next to nothing in memory does not hurry to be removed."""
        self._is_idle = isinstance(end, Exited) and end.files_bytes <= IDLE_FILES_BYTES_MAX

    async def remove(self) -> None:
        """Remove the sandbox after its end is recorded, at once or soon. What fails is left to the next sweep."""
        try:
            if self._is_idle:
                await self._context.removals.remove_later(self._name)
            else:
                await self._context.sandboxes.remove(self._name)
        except SandboxError as error:
            log.warning("sandbox not removed", run=self._run.id, error=str(error))


def found_no_environment(end: Exited | Vanished) -> bool:
    """Whether an environment was collected before the sandbox could lock it. No code of the run has run then."""
    return isinstance(end, Exited) and end.reason == "no_environment"
