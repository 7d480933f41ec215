"""Step 1 of an attempt: claims the run for this runner by compare-and-set, and fetches its code. I/O."""

from __future__ import annotations

from typing import NamedTuple

from fastflow_contracts.bus.subjects import ALL_RUNNING, RunRef
from fastflow_contracts.labels import lacking
from fastflow_contracts.log import get_logger
from fastflow_contracts.runs.concurrency import ConcurrencyLimit, is_running, turn_limit
from fastflow_contracts.runs.messages import Hint
from fastflow_contracts.runs.run import Pending, Running, RunRecord
from fastflow_contracts.runs.state_machine import Adopt, Claim
from fastflow_contracts.runs.store import Stored
from fastflow_runner.attempts.code import Code, NoCode, fetch
from fastflow_runner.attempts.context import AttemptContext

log = get_logger(__name__)


class ClaimedRun(NamedTuple):
    """The record of a run that is ours, and its code."""

    held: Stored
    code: Code | NoCode


async def claim(context: AttemptContext, hint: Hint, *, is_fresh: bool) -> ClaimedRun | None:
    """Claim the attempt that *hint* names. It must not be under way here.

    Args:
        is_fresh: no runner, this one included, has acted on this hint before.

    Returns:
        None if there is nothing to claim: another runner was faster, the hint is old, or it is for runners with other
            labels.

    Raises:
        NoSuchRun: there is no such run.
        NotYet, CommandRefused: the state machine refuses the claim.
        Full: the concurrency limit is reached.
        BusError: the bus failed.
    """
    ref, number = RunRef(hint.pipeline, hint.run_id), hint.attempt
    known = Stored(hint.run, hint.revision) if hint.run and is_fresh else await context.runs.load(ref)
    state = known.run.state
    if _is_claimed(known.run, number, context.runner):
        return await adopt(context, known.run)  # the answer to our claim was lost
    if not isinstance(state, Pending) or state.attempt != number:
        return None
    if lacks := lacking(known.run.order.runs_on, context.labels):  # a scheduler of an older version sent the hint
        log.info("hint passed over", run=known.run.id, lacks=lacks)
        return None
    code = await fetch(context, known.run)
    command = Claim(attempt=number, runner=context.runner)
    most = hint.concurrent_max
    everywhere = ConcurrencyLimit(key=ALL_RUNNING, most=most, is_active=is_running) if most else None
    limits = [limit for limit in (turn_limit(known.run), everywhere) if limit is not None]
    changed = await context.runs.change(ref, command, known=known, limits=limits)
    if changed.events:
        return ClaimedRun(changed.stored, code)
    if _is_claimed(changed.run, number, context.runner):  # the answer was lost, and the record has changed since
        return await adopt(context, changed.run)
    return None


async def adopt(context: AttemptContext, run: RunRecord) -> ClaimedRun | None:
    """Take over a running run whose holder is gone. None if another runner was faster."""
    assert isinstance(run.state, Running)
    code = await fetch(context, run)
    changed = await context.runs.change(run.ref, Adopt(runner=context.runner, epoch=run.state.epoch))
    return ClaimedRun(changed.stored, code) if changed.events else None


def _is_claimed(run: RunRecord, number: int, runner: str) -> bool:
    """Whether *runner* claimed this attempt and has done nothing since."""
    state = run.state
    return isinstance(state, Running) and (state.runner, state.attempt, state.prepared_at) == (runner, number, None)
