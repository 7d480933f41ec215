"""The words of the pages: statuses, errors, schedules, and untrusted text. Pure.

Everything here turns values into short English for people. Templates add the markup. Durations, moments and sizes are
in ``fastflow_api.formatting``, which the terminal uses too.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

from fastflow_api import shapes
from fastflow_api.formatting import DAY_S, HOUR_S, MINUTE_S, bytes_text, duration, exact
from fastflow_api.shapes import ErrorType, Limits, Status, TriggeredBy

SHORT_COMMIT_CHARACTERS: Final = 10
SHOWN_CHARACTERS_MAX: Final = 200
"""Longest value in a list of values."""

_SGR = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_]|[ -/][0-~])")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_BIDI = re.compile(r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")

STATUS_WORDS: Final = {
    Status.PENDING: "Waiting",
    Status.RUNNING: "Running",
    Status.SUCCESS: "Succeeded",
    Status.FAILED: "Failed",
    Status.INTERRUPTED: "Cancelled",
}
TRIGGER_WORDS: Final[dict[TriggeredBy, tuple[str, str]]] = {
    "manual": ("By hand", "Started by hand"),
    "api": ("API", "Started through the API"),
    "webhook": ("Webhook", "Started by a webhook"),
    "bus": ("Bus", "Started by a message on the bus"),
    "schedule": ("Schedule", "Started by its schedule"),
    "downstream": ("Upstream", "Started by another pipeline's run"),
    "daemon_restart": ("Restart", "Restarted, because it runs all the time"),
}
_ERRORS: Final = {
    ErrorType.SCRIPT_ERROR: ("The script failed", "It ended with an error; the end of the log shows its last output."),
    ErrorType.TIMEOUT: (
        "It took too long",
        "It was stopped at its time limit. A higher “timeout” in pipeline.json gives it more.",
    ),
    ErrorType.OOM: (
        "Out of memory",
        "It exceeded its memory limit and was killed. “mem_hard_limit” in pipeline.json sets the limit. "
        "In Docker, files that it writes count, too.",
    ),
    ErrorType.ENVIRONMENT_ERROR: (
        "Its environment could not be prepared",
        "The script never started: the interpreter or a package of requirements.txt is not available.",
    ),
    ErrorType.SECRET_ERROR: (
        "A secret could not be opened",
        "The script never started: a value of “encrypted_env” does not open here. The message below says why.",
    ),
    ErrorType.RESULT_ERROR: (
        "Its result is not usable",
        "The code ended well, but what it left is no result: in the file FASTFLOW_RESULT_FILE, or as the value of a "
        "notebook's cell tagged “result”. The message below says why.",
    ),
    ErrorType.ARTIFACTS_ERROR: (
        "Its artifacts are not complete",
        "Not all files of FASTFLOW_ARTIFACTS_DIR could be kept, or those of another run that it needs are not there.",
    ),
    ErrorType.STATE_ERROR: (
        "Its state could not be kept",
        "What is in FASTFLOW_STATE_DIR cannot become the pipeline's state, or the state could not be read.",
    ),
    ErrorType.STATE_CONFLICT: (
        "Other runs changed the state",
        "Each time this run ended, another one had changed the state that it began with. Let one run at a time.",
    ),
    ErrorType.LOST: (
        "The run was lost",
        "Its runner or sandbox was lost, so it is unknown how far the script got.",
    ),
}
_UV_REASONS: Final = ("error:", "├─▶", "╰─▶")
_NOTEBOOK_FAILED: Final = (
    "The notebook failed",
    "It ended at the cell that is marked as failed below; if there is none, the log ends with the reason.",
)
_WEEKDAYS: Final = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def plain(text: object) -> str:
    """*text* without escape sequences, control characters, and with bidirectional overrides made visible."""
    cleaned = _CONTROL.sub("", _SGR.sub("", str(text)))
    return _BIDI.sub(lambda found: f"\\u{ord(found[0]):04x}", cleaned)


def shown(value: object) -> str:
    """*value* for a list of values: plain, and cut to ``SHOWN_CHARACTERS_MAX``."""
    text = plain(value)
    return text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[:SHOWN_CHARACTERS_MAX]}…"


def main_line(message: str) -> str:
    """The line of an error message that says most.

    That is the first reason that uv gives, else the last line that is neither empty nor a hint: tracebacks end with it.
    """
    lines = [line for line in map(str.strip, plain(message).splitlines()) if line and not line.startswith("hint:")]
    reasons = (line for line in lines if line.startswith(_UV_REASONS))
    return shown(next(reasons, lines[-1] if lines else "").lstrip("├╰─▶ "))


def commit(name: str) -> str:
    return plain(name)[:SHORT_COMMIT_CHARACTERS]


def status_word(status: str) -> str:
    return STATUS_WORDS[Status(status)]


def trigger_word(triggered_by: TriggeredBy) -> str:
    return TRIGGER_WORDS[triggered_by][0]


def trigger_words(triggered_by: TriggeredBy) -> str:
    return TRIGGER_WORDS[triggered_by][1]


def error_title(error_type: ErrorType, exit_code: int | None, limits: Limits, kind: str = "script") -> str:
    """Why an attempt failed, in a few words, with the exit code or the limit."""
    title = _ERRORS[error_type][0]
    if error_type is ErrorType.SCRIPT_ERROR and kind == "notebook":
        return _NOTEBOOK_FAILED[0]
    if error_type is ErrorType.SCRIPT_ERROR and exit_code is not None:
        return f"{title} with exit code {exit_code}"
    if error_type is ErrorType.TIMEOUT and limits.timeout_s:
        return f"{title}: more than {duration(limits.timeout_s)}"
    if error_type is ErrorType.OOM and limits.memory_bytes:
        return f"{title}: more than {bytes_text(limits.memory_bytes)}"
    return title


def error_advice(error_type: ErrorType, kind: str = "script") -> str:
    """What the error means and what to do, in one or two sentences."""
    if error_type is ErrorType.SCRIPT_ERROR and kind == "notebook":
        return _NOTEBOOK_FAILED[1]
    return _ERRORS[error_type][1]


def schedule_words(schedule: shapes.Schedule) -> str:
    """``Every 15 minutes``, ``Every day at 09:00 UTC``, ``Cron 0 9 1 * * UTC``, with its bounds."""
    if schedule.kind == "interval":
        words = f"Every {_span(int(schedule.value))}"
    elif schedule.kind == "once":
        words = f"Once, at {exact(datetime.fromisoformat(schedule.value))}"
    else:
        words = cron_words(schedule.value, schedule.timezone)
    if schedule.start is not None:
        words += f", from {exact(schedule.start)}"
    if schedule.end is not None:
        words += f", until {exact(schedule.end)}"
    return words


def cron_words(expression: str, timezone: str) -> str:
    """Common cron expressions in words, any other one as it is."""
    daily = re.fullmatch(r"(\d{1,2}) (\d{1,2}) \* \* (\*|[0-7]|1-5)", expression)
    if daily:
        days = {"*": "day", "1-5": "weekday"}.get(daily[3]) or _WEEKDAYS[int(daily[3])]
        return f"Every {days} at {int(daily[2]):02d}:{int(daily[1]):02d} {timezone}"
    if step := re.fullmatch(r"\*(?:/(\d{1,2}))? \* \* \* \*", expression):
        return f"Every {_span(int(step[1] or 1) * MINUTE_S)} (cron {expression})"
    if hourly := re.fullmatch(r"(\d{1,2}) \* \* \* \*", expression):
        return f"Every hour at minute {int(hourly[1])}"
    return f"Cron {expression} {timezone}"


def _span(seconds: int) -> str:
    for size, unit in ((DAY_S, "day"), (HOUR_S, "hour"), (MINUTE_S, "minute")):
        if seconds % size == 0:
            count = seconds // size
            return unit if count == 1 else f"{count} {unit}s"
    return "second" if seconds == 1 else f"{seconds} seconds"


def seconds_between(start: datetime, end: datetime) -> float:
    return (end - start) / timedelta(seconds=1)
