"""Sandboxes that no attempt of this process holds: adopt, remove, or leave them. Pure.

They remain from a runner that died, from this runner's previous process, or from a removal that failed. The run's
record decides: a sandbox is adopted when the run's holder is gone, and removed when no runner can use it. Only the
runner that opened a sandbox can use it before it was handed a job.
"""

from __future__ import annotations

from enum import Enum

from fastflow_contracts.runs.run import Running, RunRecord


class OrphanDecision(Enum):
    """What to do with a sandbox that no attempt here holds."""

    ADOPT = "adopt"
    REMOVE = "remove"
    LEAVE = "leave"


def decide(run: RunRecord | None, attempt: int, *, runner: str, holder_is_gone: bool) -> OrphanDecision:
    """Decide about one sandbox.

    Args:
        run: the run it belongs to; None if there is no record.
        attempt: the attempt in the sandbox's name.
        runner: our id. A run that our id holds, but no attempt here does, is from our previous process.
        holder_is_gone: the run's holder is another runner, silent for longer than its lease.
    """
    if run is None or not isinstance(run.state, Running) or attempt != run.state.attempt:
        return OrphanDecision.REMOVE
    if run.state.runner == runner or holder_is_gone:
        return OrphanDecision.ADOPT if run.state.prepared_at else OrphanDecision.REMOVE
    return OrphanDecision.LEAVE
