"""How many runs may be active at once: sets of run ids beside the runs, in the same bucket. Data and arithmetic.

A set changes in the same atomic batch as the run that enters it, so it is never behind. Runs that are over are dropped
only when another run enters: all of them if the set is full, a few if it is large. Final states absorb, so a member
that is over stays over.
"""

from __future__ import annotations

from collections.abc import Collection

from fastflow_contracts.base import Count, Fact, StoredName, StoredRunId
from fastflow_contracts.bus.subjects import RunRef
from fastflow_contracts.codec import Codec
from fastflow_contracts.ids import RunId

CROWD = 100
"""A larger set is checked although it has room: it could grow to its limit, or beyond the size of a message."""
LOOKS = 4
"""Members of a large set that each new run checks. A set stays near the active runs: about a third more."""


class Member(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """One run in a set."""

    pipeline: StoredName
    run_id: StoredRunId

    @property
    def ref(self) -> RunRef:
        return RunRef(self.pipeline, self.run_id)


class LimitSet(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """At most ``most`` runs at once."""

    v: Count = 1
    most: Count
    since: str = ""
    """What the set belongs to; a set that belongs to something else is built again."""
    members: tuple[Member, ...] = ()
    write_id: str = ""


class ChainCount(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """How many runs one chain has had, the first one included. It only grows."""

    v: Count = 1
    runs: Count = 1
    write_id: str = ""


LIMIT = Codec(LimitSet)
CHAIN_COUNT = Codec(ChainCount)


def to_check(members: tuple[Member, ...], most: int) -> tuple[Member, ...]:
    """Return the members to check because they may be over: the ones that were not checked for longest."""
    if len(members) >= most:
        return members
    return members[:LOOKS] if len(members) >= CROWD else ()


def without(members: tuple[Member, ...], over: Collection[RunId]) -> tuple[Member, ...]:
    """Return *members* without those that are *over*."""
    return tuple(member for member in members if member.run_id not in over)
