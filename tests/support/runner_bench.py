"""The context of a runner on a real bus, with dummy sandboxes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, NamedTuple

from msgspec.structs import replace

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.objects import ObjectStore
from fastflow_contracts.clock import now
from fastflow_contracts.runs.messages import HINT, Hint
from fastflow_contracts.runs.run import (
    Pending,
    RunInput,
    RunRecord,
)
from fastflow_contracts.runs.state_machine import Claim, Prepare
from fastflow_contracts.runs.store import RunStore
from fastflow_runner.attempts.attempt import RunningAttempt
from fastflow_runner.attempts.context import AttemptContext
from tests.support.records import a_bundle, a_run
from tests.support.relay import Relay


@asynccontextmanager
async def at_work(steps: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Let a part of the runner work until the end of the block."""
    task = asyncio.create_task(steps)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class Bench(NamedTuple):
    """A runner's context, the relay between it and the bus, and the jobs that its sandboxes were handed."""

    context: AttemptContext
    relay: Relay
    jobs: list[dict[str, Any]]

    @property
    def runs(self) -> RunStore:
        return self.context.runs

    async def pending(
        self, given: RunInput | None = None, *, has_code: bool = True, due_s: float = 0, **order: Any
    ) -> RunRecord:
        """Create a run whose code is on the bus, due *due_s* seconds from now. *order*: more of what it is to do."""
        bundle = a_bundle(main_py="print(1)")
        if has_code:
            await ObjectStore(self.context.bus).put(bundle.sha256, bundle.data)
        run = a_run(bundle=bundle.sha256, has_input=given is not None, **order)
        run = replace(run, state=Pending(attempt=1, not_before=now() + timedelta(seconds=due_s)))
        assert await self.runs.create(run, given)
        return run

    async def claim(self, run: RunRecord) -> RunningAttempt:
        """Return its first attempt, claimed by this runner."""
        attempt = await RunningAttempt.claim(self.context, hint_of(run), is_fresh=False)
        assert attempt is not None
        return attempt

    async def held(self, run: RunRecord, *, prepared: bool = True) -> RunRecord:
        """Claim the run without an attempt that carries it out."""
        held = (await self.runs.change(run.ref, Claim(attempt=1, runner="one"))).run
        return (await self.runs.change(run.ref, Prepare(epoch=held.epoch))).run if prepared else held

    async def hint(self, run: RunRecord) -> None:
        """Publish the run's hint, as a scheduler would."""
        await self.context.bus.publish(subjects.work("script", run.ref, 1), HINT.encode(hint_of(run)))

    async def record(self, run: RunRecord) -> RunRecord:
        """Return the run as it is on the bus."""
        return (await self.runs.load(run.ref)).run


def hint_of(run: RunRecord) -> Hint:
    return Hint(run_id=run.id, pipeline=run.pipeline, attempt=1)
