"""Sandboxes that exist though no attempt of this process holds them: adopt, remove, or leave. Pure.

They are left by a runner that died, by this one's former life, or by a removal that failed. The record decides: a
sandbox is what a run's holder opened, so it is adopted when that holder is gone, and removed when nobody can want it.
One that was never handed a job is of no use to anybody but its opener.
"""

from __future__ import annotations

from enum import Enum

from fastflow_contracts.runs.run import Run, Running


class Fate(Enum):
    """What to do with a sandbox nobody here holds."""

    ADOPT = "adopt"
    REMOVE = "remove"
    LEAVE = "leave"


def fate(run: Run | None, attempt: int, *, runner: str, holder_is_gone: bool) -> Fate:
    """Decide about the sandbox of *attempt* (from its name) of *run* (None: there is no record).

    *runner*: our id. A run that we hold by id but not in memory is our former life's. *holder_is_gone*: the run's
    holder, if it is another runner, has been silent for longer than its lease.
    """
    if run is None or not isinstance(run.state, Running) or attempt != run.state.attempt:
        return Fate.REMOVE
    if run.state.runner == runner or holder_is_gone:
        return Fate.ADOPT if run.state.prepared_at else Fate.REMOVE
    return Fate.LEAVE
