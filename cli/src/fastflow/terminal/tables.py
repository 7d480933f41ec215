"""Tables, times and runs as text. Pure; nothing is printed here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import click

from fastflow_api.formatting import ago, duration, short
from fastflow_api.shapes import Attempt, ErrorType, Run, Status

__all__ = ["COLOURS", "ago", "duration", "reason", "runs_table", "short", "table", "took", "verdict", "why"]

COLOURS = {
    Status.PENDING: "yellow",
    Status.RUNNING: "blue",
    Status.SUCCESS: "green",
    Status.FAILED: "red",
    Status.INTERRUPTED: "magenta",
}
_NOT_BEGUN = (ErrorType.ENVIRONMENT_ERROR, ErrorType.SECRET_ERROR)


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Align columns, two spaces apart. Cells may contain colour codes."""
    lines = [[*headers], *([*row] for row in rows)]
    widths = [max(len(click.unstyle(line[column])) for line in lines) for column in range(len(headers))]
    return "\n".join(
        "  ".join(
            cell + " " * (width - len(click.unstyle(cell))) for cell, width in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def runs_table(runs: Iterable[Run], *, now: datetime) -> str:
    """One line for each run."""
    rows = (
        (
            short(run.id),
            run.pipeline_name,
            click.style(run.status.value, fg=COLOURS[run.status]),
            run.triggered_by,
            ago(run.created_at, now),
            took(run, now=now),
            reason(run) or "",
        )
        for run in runs
    )
    return table(("RUN", "PIPELINE", "STATUS", "TRIGGER", "CREATED", "TOOK", "NOTE"), rows)


def took(run: Run, *, now: datetime) -> str:
    """Time from the script's start to its end, or to *now*, as on the pages; empty if it did not start."""
    return duration(((run.finished_at or now) - run.started_at).total_seconds()) if run.started_at else ""


def reason(run: Run) -> str | None:
    """Why the run failed, or what it waits for, in a few words."""
    if run.status is Status.FAILED:
        return why(run.attempts[-1]) if run.attempts else None
    if run.refused:
        return run.error_message
    if run.attempt > 1 and run.status is Status.PENDING:
        return f"{attempt_of(run)} waits"
    if run.status is Status.PENDING and run.waiting_on:
        return f"waits for {run.waiting_on}"
    if run.attempt > 1 and run.status is Status.RUNNING:
        return attempt_of(run)
    return None


def attempt_of(run: Run) -> str:
    """Which attempt it is. One that repeats a conflict of states is beyond those that the pipeline asks for."""
    return f"attempt {run.attempt}" + (f" of {run.attempts_max}" if run.attempt <= run.attempts_max else "")


def why(attempt: Attempt) -> str:
    """Why an attempt failed: ``exit code 1``, ``timeout``, ``oom (exit code 137)``."""
    code = f"exit code {attempt.exit_code}" if attempt.exit_code is not None else ""
    kind = attempt.error_type.value if attempt.error_type else ""
    if kind == "script_error" and code:
        return code
    return f"{kind} ({code})" if kind and code else kind or code


def verdict(run: Run) -> str:
    """The last line about a run: how it ended, how long it took, why."""
    assert run.finished_at is not None
    ended = click.style(run.status.value, fg=COLOURS[run.status], bold=True)
    ran = took(run, now=run.finished_at)
    line = f"{ended} after {ran}" if ran else ended
    if run.refused:
        line += f": {run.error_message}\nIts message is kept: `fastflow redrive {run.id}` starts it."
    if run.status is Status.FAILED and run.attempts:
        last = run.attempts[-1]
        line += f": {why(last)}"
        if last.error_message and not _is_in_log(last):
            line += f"\n{last.error_message}"
    return line


def _is_in_log(attempt: Attempt) -> bool:
    """Whether the log already ends with the error: a traceback, or why no code was started."""
    began = attempt.exit_code is not None
    return attempt.error_type is ErrorType.SCRIPT_ERROR or (attempt.error_type in _NOT_BEGUN and not began)
