"""The runs that share a limit of ``concurrency``, to say which place a waiting one has. A data structure."""

from __future__ import annotations

from collections import defaultdict
from typing import TypeAlias

from fastflow_contracts.ids import RunId
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.run import Pending, Running, RunRecord
from fastflow_contracts.starting.turn_groups import TurnPlace
from fastflow_gateway.views.waiting import PlaceInLine

_Name: TypeAlias = tuple[PipelineName, str]


class Turns:
    """Fed with every change of a run."""

    def __init__(self) -> None:
        self._groups: defaultdict[_Name, dict[RunId, RunRecord]] = defaultdict(dict)
        self._name_of: dict[RunId, _Name] = {}

    def put(self, run: RunRecord) -> None:
        """Take in a change."""
        if run.is_over:
            self.remove(run.id)
        elif run.order.turn is not None:
            name = self._name_of[run.id] = (run.pipeline, run.order.turn.token)
            self._groups[name][run.id] = run

    def remove(self, run_id: RunId) -> None:
        """Take in that a run is over or was removed."""
        if (name := self._name_of.pop(run_id, None)) is not None:
            del self._groups[name][run_id]
            if not self._groups[name]:
                del self._groups[name]

    def place(self, run: RunRecord) -> PlaceInLine | None:
        """Return the place of a waiting run; None: it waits for no limit of its own."""
        if (name := self._name_of.get(run.id)) is None:
            return None
        members = self._groups[name].values()
        waiting = [TurnPlace.of(each) for each in members if isinstance(each.state, Pending)]
        own = TurnPlace.of(run)
        before = sum(each < own for each in waiting)
        running = sum(isinstance(each.state, Running) for each in members)
        return PlaceInLine(before + 1, len(waiting), running)
