"""Why a run is not running yet, in words. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import assert_never

from fastflow_contracts import run as records
from fastflow_contracts.messages import Presence
from fastflow_contracts.run import Ended, Pending, Running

ENVIRONMENT = "its environment: interpreter and packages are being prepared"
NO_RUNNER = "a runner: none is connected"
TAKER = "a runner to take it"


def waiting_on(record: records.Run, *, runners: Sequence[Presence], now: datetime) -> str | None:
    """Why the run's code is not running yet, in words; None once it is, or will never be."""
    match record.state:
        case Ended():
            return None
        case Running(prepared_at=prepared_at):
            return ENVIRONMENT if prepared_at is None else None
        case Pending() as state if state.not_before > now:
            seconds = max(1, round((state.not_before - now).total_seconds()))
            return f"attempt {state.attempt} of {record.order.retry_attempts + 1}, due in {_countdown(seconds)}"
        case Pending():
            return _waiting_on_runners(record, runners)
        case _:
            assert_never(record.state)


def _waiting_on_runners(record: records.Run, runners: Sequence[Presence]) -> str:
    staying = [runner for runner in runners if not runner.leaving]
    fit = [runner for runner in staying if record.order.kind in runner.kinds]
    if not staying:
        return NO_RUNNER
    if not fit:
        return f"a runner that takes {record.order.kind}s: none is connected"
    slots, busy = sum(runner.slots for runner in fit), sum(runner.busy for runner in fit)
    return f"a free runner slot: {busy} of {slots} are busy" if busy >= slots else TAKER


def _countdown(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
