"""What the end of a sandbox means for the run. Pure: from the supervisor's report and our intent to the outcome.

Exit code 137 has three causes: the kernel (out of memory), this runner (for a reason of its own), or someone else.
"""

from __future__ import annotations

from datetime import datetime
from signal import Signals
from typing import assert_never

import msgspec

from fastflow_contracts.runs.run import RunErrorType
from fastflow_contracts.runs.state_machine import AttemptOutcome
from fastflow_runner.guest.supervisor.frames import ORPHANED_EXIT_CODE
from fastflow_runner.output.observed import Observed
from fastflow_runner.sandbox.events import Exited, Vanished

OOM_EXIT_CODE = 137
VANISHING = "its environment was removed again and again; give environments a larger budget"
ORPHANED = "its runner was silent for too long, so the sandbox stopped itself"


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """Why the runner stopped the script, if it did. At most one field is set: the first reason counts."""

    cancelled: bool = False
    abandoned: str | None = None
    """The runner's own reason: it shuts down, or is cut off from the bus."""


def outcome(end: Exited | Vanished, intent: Intent, seen: Observed, *, now: datetime) -> AttemptOutcome:
    """The outcome to record for the attempt."""
    exit_code, error_type, message = _verdict(end, intent, seen)
    peak = end.memory_peak_bytes if isinstance(end, Exited) else seen.memory_bytes_peak
    return AttemptOutcome(
        finished_at=end.at if isinstance(end, Exited) else now,
        started_at=seen.started_at,
        exit_code=exit_code,
        error_type=error_type,
        error_message=message,
        stopped=intent.cancelled and (error_type is not None or _was_stopped(end)),
        memory_bytes_peak=peak or seen.memory_bytes_peak,
        cpu_cores_peak=seen.cpu_cores_peak,
        warnings=seen.warnings,
        log_sequence=seen.log_sequence,
        cell_sequence=seen.cell_sequence,
    )


def _was_stopped(end: Exited | Vanished) -> bool:
    return isinstance(end, Exited) and end.reason == "stopped"


def _verdict(
    end: Exited | Vanished, intent: Intent, seen: Observed
) -> tuple[int | None, RunErrorType | None, str | None]:
    if isinstance(end, Vanished):
        return _vanished(end, intent, seen)
    match end.reason:
        case "exited":
            return _exited(end, seen)
        case "timeout":
            return end.exit_code, RunErrorType.TIMEOUT, f"stopped after its timeout of {seen.timeout_s:g} s"
        case "stopped":
            if intent.cancelled:
                return end.exit_code, None, "cancelled"
            return end.exit_code, RunErrorType.LOST, intent.abandoned or "stopped by its runner"
        case "orphaned":
            return end.exit_code, RunErrorType.LOST, ORPHANED
        case "setup_error":
            return end.exit_code, RunErrorType.ENVIRONMENT_ERROR, end.message
        case "no_environment":
            return end.exit_code, RunErrorType.ENVIRONMENT_ERROR, VANISHING
        case _:
            assert_never(end.reason)


def _exited(end: Exited, seen: Observed) -> tuple[int, RunErrorType | None, str | None]:
    if end.exit_code == 0:
        return 0, None, None
    if end.oom:
        return OOM_EXIT_CODE, RunErrorType.OOM, _oom_message(seen)
    suffix = f"exit code {end.exit_code}"
    if end.signal:
        suffix += f", killed by {_name(end.signal)}"
    message = f"{seen.last_error_line} ({suffix})" if seen.last_error_line else f"the script ended with {suffix}"
    return end.exit_code, RunErrorType.SCRIPT_ERROR, message


def _name(number: int) -> str:
    try:
        return Signals(number).name
    except ValueError:  # some signals have no name, such as real-time ones
        return f"signal {number}"


def _vanished(end: Vanished, intent: Intent, seen: Observed) -> tuple[int | None, RunErrorType, str]:
    if intent.abandoned:
        return end.exit_code, RunErrorType.LOST, intent.abandoned
    if end.oom_killed:
        return OOM_EXIT_CODE, RunErrorType.OOM, _oom_message(seen)
    if end.exit_code == ORPHANED_EXIT_CODE:
        return end.exit_code, RunErrorType.LOST, ORPHANED
    return end.exit_code, RunErrorType.LOST, "its sandbox was killed or removed from outside"


def _oom_message(seen: Observed) -> str:
    if seen.memory_bytes_limit is None:
        return "killed because the machine ran out of memory"
    limit = f"{seen.memory_bytes_limit / 1024**2:g} MiB"
    return f"killed because it needed more memory than its limit of {limit}; raise mem_hard_limit or use less"
