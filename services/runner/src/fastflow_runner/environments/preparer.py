"""One preparer: a sandbox with the store in it, for one step of ``prepare``. I/O.

This module opens, follows and removes it. ``environments`` decides the steps and their order.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Final

from fastflow_contracts.log import get_logger
from fastflow_contracts.pipelines.folder.bundle import Bundle
from fastflow_runner.environments.preparation import Words
from fastflow_runner.environments.store import Place
from fastflow_runner.environments.variables import Access
from fastflow_runner.errors import RunnerError
from fastflow_runner.guest.prepare.access import LOGINS_VARIABLE
from fastflow_runner.guest.prepare.steps import INPUT_VARIABLE
from fastflow_runner.sandbox import (
    MIB,
    USER,
    Channel,
    Mount,
    SandboxError,
    Sandboxes,
    SandboxSpec,
)
from fastflow_runner.sandbox.events import Exited, Offsets, ScriptOutput, Vanished
from fastflow_runner.sandbox.job import JobFile, SandboxJob
from fastflow_runner.sandbox.naming import LABEL_PREPARER, PREFIX
from fastflow_runner.sandbox.session import Session, SessionError

log = get_logger(__name__)

STEP_TIMEOUT_S: Final = 1800.0
"""A first download of large packages takes minutes."""
DEAD_AFTER_S: Final = 60.0
BEAT_S: Final = 10.0
TMP_BYTES: Final = 1024 * MIB
CLEAN_UP_S: Final = 30.0
LINE_BYTES_MAX: Final = 64 * 1024
_USE_PACKAGES: Final = ("wheels", "build")
"""The steps that ask indexes."""


class EnvironmentFailed(RunnerError):
    """There is no such interpreter, these packages are not available, or a preparer failed: in uv's own words."""


class NoInterpreter(EnvironmentFailed):
    """uv has no interpreter of this version, and could not get one."""


class Preparers:
    """Starts preparers in one place, on behalf of one runner."""

    def __init__(self, sandboxes: Sandboxes, place: Place, *, runner: str, access: Access, timeout_s: float) -> None:
        self._sandboxes = sandboxes
        self._place = place
        self._runner = runner
        self._access = access
        self._timeout_s = timeout_s

    async def build(
        self, words: Words, tree: str, *arguments: str, given: bytes, folder: Bundle | None, user: int
    ) -> int:
        """Run the step ``build``, which gets only what it needs of the store. See ``step``."""
        mounts = self._place.for_build(tree)
        named = ("--tree", tree, *arguments)
        return await self.step(words, "build", *named, given=given, folder=folder, user=user, mounts=mounts)

    async def step(
        self,
        words: Words,
        step: str,
        *arguments: str,
        given: bytes = b"",
        folder: Bundle | None = None,
        user: int = USER,
        mounts: tuple[Mount, ...] | None = None,
    ) -> int:
        """Run one step and return its exit code. Raises ``EnvironmentFailed`` if it has none.

        Args:
            given: content of the step's input file; empty: none.
            folder: the files of its working directory.
            mounts: what it gets of the store; None: all.
        """
        spec = self._spec(user, self._place.writable if mounts is None else mounts)
        channel: Channel | None = None
        try:
            channel = await self._sandboxes.open(spec)
            end = await _follow(await Session.start(channel, self._job(step, arguments, given), folder), words)
        except (SandboxError, SessionError) as error:
            raise EnvironmentFailed(f"its preparer failed: {error}") from error
        finally:
            await self._clean_up(spec.name, channel)
        if isinstance(end, Vanished):
            why = "ran out of memory" if end.oom_killed else "was killed from outside"
            raise EnvironmentFailed(f"the preparer of the environment {why}; start the run again.")
        if end.reason == "timeout":
            raise EnvironmentFailed(f"the environment was not ready after {self._timeout_s:g} s.")
        if end.message:
            words.add(end.message)
        return end.exit_code

    async def sweep(self) -> None:
        """Remove the preparers of this runner's previous process. Call this before the first step."""
        try:
            for held in await self._sandboxes.held():
                if held.labels.get(LABEL_PREPARER) == self._runner:
                    await self._sandboxes.remove(held.name)
        except SandboxError as error:
            log.warning("old preparers not removed", error=str(error))

    def _spec(self, user: int, mounts: tuple[Mount, ...]) -> SandboxSpec:
        return SandboxSpec(
            name=f"{PREFIX}prepare-{secrets.token_hex(8)}",
            labels={LABEL_PREPARER: self._runner},
            image=self._place.image,
            mounts=mounts,
            network=self._place.network,
            user=user,
            tmp_bytes=TMP_BYTES,
        )

    def _job(self, step: str, arguments: tuple[str, ...], given: bytes) -> SandboxJob:
        place = self._place
        files = [JobFile(env=INPUT_VARIABLE, name="given", data=given)] if given else []
        if step in _USE_PACKAGES and (logins := self._access.logins):
            files.append(JobFile(env=LOGINS_VARIABLE, name="logins", data=logins))
        return SandboxJob(
            argv=("{python}", "-I", "-S", place.script, step, "--store", place.store, "--uv", place.uv, *arguments),
            cwd="prepare",
            env=self._access.env if step in _USE_PACKAGES else {},
            files=tuple(files),
            timeout_s=self._timeout_s,
            grace_s=1,
            dead_after_s=DEAD_AFTER_S,
            sample_s=0,
        )

    async def _clean_up(self, name: str, channel: Channel | None) -> None:
        """Remove the preparer, also when cancelled. The runner's next process sweeps what cannot be removed."""

        async def remove() -> None:
            try:
                async with asyncio.timeout(CLEAN_UP_S):
                    if channel is not None:
                        await channel.close()
                    await self._sandboxes.remove(name)
            except (SandboxError, TimeoutError) as error:
                log.warning("preparer not removed", sandbox=name, error=str(error))

        removing = asyncio.create_task(remove(), name=f"remove-{name}")
        try:
            await asyncio.shield(removing)
        except asyncio.CancelledError:
            await removing
            raise


async def _follow(session: Session, words: Words) -> Exited | Vanished:
    """Collect a preparer's output, line by line, until it ends."""
    beating = asyncio.create_task(_beat(session), name="beat-preparer")
    rests = {"stdout": b"", "stderr": b""}
    ends = {"stdout": 0, "stderr": 0}
    try:
        async for event in session:
            if isinstance(event, ScriptOutput):
                *lines, rest = (rests[event.stream] + event.data).split(b"\n")
                rests[event.stream] = rest[:LINE_BYTES_MAX]
                for line in lines:
                    words.add(line.decode("utf-8", "replace"))
                ends[event.stream] = event.offset + len(event.data)
                await session.ack(Offsets(**ends))
            elif isinstance(event, Exited | Vanished):
                for rest in filter(None, rests.values()):
                    words.add(rest.decode("utf-8", "replace"))
                return event
        raise SessionError("the preparer's session ended without an end.")
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)  # unlike suppressing, this loses no cancellation of ours


async def _beat(session: Session) -> None:
    while True:
        await asyncio.sleep(BEAT_S)
        await session.beat()
