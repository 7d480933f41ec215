"""What the end of a sandbox means for its run."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from fastflow_contracts.runs.run import RunErrorType
from fastflow_runner.attempts.outcome import Intent, LeftArtifacts, outcome, without_secrets
from fastflow_runner.guest.cells.masking import Masker
from fastflow_runner.output.observed import Observed
from fastflow_runner.sandbox.events import Answer, Exited, Reason, Vanished
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


def test_a_script_without_room_for_its_files_is_told_which_setting_bounds_them() -> None:
    seen = Observed(last_error_line="OSError: [Errno 28] No space left on device")
    told = outcome(exited(1), Intent(), seen, now=at(10)).error_message or ""
    assert told.startswith("OSError: [Errno 28] No space left on device (exit code 1); ")
    assert "FASTFLOW_WORK_BYTES" in told


@pytest.mark.parametrize(
    ("answer", "route", "warning"),
    [
        (Answer(data=b"approved\n"), "approved", None),
        (Answer(data=b"\n"), None, None),
        (None, None, None),
        (Answer(data=b"one\ntwo"), None, "FASTFLOW_ROUTE_FILE was ignored: the file has several lines"),
        (Answer(problem="it is not a regular file"), None, "cannot be used (it is not a regular file)"),
    ],
)
@pytest.mark.parametrize("code", [0, 3])
def test_a_route_is_read_and_what_is_none_is_a_warning(
    code: int, answer: Answer | None, route: str | None, warning: str | None
) -> None:
    """It changes nothing about how the run ended."""
    end = replace(exited(code), answers={"route": answer} if answer else {})
    told = outcome(end, Intent(), Observed(warnings=("a soft limit",)), now=at(10))
    assert (told.exit_code, told.route, told.warnings[0]) == (code, route, "a soft limit")
    assert len(told.warnings) == (2 if warning else 1)
    assert (warning or "") in told.warnings[-1]


NONE = "FASTFLOW_RESULT_FILE holds no result: "


@pytest.mark.parametrize(
    ("answer", "result", "problem"),
    [
        (None, None, ""),
        (Answer(data=b' {"rows": 3}\n'), b'{"rows": 3}', ""),
        (Answer(data=b"null"), b"null", ""),
        (Answer(data=b" "), None, ""),
        (Answer(data=b"NaN"), None, f"{NONE}NaN is not JSON"),
        (Answer(data=b"x" * 70_000), None, f"{NONE}it has more than 65,536 bytes"),
        (Answer(problem="it is not a regular file"), None, f"{NONE}it is not a regular file; write a plain file"),
        (Answer(problem="it holds a secret"), None, f"{NONE}it holds a secret; write a plain file of JSON, without"),
    ],
)
@pytest.mark.parametrize(
    ("end", "intent", "error_type"),
    [
        (exited(0), Intent(), RunErrorType.RESULT_ERROR),
        (exited(0), Intent(cancelled=True), None),
        (exited(3), Intent(), RunErrorType.SCRIPT_ERROR),
        (exited(143, "timeout"), Intent(), RunErrorType.TIMEOUT),
        (exited(143, "stopped"), Intent(cancelled=True), None),
    ],
)
def test_what_is_no_result_fails_a_script_that_ended_well(
    end: Exited,
    intent: Intent,
    error_type: RunErrorType | None,
    answer: Answer | None,
    result: bytes | None,
    problem: str,
) -> None:
    """After another failure it is a warning; a result counts however the script ends."""
    told = outcome(replace(end, answers={"result": answer} if answer else {}), intent, Observed(), now=at(10))
    assert (told.exit_code, told.result) == (end.exit_code, result)
    is_result_error = error_type is RunErrorType.RESULT_ERROR
    assert told.error_type == (None if is_result_error and not problem else error_type)
    where = told.error_message if is_result_error else " ".join(told.warnings)
    assert (where or "").startswith(problem)
    assert bool(told.warnings) == bool(problem and not is_result_error)


UNKEPT = LeftArtifacts(problems=("'a' is a link.", "'b' is a link."))


@pytest.mark.parametrize(
    ("end", "intent", "left", "error_type", "stopped"),
    [
        (exited(0), Intent(), UNKEPT, RunErrorType.ARTIFACTS_ERROR, False),
        (exited(3), Intent(), UNKEPT, RunErrorType.SCRIPT_ERROR, False),
        (exited(143, "timeout"), Intent(), UNKEPT, RunErrorType.TIMEOUT, False),
        (exited(143, "stopped"), Intent(cancelled=True), UNKEPT, None, True),
        (exited(0), Intent(cancelled=True), UNKEPT, None, False),
        (exited(0), Intent(cancelled=True), replace(UNKEPT, was_stopped=True), None, True),
        (exited(0), Intent(abandoned="it shuts down"), replace(UNKEPT, was_stopped=True), RunErrorType.LOST, False),
    ],
)
def test_what_is_not_kept_fails_a_script_that_ended_well(
    end: Exited, intent: Intent, left: LeftArtifacts, error_type: RunErrorType | None, stopped: bool
) -> None:
    """After another failure it is a warning; a cancel while files are stored is in time."""
    told = outcome(end, intent, Observed(), now=at(10), left=left)
    assert (told.exit_code, told.error_type, told.stopped) == (end.exit_code, error_type, stopped)
    words = "not all of FASTFLOW_ARTIFACTS_DIR was kept: 'a' is a link. 1 more: see the log."
    if error_type is RunErrorType.ARTIFACTS_ERROR:
        assert (told.error_message, told.warnings) == (words, ())
    elif error_type is not RunErrorType.LOST:
        assert told.warnings == (words,)


def test_an_answer_that_holds_a_secret_is_dropped() -> None:
    """Others stay, and so does the rest of the end."""
    masker = Masker(["a-secret"])
    end = replace(exited(3), answers={"route": Answer(data=b"x a-secret\n"), "other": Answer(data=b"fine")})
    cleaned = without_secrets(end, masker.mask)
    assert isinstance(cleaned, Exited)
    assert cleaned.answers == {"route": Answer(problem="it holds a secret"), "other": Answer(data=b"fine")}
    assert cleaned.exit_code == 3
    vanished = Vanished(exit_code=137, oom_killed=False)
    assert without_secrets(vanished, masker.mask) is vanished


LIMITED = Observed(memory_bytes_limit=128 * 1024**2, warnings=("soft",))
WORDS = "it needed more memory than its limit of 128 MiB"
ADVICE = "; raise mem_hard_limit or use less"
SHARED = Observed(memory_bytes_max=240 * 1024**2)
SHARE = "it needed more memory than its runner gives to one run, 240 MiB"
RAISE_SHARE = "; raise FASTFLOW_MEMORY_SHARE_MAX of the runner or use less"
FILES = ", with 100 MiB in files that the run wrote, which count as memory"


@pytest.mark.parametrize(
    ("end", "seen", "message"),
    [
        (exited(137, oom=True), LIMITED, f"killed because {WORDS}{ADVICE}"),
        (replace(exited(137, oom=True), files_bytes=100 * 1024**2), LIMITED, f"killed because {WORDS}{FILES}{ADVICE}"),
        (replace(exited(137, oom=True), files_bytes=4096), LIMITED, f"killed because {WORDS}{ADVICE}"),
        (Vanished(exit_code=137, oom_killed=True), LIMITED, f"killed because {WORDS}{ADVICE}"),
        (exited(137, oom=True), Observed(), "killed because the machine ran out of memory"),
        (exited(137, oom=True), SHARED, f"killed because {SHARE}{RAISE_SHARE}"),
        (
            replace(exited(137, oom=True), files_bytes=100 * 1024**2),
            replace(SHARED, memory_bytes_limit=2 * 1024**3),
            f"killed because {SHARE}{FILES}{RAISE_SHARE}",
        ),
        (Vanished(exit_code=137, oom_killed=True), SHARED, f"killed because {SHARE}{RAISE_SHARE}"),
        (exited(137, oom=True), replace(LIMITED, memory_bytes_max=1024**3), f"killed because {WORDS}{ADVICE}"),
        (
            replace(exited(137, oom=True), files_bytes=100 * 1024**2),
            Observed(),
            f"killed because the machine ran out of memory{FILES}",
        ),
    ],
)
def test_too_little_memory_is_told_with_what_took_it(end: Exited | Vanished, seen: Observed, message: str) -> None:
    """Files are named where they matter: people do not expect them in memory."""
    assert outcome(end, Intent(), seen, now=at(10)).error_message == message


def test_a_child_that_memory_ended_is_a_warning_where_the_script_goes_on() -> None:
    """The run keeps its own end; a run that memory ended has an error instead."""
    told = outcome(exited(0, oom=True), Intent(), LIMITED, now=at(10))
    child = f"a process that the script started was killed: {WORDS}{ADVICE}"
    assert (told.error_type, told.warnings) == (None, ("soft", child))
    assert outcome(exited(143, "timeout", oom=True), Intent(), LIMITED, now=at(10)).warnings == ("soft", child)
    assert outcome(exited(137, oom=True), Intent(), LIMITED, now=at(10)).warnings == ("soft",)
