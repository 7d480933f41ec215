"""How many runs there may be, held with the write of a run: all or nothing. I/O; the data are ``limits``'s.

``ConcurrencyLimit`` counts active runs, ``ChainLimit`` all runs that follow from one first run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import NamedTuple, Protocol

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.bucket import Bucket
from fastflow_contracts.bus.client import Bus, Put
from fastflow_contracts.bus.subjects import RUNS, RunRef
from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.ids import RunId
from fastflow_contracts.runs.limits import (
    CHAIN_COUNT,
    LIMIT,
    ChainCount,
    LimitSet,
    Member,
    to_check,
    without,
)
from fastflow_contracts.runs.run import RUN, Running, RunRecord, check_run


class Full(FastFlowError):
    """The limit is reached; ``most`` runs are active."""

    def __init__(self, key: str, most: int) -> None:
        super().__init__(f"the limit of {most} run(s) at once is reached")
        self.key = key
        self.most = most


class ChainFull(Full):
    """The chain has had ``most`` runs."""


class Limit(Protocol):
    """Something that a run needs a place under."""

    @property
    def key(self) -> str:
        """The key of its record, which each run that enters writes."""
        ...

    async def put_for(self, bus: Bus, ref: RunRef) -> Put:
        """Build the write that lets *ref* in, to be committed with the run's own.

        The caller repeats on ``RevisionConflict``, which covers all other runs that enter. Raises ``Full`` and what
        the bus raises.
        """
        ...


def run_records(bus: Bus) -> Bucket[RunRef, RunRecord]:
    """Return the run records on *bus*. Only ``store.RunStore`` changes them."""
    return Bucket(
        bus,
        RUNS,
        RUN,
        keys=subjects.RUN_KEYS,
        key_of=subjects.run_key,
        name_in=subjects.parse_run_key,
        check=check_run,
    )


def limit_sets(bus: Bus) -> Bucket[str, LimitSet]:
    """Return the sets of active runs on *bus*, by key. ``keys`` also matches the counts of chains: give a key."""
    return Bucket(bus, RUNS, LIMIT, keys=subjects.LIMIT_KEYS, key_of=str, name_in=str)


def chain_counts(bus: Bus) -> Bucket[str, ChainCount]:
    """Return the counts of chains on *bus*, by key. ``keys`` also matches sets of active runs: give a key."""
    return Bucket(bus, RUNS, CHAIN_COUNT, keys=subjects.LIMIT_KEYS, key_of=str, name_in=str)


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
        """As ``Limit.put_for``."""
        sets = limit_sets(bus)
        stored, revision = await sets.load(self.key)
        if stored is not None and stored.since == self.since:
            members = stored.members
        else:
            members = await self._rebuilt(bus, is_unreadable=stored is None and revision > 0)
            if len(members) >= self.most:  # perhaps no run enters now: the next one need not build it again
                revision = await sets.put(self.key, self._set(members), expect=revision)
        members = without(members, {ref.run_id})
        checked = to_check(members, self.most)
        over = await self._over(bus, checked)
        members = without((*members[len(checked) :], *checked), over)
        if len(members) >= self.most:
            raise Full(self.key, self.most)
        entered = self._set((*members, Member(pipeline=ref.pipeline, run_id=ref.run_id)))
        return sets.write(self.key, entered, expect=revision)

    def _set(self, members: tuple[Member, ...]) -> LimitSet:
        return LimitSet(most=self.most, since=self.since, members=members)

    async def _rebuilt(self, bus: Bus, *, is_unreadable: bool) -> tuple[Member, ...]:
        if self.rebuild is not None:
            return await self.rebuild()
        if not is_unreadable:
            return ()
        # Unreadable members may still be active: the records decide. Keep the active ones only: there may be very many.
        active: dict[RunRef, Member] = {}
        async with aclosing(run_records(bus).once()) as batches:
            async for batch in batches:
                for ref, run, _, _ in batch.changes:
                    active.pop(ref, None)
                    if run is not None and self.is_active(run):
                        active[ref] = Member(pipeline=ref.pipeline, run_id=ref.run_id)
        return tuple(active.values())

    async def _over(self, bus: Bus, members: tuple[Member, ...]) -> set[RunId]:
        """Return the members that are no longer active. A member with an unreadable record holds no place.

        Raises:
            Full: As many are active as may be; the others need no look.
        """
        over = set()
        for number, member in enumerate(members, start=1):
            run = (await run_records(bus).load(member.ref, is_exact=True)).value
            if run is None or not self.is_active(run):
                over.add(member.run_id)
            elif number - len(over) >= self.most:
                raise Full(self.key, self.most)
        return over


def turn_limit(run: RunRecord) -> ConcurrencyLimit | None:
    """Return the limit that *run* enters when it begins; None: it has none of its own."""
    turn = run.order.turn
    if turn is None:
        return None
    return ConcurrencyLimit(
        key=subjects.turns_key(run.pipeline, turn.token),
        most=turn.limit,
        is_active=lambda other: is_running(other) and shares_turn(run, other),
    )


def shares_turn(run: RunRecord, other: RunRecord) -> bool:
    """Whether both count for one limit."""
    mine, its = run.order.turn, other.order.turn
    return mine is not None and its is not None and (run.pipeline, mine.token) == (other.pipeline, its.token)


class ChainLimit(NamedTuple):
    """At most ``most`` runs in the chain that began with ``root``, over its whole life."""

    root: RunId
    most: int

    @property
    def key(self) -> str:
        return subjects.chain_key(self.root)

    async def put_for(self, bus: Bus, ref: RunRef) -> Put:
        """As ``Limit.put_for``; *ref* is not in the chain yet. An unreadable count begins at one."""
        counts = chain_counts(bus)
        stored, revision = await counts.load(self.key)
        runs = (stored or ChainCount()).runs
        if runs >= self.most:
            raise ChainFull(self.key, self.most)
        return counts.write(self.key, ChainCount(runs=runs + 1), expect=revision)


def is_running(run: RunRecord) -> bool:
    """Return whether the run counts for the limit on running runs: a waiting retry does not."""
    return isinstance(run.state, Running)


def is_not_over(run: RunRecord) -> bool:
    """Return whether the run counts for ``max_instances``: waiting runs do."""
    return not run.is_over
