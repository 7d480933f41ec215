"""Decides what is due for runs that are not over. Pure: records and presences in, actions out.

With a limit on concurrent runs, all hints come from here: oldest run first, as many as the limit allows. Without a
limit, only two kinds do: repeats of hints that seem lost, and hints for runs that had to wait or were released.

``DueWork`` sees every change of a run and of a runner, and gets the time as an argument. Times from records are aware
UTC; times of local observations are seconds of a monotonic clock. A runner is judged by how long *this* process has not
heard from it, so clocks of other hosts do not matter.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeAlias, get_args

from fastflow_contracts.bus.subjects import Kind
from fastflow_contracts.ids import RunId
from fastflow_contracts.runs.lease import Lease
from fastflow_contracts.runs.presence import Presence, is_gone
from fastflow_contracts.runs.run import Ended, Pending, Running, RunRecord

ALL_KINDS = frozenset(get_args(Kind))
REHINT_S = 10.0
"""A pending run that no runner claims for this long gets another hint, while there is room."""
HINTS_MAX = 100
"""Hints per round, oldest run first."""
RENEW_AFTER = timedelta(days=30)
"""The bus removes records by age, those of active runs too, so old ones must be written again."""


@dataclass(frozen=True)
class HintRun:
    """Publish a hint for this pending run."""

    run: RunRecord


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


Action: TypeAlias = HintRun | ExpireRun | RenewRun


@dataclass
class DueWork:
    """The runs that are not over and the known runners. ``concurrent_max``: see the settings."""

    lease: Lease
    concurrent_max: int = 0
    _runs: dict[RunId, RunRecord] = field(default_factory=dict)
    _hint_at: dict[RunId, float] = field(default_factory=dict)
    """Earliest time of the next hint for a pending run."""
    _unhinted: set[RunId] = field(default_factory=set)
    """Runs whose first hint comes from here: those that wait for their time, and released ones."""
    _heard_at: dict[str, float] = field(default_factory=dict)
    _presences: dict[str, Presence] = field(default_factory=dict)
    _stored_at: dict[RunId, datetime] = field(default_factory=dict)

    def see_run(self, run: RunRecord, *, at: float, stored_at: datetime) -> None:
        """Take in a created or changed run. *at*: monotonic seconds; *stored_at*: when its record was written."""
        former = self._runs.get(run.id)
        if isinstance(run.state, Ended):
            self._forget(run.id)
            return
        self._runs[run.id] = run
        self._stored_at[run.id] = stored_at
        if isinstance(run.state, Running):
            self._heard_at.setdefault(run.state.runner, at)
        elif former is None or isinstance(former.state, Running):
            is_waiting = run.state.attempt > 1 or run.state.not_before > run.created_at
            if self.concurrent_max or is_waiting or run.releases:
                self._unhinted.add(run.id)
                self._hint_at[run.id] = at
            else:  # its creator sends the first hint
                self._hint_at[run.id] = at + REHINT_S

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
        """What is due. A hint comes once per ``REHINT_S``; other actions repeat until the record shows their effect."""
        return [*self._due_hints(now, at), *self._due_expiries(at), *self._due_renewals(now)]

    def next_due_s(self, *, now: datetime) -> float:
        """Seconds until the next attempt of a waiting run is due; infinity if no run is waiting."""
        waits = [
            (run.state.not_before - now).total_seconds()
            for run in self._runs.values()
            if isinstance(run.state, Pending) and run.state.not_before > now
        ]
        return min(waits, default=float("inf"))

    def _due_hints(self, now: datetime, at: float) -> list[HintRun]:
        there = [presence for presence in self._presences.values() if self._is_there(presence, at)]
        served = {kind for presence in there for kind in presence.kinds}
        with_room = {
            kind
            for presence in there
            if presence.busy < presence.slots and not presence.paused
            for kind in presence.kinds
        }
        # Under the limit a hint reserves a place for a while. A run that no runner can serve must not reserve one.
        first_hints = served if self.concurrent_max else ALL_KINDS
        due = [
            (run.state.not_before, run.created_at, run.id)
            for run in self._runs.values()
            if isinstance(run.state, Pending)
            and run.state.not_before <= now
            and at >= self._hint_at[run.id]
            and (run.order.kind in with_room or (run.id in self._unhinted and run.order.kind in first_hints))
        ]
        chosen = [self._runs[run_id] for _, _, run_id in heapq.nsmallest(min(HINTS_MAX, self._free(at)), due)]
        for run in chosen:
            self._hint_at[run.id] = at + REHINT_S
            self._unhinted.discard(run.id)
        return [HintRun(run) for run in chosen]

    def _is_there(self, runner: Presence, at: float) -> bool:
        return not runner.leaving and not is_gone(runner, silent_s=at - self._heard_at[runner.runner])

    def _free(self, at: float) -> int:
        """How many more runs may get hints under the limit. A recently hinted run counts: it may start any time."""
        if not self.concurrent_max:
            return HINTS_MAX
        taken = sum(
            isinstance(run.state, Running) or (run_id not in self._unhinted and self._hint_at[run_id] > at)
            for run_id, run in self._runs.items()
        )
        return max(0, self.concurrent_max - taken)

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

    def lose_run(self, run_id: RunId) -> None:
        """Take in that an operator removed a run."""
        self._forget(run_id)

    def _forget(self, run_id: RunId) -> None:
        self._runs.pop(run_id, None)
        self._hint_at.pop(run_id, None)
        self._stored_at.pop(run_id, None)
        self._unhinted.discard(run_id)
