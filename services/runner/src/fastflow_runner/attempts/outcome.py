"""What the end of a sandbox means for the run. Pure: from the supervisor's report and our intent to the outcome.

Exit code 137 has three causes: the kernel (out of memory), this runner (for its own reason), or someone else.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from datetime import datetime
from signal import Signals
from typing import assert_never

import msgspec
from msgspec.structs import replace

from fastflow_contracts.pipelines.route import BadRoute, read_route
from fastflow_contracts.runs.artifacts.manifest import ArtifactManifest
from fastflow_contracts.runs.result import BadResult, read_result
from fastflow_contracts.runs.run import RunErrorType
from fastflow_contracts.runs.state_machine import AttemptOutcome
from fastflow_runner.attempts.job import RESULT_NAME, ROUTE_NAME
from fastflow_runner.guest.supervisor.frames import ORPHANED_EXIT_CODE
from fastflow_runner.output.observed import Observed
from fastflow_runner.sandbox.events import Answer, Exited, Vanished
from fastflow_runner.sandbox.limits import least

OOM_EXIT_CODE = 137
FILES_BYTES_WORTH_SAYING = 1024**2
NO_ROOM = os.strerror(errno.ENOSPC)
ROOM = (
    "in Docker and bubble the files of a run, artifacts included, must fit into FASTFLOW_WORK_BYTES of the runner, and "
    "those below /tmp into FASTFLOW_TMP_BYTES"
)
VANISHING = "its environment was removed again and again; give environments a larger budget"
ORPHANED = "its runner was silent for too long, so the sandbox stopped itself"


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """Why the runner stopped the script, if it did. At most one field is set: the first reason counts."""

    cancelled: bool = False
    abandoned: str | None = None
    """The runner's own reason: it shuts down, or is cut off from the bus."""


class LeftArtifacts(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the artifacts of an attempt."""

    manifest: ArtifactManifest | None = None
    problems: tuple[str, ...] = ()
    """A sentence for each thing that stays behind."""
    was_stopped: bool = False
    """Whether the run was stopped while they were stored."""


def outcome(
    end: Exited | Vanished, intent: Intent, seen: Observed, *, now: datetime, left: LeftArtifacts | None = None
) -> AttemptOutcome:
    """The outcome to record for the attempt."""
    left = left or LeftArtifacts()
    exit_code, error_type, message = _verdict(end, intent, seen)
    route, complaints = _route(end)
    result, problem = _result(end)
    if problem and error_type is None and not intent.cancelled:
        error_type, message = RunErrorType.RESULT_ERROR, problem
    elif problem:
        complaints += (problem,)
    problem = _unkept(left)
    if problem and error_type is None and not intent.cancelled:
        lost = left.was_stopped and intent.abandoned
        error_type, message = (RunErrorType.LOST, lost) if lost else (RunErrorType.ARTIFACTS_ERROR, problem)
    elif problem:
        complaints += (problem,)
    warnings = seen.warnings
    if isinstance(end, Exited) and end.oom and error_type is not RunErrorType.OOM:
        warnings += (f"a process that the script started was killed: {_memory(seen, end.files_bytes)}",)
    peak = end.memory_peak_bytes if isinstance(end, Exited) else seen.memory_bytes_peak
    return AttemptOutcome(
        finished_at=end.at if isinstance(end, Exited) else now,
        started_at=seen.started_at,
        exit_code=exit_code,
        error_type=error_type,
        error_message=message,
        stopped=intent.cancelled and (error_type is not None or _was_stopped(end) or left.was_stopped),
        memory_bytes_peak=peak or seen.memory_bytes_peak,
        cpu_cores_peak=seen.cpu_cores_peak,
        warnings=(*warnings, *complaints),
        log_sequence=seen.log_sequence,
        cell_sequence=seen.cell_sequence,
        route=route,
        result=result,
        artifacts=left.manifest,
    )


def without_secrets(end: Exited | Vanished, mask: Callable[[bytes], bytes]) -> Exited | Vanished:
    """*end* without the answers that hold a secret: a record never has one."""
    if isinstance(end, Vanished):
        return end
    answers = {
        name: answer if mask(answer.data) == answer.data else Answer(problem="it holds a secret")
        for name, answer in end.answers.items()
    }
    return replace(end, answers=answers)


def _route(end: Exited | Vanished) -> tuple[str | None, tuple[str, ...]]:
    """The label that the script wrote, and a warning if it wrote something else."""
    answer = end.answers.get(ROUTE_NAME) if isinstance(end, Exited) else None
    if answer is None:
        return None, ()
    try:
        if answer.problem:
            raise BadRoute(f"the file cannot be used ({answer.problem}); write a plain file with one label.")
        return read_route(answer.data), ()
    except BadRoute as error:
        return None, (f"FASTFLOW_ROUTE_FILE was ignored: {error}",)


def _result(end: Exited | Vanished) -> tuple[bytes | None, str]:
    """The JSON that the script wrote, and what is wrong with it if it wrote something else."""
    answer = end.answers.get(RESULT_NAME) if isinstance(end, Exited) else None
    if answer is None:
        return None, ""
    try:
        if answer.problem:
            raise BadResult(f"{answer.problem}; write a plain file of JSON, without secrets.")
        return read_result(answer.data), ""
    except BadResult as error:
        return None, f"FASTFLOW_RESULT_FILE holds no result: {error}"


def _unkept(left: LeftArtifacts) -> str:
    """What is missing of the artifacts, in one sentence."""
    if not left.problems:
        return ""
    first, more = left.problems[0], len(left.problems) - 1
    return f"not all of FASTFLOW_ARTIFACTS_DIR was kept: {first}" + (f" {more} more: see the log." if more else "")


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
        return OOM_EXIT_CODE, RunErrorType.OOM, f"killed because {_memory(seen, end.files_bytes)}"
    suffix = f"exit code {end.exit_code}"
    if end.signal:
        suffix += f", killed by {_name(end.signal)}"
    message = f"{seen.last_error_line} ({suffix})" if seen.last_error_line else f"the script ended with {suffix}"
    if NO_ROOM in message:
        message += f"; {ROOM}"
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
        return OOM_EXIT_CODE, RunErrorType.OOM, f"killed because {_memory(seen)}"
    if end.exit_code == ORPHANED_EXIT_CODE:
        return end.exit_code, RunErrorType.LOST, ORPHANED
    return end.exit_code, RunErrorType.LOST, "its sandbox was killed or removed from outside"


def _memory(seen: Observed, files_bytes: int = 0) -> str:
    """Say what ran out, and what to do."""
    files = ""
    if files_bytes >= FILES_BYTES_WORTH_SAYING:
        files = f", with {_mib(files_bytes)} in files that the run wrote, which count as memory"
    own, most = seen.memory_bytes_limit, seen.memory_bytes_max
    if own is not None and own == least(own, most):
        return f"it needed more memory than its limit of {_mib(own)}{files}; raise mem_hard_limit or use less"
    if most is not None:
        return (
            f"it needed more memory than its runner gives to one run, {_mib(most)}{files}; raise "
            "FASTFLOW_MEMORY_SHARE_MAX of the runner or use less"
        )
    return f"the machine ran out of memory{files}"


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 1024**2:.4g} MiB"
