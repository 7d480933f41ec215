"""Decides what is due for runs that are not over. Pure: records and presences in, actions out.

``DueWork`` sees every change of a run and of a runner, and gets the time as an argument. Times from records are aware
UTC; times of local observations are seconds of a monotonic clock. A runner is judged by how long *this* process has not
heard from it, so clocks of other hosts do not matter.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeAlias

from fastflow_contracts.ids import RunId
from fastflow_contracts.runs.lease import Lease
from fastflow_contracts.runs.presence import Presence, is_gone
from fastflow_contracts.runs.run import Ended, Running, RunRecord
from fastflow_contracts.starting.lanes import FreeSlots, Slots

RENEW_AFTER = timedelta(days=30)
"""The bus removes records by age, those of active runs too, so old ones must be written again."""


@dataclass(frozen=True)
class ExpireRun:
    """Expire this run: its runner has been silent for longer than any of its sandboxes can live."""

    run: RunRecord
    epoch: int
    reason: str


@dataclass(frozen=True)
class RenewRun:
    """Write the record of this run again: it is old."""

    run: RunRecord


Action: TypeAlias = ExpireRun | RenewRun


@dataclass
class DueWork:
    """The runs that are not over and the known runners."""

    lease: Lease
    _runs: dict[RunId, RunRecord] = field(default_factory=dict)
    _held: Counter[str] = field(default_factory=Counter)
    """How many runs each runner holds."""
    _heard_at: dict[str, float] = field(default_factory=dict)
    _presences: dict[str, Presence] = field(default_factory=dict)
    _stored_at: dict[RunId, datetime] = field(default_factory=dict)

    def see_run(self, run: RunRecord, *, at: float, stored_at: datetime) -> None:
        """Take in a created or changed run. *at*: monotonic seconds; *stored_at*: when its record was written."""
        self.forget(run.id)
        if isinstance(run.state, Ended):
            return
        self._runs[run.id] = run
        self._stored_at[run.id] = stored_at
        if isinstance(run.state, Running):
            self._heard_at.setdefault(run.state.runner, at)
            self._held[run.state.runner] += 1

    def forget(self, run_id: RunId) -> None:
        """Take in that a run is over, or that its record was deleted."""
        former = self._runs.pop(run_id, None)
        self._stored_at.pop(run_id, None)
        if former is not None and isinstance(former.state, Running):
            self._held[former.state.runner] -= 1
            if not self._held[former.state.runner]:
                del self._held[former.state.runner]

    def see_runner(self, presence: Presence, *, at: float) -> None:
        """Take in a renewed presence."""
        self._presences[presence.runner] = presence
        self._heard_at[presence.runner] = at

    def is_renewed(self, presence: Presence) -> bool:
        """Whether *presence* differs from the last one seen of this runner, which means that the runner lives."""
        return self._presences.get(presence.runner) != presence

    def lose_runner(self, runner: str) -> None:
        """Take in that a runner has left: it holds no runs and offers no room."""
        self._presences.pop(runner, None)

    def forget_silence(self, *, at: float) -> None:
        """Give every runner its full time again, because this process was cut off itself."""
        for runner in self._heard_at:
            self._heard_at[runner] = at

    def actions(self, *, now: datetime, at: float) -> list[Action]:
        """What is due. Actions repeat until the record shows their effect."""
        return [*self._due_expiries(at), *self._due_renewals(now)]

    def free_slots(self, *, at: float) -> FreeSlots:
        """Return the free slots of the runners that are there."""
        return FreeSlots(
            Slots(
                runner.kinds,
                frozenset(runner.labels),
                0 if runner.paused else max(0, runner.slots - self._held[runner.runner]),
                runner.only_labelled,
            )
            for runner in self._presences.values()
            if self._is_there(runner, at)
        )

    def _is_there(self, runner: Presence, at: float) -> bool:
        return not runner.leaving and not is_gone(runner, silent_s=at - self._heard_at[runner.runner])

    def _due_expiries(self, at: float) -> list[ExpireRun]:
        found = []
        for run in self._runs.values():
            if isinstance(run.state, Running):
                silent_s = at - self._heard_at.get(run.state.runner, at)
                if silent_s >= self.lease.take_over_s:
                    reason = f"runner {run.state.runner} was silent for {silent_s:.0f} s"
                    found.append(ExpireRun(run, run.state.epoch, reason))
        return found

    def _due_renewals(self, now: datetime) -> list[RenewRun]:
        return [RenewRun(self._runs[run_id]) for run_id, at in self._stored_at.items() if now - at >= RENEW_AFTER]
