"""Room under a limit, taken together with the write of a run: all or nothing. I/O; the sets are ``limits``'s."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus, Put
from fastflow_contracts.bus.subjects import RUNS, RunRef
from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.ids import RunId
from fastflow_contracts.runs.limits import LIMIT, LimitSet, Member, to_look_at, without
from fastflow_contracts.runs.run import RUN, Run, Running


class Full(FastFlowError):
    """The limit is reached; ``most`` runs are active."""

    def __init__(self, key: str, most: int) -> None:
        super().__init__(f"the limit of {most} run(s) at once is reached")
        self.key = key
        self.most = most


class Room(NamedTuple):
    """One limit. ``rebuild`` gives the members of a set that is missing, or was made for another ``since``."""

    key: str
    most: int
    is_active: Callable[[Run], bool]
    """Whether a member still counts."""
    since: str = ""
    rebuild: Callable[[], Awaitable[tuple[Member, ...]]] | None = None

    async def put_for(self, bus: Bus, ref: RunRef) -> Put:
        """The write that lets *ref* in, to be committed with the run's own. Raises ``Full``; the caller repeats on
        ``Conflict``, which covers everybody else who wants in."""
        entry = await bus.get(RUNS, self.key)
        stored = LIMIT.decode(entry.value) if entry else None
        if stored is None or stored.since != self.since:
            members = await self.rebuild() if self.rebuild else ()
        else:
            members = stored.members
        members = without(members, {ref.run_id})
        looked_at = to_look_at(members, self.most)
        over = await self._over(bus, looked_at)
        members = without((*members[len(looked_at) :], *looked_at), over)
        if len(members) >= self.most:
            raise Full(self.key, self.most)
        entered = LimitSet(
            most=self.most,
            since=self.since,
            members=(*members, Member(pipeline=ref.pipeline, run_id=ref.run_id)),
            write_id=uuid.uuid4().hex,
        )
        return Put(self.key, LIMIT.encode(entered), entry.revision if entry else 0)

    async def _over(self, bus: Bus, members: tuple[Member, ...]) -> set[RunId]:
        over = set()
        for member in members:
            entry = await bus.get(RUNS, subjects.run_key(member.ref), is_exact=True)
            if entry is None or not self.is_active(RUN.decode(entry.value)):
                over.add(member.run_id)
        return over


def is_running(run: Run) -> bool:
    """For the limit on running runs: a waiting retry holds no slot."""
    return isinstance(run.state, Running)


def is_not_over(run: Run) -> bool:
    """For ``max_instances``: waiting runs count."""
    return not run.is_over
