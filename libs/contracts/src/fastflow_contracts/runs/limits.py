"""How many runs may be active at once: sets of run ids beside the runs, in the same bucket. Data, and the arithmetic.

A set is changed in the same atomic batch as the run that enters it, so it is never behind. Runs that are over are
dropped from a set only when a new run enters: at all of them when it is full, at a few when it is a crowd.
Ended states absorb, so a member found to be over stays over.
"""

from __future__ import annotations

from collections.abc import Collection

from fastflow_contracts.base import Fact
from fastflow_contracts.bus.subjects import RunRef
from fastflow_contracts.codec import Codec
from fastflow_contracts.ids import RunId
from fastflow_contracts.names import PipelineName

CROWD = 100
"""A larger set is looked at though it has room: else it would grow to its limit, or beyond what a message holds."""
LOOKS = 4
"""Members of a crowd that are looked at for one that enters. A set stays near what is active: a third more, or so."""


class Member(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """One run in a set."""

    pipeline: PipelineName
    run_id: RunId

    @property
    def ref(self) -> RunRef:
        return RunRef(self.pipeline, self.run_id)


class LimitSet(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """At most ``most`` runs at once."""

    v: int = 1
    most: int
    since: str = ""
    """What the set belongs to; a set that belongs to something else says nothing and is made anew."""
    members: tuple[Member, ...] = ()
    write_id: str = ""


class ChainCount(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """How many runs one chain has had, the first one included. It only grows."""

    v: int = 1
    runs: int = 1
    write_id: str = ""


LIMIT = Codec(LimitSet)
CHAIN_COUNT = Codec(ChainCount)


def to_look_at(members: tuple[Member, ...], most: int) -> tuple[Member, ...]:
    """Those that may be over and in the way of one more; the first ones, which were not looked at for longest."""
    if len(members) >= most:
        return members
    return members[:LOOKS] if len(members) >= CROWD else ()


def without(members: tuple[Member, ...], over: Collection[RunId]) -> tuple[Member, ...]:
    """*members* but those that are *over*."""
    return tuple(member for member in members if member.run_id not in over)
