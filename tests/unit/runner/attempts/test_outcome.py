"""What the end of a sandbox means for its run."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from fastflow_contracts.runs.run import RunErrorType
from fastflow_runner.attempts.outcome import Intent, outcome
from fastflow_runner.output.observed import Observed
from fastflow_runner.sandbox.events import Exited, Reason, Vanished
from tests.support.records import at


def exited(code: int, reason: Reason = "exited", *, oom: bool = False) -> Exited:
    return Exited(exit_code=code, reason=reason, oom=oom, message="", at=at(9), memory_peak_bytes=1, cpu_s=0.1)


@pytest.mark.parametrize(
    ("end", "intent", "code", "error_type", "stopped"),
    [
        (exited(0), Intent(), 0, None, False),
        (exited(3), Intent(), 3, RunErrorType.SCRIPT_ERROR, False),
        (exited(1, oom=True), Intent(), 137, RunErrorType.OOM, False),
        (exited(143, "timeout"), Intent(), 143, RunErrorType.TIMEOUT, False),
        (exited(143, "stopped"), Intent(cancelled=True), 143, None, True),
        (exited(143, "stopped"), Intent(abandoned="shutting down"), 143, RunErrorType.LOST, False),
        (exited(0), Intent(cancelled=True), 0, None, False),
        (exited(1), Intent(cancelled=True), 1, RunErrorType.SCRIPT_ERROR, True),
        (Vanished(exit_code=137, oom_killed=False), Intent(), 137, RunErrorType.LOST, False),
        (Vanished(exit_code=137, oom_killed=True), Intent(), 137, RunErrorType.OOM, False),
    ],
)
def test_an_end_is_the_scripts_the_systems_or_ours(
    end: Exited | Vanished, intent: Intent, code: int, error_type: RunErrorType | None, stopped: bool
) -> None:
    """A requested stop is not an error of the script; one that came too late changes nothing."""
    told = outcome(end, intent, Observed(), now=at(10))
    assert (told.exit_code, told.error_type, told.stopped) == (code, error_type, stopped)


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (exited(255), "the script ended with exit code 255"),
        (exited(137), "the script ended with exit code 137"),
        (replace(exited(139), signal=11), "the script ended with exit code 139, killed by SIGSEGV"),
        (replace(exited(163), signal=35), "the script ended with exit code 163, killed by signal 35"),
    ],
)
def test_a_signal_is_named_if_there_was_one(end: Exited, message: str) -> None:
    """A script may exit with any code by itself."""
    assert outcome(end, Intent(), Observed(), now=at(10)).error_message == message
