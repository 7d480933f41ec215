"""Which other runners are gone, by their presences. I/O; ``presence.is_gone`` has the rule."""

from __future__ import annotations

import asyncio

from fastflow_contracts.bus import subjects
from fastflow_contracts.runs.presence import is_gone
from fastflow_contracts.runs.runners import presences
from fastflow_runner.attempts.context import AttemptContext


class RunnerSilence:
    """Measures here for how long other runners are silent: between two or more calls, without their clocks."""

    def __init__(self, context: AttemptContext) -> None:
        self._context = context
        self._presences = presences(context.bus)
        self._since: dict[str, tuple[int, float]] = {}
        """By runner: the revision of its presence, and when it was first seen."""

    async def is_gone(self, runner: str) -> bool:
        """Whether *runner* announced its end, or has not renewed its presence for a whole lease. We never are."""
        if runner == self._context.runner:
            return False
        is_somebody = subjects.is_runner_id(runner)
        presence, revision = await self._presences.load(runner) if is_somebody else (None, 0)
        at = asyncio.get_running_loop().time()
        seen, since = self._since.get(runner, (revision, at))
        if seen != revision:
            since = at
        self._since[runner] = (revision, since)
        return is_gone(presence, silent_s=at - since, lease_s=self._context.presence.lease.lease_s)
