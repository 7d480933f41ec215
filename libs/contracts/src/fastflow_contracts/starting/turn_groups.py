"""The runs that share a limit of ``concurrency``: whose turn it is, and which ones a newer run replaces. Pure.

A run is *inside* from the moment that its turn has come until it no longer runs. Only as many are inside as the limit
allows, so the oldest of a group are the next ones. Every scheduler sees the same changes and decides the same; a
runner's claim enters the limit itself, so a scheduler that is behind cannot let one too many begin.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from fastflow_contracts.ids import RunId
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.run import Running, RunRecord, Turn

_Name: TypeAlias = tuple[PipelineName, str]


@dataclass
class _TurnGroup:
    members: dict[RunId, RunRecord] = field(default_factory=dict)
    """All that are not over."""
    inside: set[RunId] = field(default_factory=set)
    waiting: list[tuple[datetime, RunId]] = field(default_factory=list)
    """In order of creation; those not in ``due`` are no longer valid."""
    due: set[RunId] = field(default_factory=set)


class TurnGroups:
    """Fed with every change of a run, in the order of the bus."""

    def __init__(self) -> None:
        self._groups: dict[_Name, _TurnGroup] = {}
        self._name_of: dict[RunId, _Name] = {}
        self._changed: set[_Name] = set()
        self._crowded: set[_Name] = set()
        """Groups that may have runs to replace."""

    def see(self, run: RunRecord) -> None:
        """Take in a change of a run."""
        if (turn := run.order.turn) is None:
            return
        if run.is_over:
            self.forget(run.id)
            return
        name = self._name_of[run.id] = (run.pipeline, turn.token)
        group = self._groups.setdefault(name, _TurnGroup())
        former, group.members[run.id] = group.members.get(run.id), run
        if isinstance(run.state, Running):
            group.due.discard(run.id)
            group.inside.add(run.id)
        elif former is None or (former.state, former.releases) != (run.state, run.releases):
            group.due.discard(run.id)
            group.inside.discard(run.id)
        self._changed.add(name)
        if turn.on_limit == "replace" and len(group.members) > turn.limit:
            self._crowded.add(name)

    def forget(self, run_id: RunId) -> None:
        """Take in that a run is over, or was deleted."""
        if (name := self._name_of.pop(run_id, None)) is None:
            return
        group = self._groups[name]
        del group.members[run_id]
        group.inside.discard(run_id)
        group.due.discard(run_id)
        if group.members:
            self._changed.add(name)
        else:
            del self._groups[name]
            self._changed.discard(name)
            self._crowded.discard(name)

    def enter(self, run: RunRecord) -> None:
        """Take in that a hint for the run is outstanding: another scheduler let it in."""
        if (name := self._name_of.get(run.id)) is not None:
            self._groups[name].due.discard(run.id)
            self._groups[name].inside.add(run.id)

    def line_up_again(self, hinted: Collection[RunId]) -> None:
        """Forget which runs are due: those that still are come again to ``must_wait``. *hinted* stay inside."""
        for name, group in self._groups.items():
            group.due.clear()
            group.waiting.clear()
            group.inside = {
                run.id for run in group.members.values() if isinstance(run.state, Running) or run.id in hinted
            }
            self._changed.add(name)

    def must_wait(self, run: RunRecord) -> bool:
        """Take in that the run is due. Returns whether it waits for its turn: ``admitted`` then names it."""
        if (name := self._name_of.get(run.id)) is None:
            return False
        group = self._groups[name]
        if run.id in group.inside:
            return False
        if run.id not in group.due:
            group.due.add(run.id)
            heapq.heappush(group.waiting, (run.created_at, run.id))
            self._changed.add(name)
        return True

    def admitted(self) -> list[RunRecord]:
        """Return the runs whose turn has come, each once."""
        found: list[RunRecord] = []
        for name in self._changed:
            group = self._groups[name]
            while group.waiting:
                run_id = group.waiting[0][1]
                if run_id not in group.due:
                    heapq.heappop(group.waiting)
                    continue
                run = group.members[run_id]
                if len(group.inside) >= _turn(run).limit:
                    break
                heapq.heappop(group.waiting)
                group.due.discard(run_id)
                group.inside.add(run_id)
                found.append(run)
        self._changed.clear()
        return found

    def replaced(self) -> list[RunRecord]:
        """Return the runs that newer ones replace: those beyond the limit, the oldest first.

        A run is named until it is known to end: a scheduler may die, or a bus fail, before it is cancelled.
        """
        found: list[RunRecord] = []
        for name in list(self._crowded):
            by_age = sorted(self._groups[name].members.values(), key=lambda each: (each.created_at, each.id))
            turn = _turn(by_age[-1])
            older = by_age[: -turn.limit] if turn.on_limit == "replace" else []
            if not older:
                self._crowded.discard(name)
            found += (each for each in older if not _is_stopping(each))
        return found


def _turn(run: RunRecord) -> Turn:
    assert run.order.turn is not None
    return run.order.turn


def _is_stopping(run: RunRecord) -> bool:
    return isinstance(run.state, Running) and run.state.is_stopping
