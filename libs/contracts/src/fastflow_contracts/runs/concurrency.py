"""How many runs may be active at once, checked in the write of a run: all or nothing. I/O; ``limits`` has the sets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.bucket import Bucket
from fastflow_contracts.bus.client import Bus, Put
from fastflow_contracts.bus.subjects import RUNS, RunRef
from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.ids import RunId
from fastflow_contracts.runs.limits import LIMIT, LimitSet, Member, to_check, without
from fastflow_contracts.runs.run import RUN, Running, RunRecord


class Full(FastFlowError):
    """The limit is reached; ``most`` runs are active."""

    def __init__(self, key: str, most: int) -> None:
        super().__init__(f"the limit of {most} run(s) at once is reached")
        self.key = key
        self.most = most


def run_records(bus: Bus) -> Bucket[RunRef, RunRecord]:
    """Return the run records on *bus*. Only ``store.RunStore`` changes them."""
    return Bucket(bus, RUNS, RUN, keys=subjects.RUN_KEYS, key_of=subjects.run_key, name_in=subjects.parse_run_key)


class ConcurrencyLimit(NamedTuple):
    """At most ``most`` active runs among those of one set."""

    key: str
    most: int
    is_active: Callable[[RunRecord], bool]
    """Whether a member still counts."""
    since: str = ""
    """What the set belongs to; a set that belongs to something else is built again."""
    rebuild: Callable[[], Awaitable[tuple[Member, ...]]] | None = None
    """Returns the members of a set that is missing or has another ``since``. None: no members."""

    async def put_for(self, bus: Bus, ref: RunRef) -> Put:
        """Build the write that lets *ref* in, to be committed with the run's own.

        The caller repeats on ``RevisionConflict``, which covers all other runs that enter. Raises ``Full`` and what
        the bus raises.
        """
        sets: Bucket[str, LimitSet] = Bucket(bus, RUNS, LIMIT, keys=subjects.LIMIT_KEYS, key_of=str, name_in=str)
        stored, revision = await sets.load(self.key)
        if stored is not None and stored.since == self.since:
            members = stored.members
        else:
            members = await self._rebuilt(bus, is_unreadable=stored is None and revision > 0)
        members = without(members, {ref.run_id})
        checked = to_check(members, self.most)
        over = await self._over(bus, checked)
        members = without((*members[len(checked) :], *checked), over)
        if len(members) >= self.most:
            raise Full(self.key, self.most)
        entered = LimitSet(
            most=self.most,
            since=self.since,
            members=(*members, Member(pipeline=ref.pipeline, run_id=ref.run_id)),
        )
        return sets.write(self.key, entered, expect=revision)

    async def _rebuilt(self, bus: Bus, *, is_unreadable: bool) -> tuple[Member, ...]:
        if self.rebuild is not None:
            return await self.rebuild()
        if not is_unreadable:
            return ()
        # Unreadable members may still be active: the records decide.
        found = await run_records(bus).items()
        active = [record.name for record in found if self.is_active(record.value)]
        return tuple(Member(pipeline=ref.pipeline, run_id=ref.run_id) for ref in active)

    async def _over(self, bus: Bus, members: tuple[Member, ...]) -> set[RunId]:
        """Return the members that are no longer active. A member with an unreadable record holds no place."""
        over = set()
        for member in members:
            run = (await run_records(bus).load(member.ref, is_exact=True)).value
            if run is None or not self.is_active(run):
                over.add(member.run_id)
        return over


def is_running(run: RunRecord) -> bool:
    """Return whether the run counts for the limit on running runs: a waiting retry does not."""
    return isinstance(run.state, Running)


def is_not_over(run: RunRecord) -> bool:
    """Return whether the run counts for ``max_instances``: waiting runs do."""
    return not run.is_over
