"""What commands print, as text: tables, times, runs. Pure; nothing is printed here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import click

from fastflow_contracts.runs.run import (
    Attempt,
    Ended,
    ErrorType,
    Pending,
    Run,
    Running,
    Status,
)

COLOURS = {
    Status.PENDING: "yellow",
    Status.RUNNING: "blue",
    Status.SUCCESS: "green",
    Status.FAILED: "red",
    Status.INTERRUPTED: "magenta",
}
SHORT_ID_CHARACTERS = 8
_NOT_BEGUN = (ErrorType.ENVIRONMENT_ERROR, ErrorType.SECRET_ERROR)


def short(run_id: str) -> str:
    """The beginning of a run id: what people type."""
    return run_id[:SHORT_ID_CHARACTERS]


def duration(seconds: float) -> str:
    """``0.42 s``, ``12.3 s``, ``3 m 05 s``, ``2 h 07 m``, ``4 d 3 h``."""
    if seconds < 0:
        return "0 s"
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, above, below, part in (("m", 3600, 60, "s"), ("h", 86_400, 3600, "m")):
        if whole < above:
            return f"{whole // below} {unit} {whole % below // (below // 60):02d} {part}"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as they must be, two spaces apart. Cells may carry colour."""
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
            run.pipeline,
            click.style(run.status.value, fg=COLOURS[run.status]),
            run.order.triggered_by,
            f"{duration((now - run.created_at).total_seconds())} ago",
            took(run, now=now),
            reason(run) or "",
        )
        for run in runs
    )
    return table(("RUN", "PIPELINE", "STATUS", "TRIGGER", "CREATED", "TOOK", "NOTE"), rows)


def took(run: Run, *, now: datetime) -> str:
    """From the start of its script to its end, or until *now*, as the pages show it; nothing if none was started."""
    started = next((attempt.started_at for attempt in run.attempts if attempt.started_at), None)
    if started is None and isinstance(run.state, Running):
        started = run.state.prepared_at
    if started is None:
        return ""
    ended = run.state.at if isinstance(run.state, Ended) else now
    return duration((ended - started).total_seconds())


def reason(run: Run) -> str | None:
    """Why it failed, or what it waits for, in a few words."""
    match run.state:
        case Ended(verdict="FAILED"):
            return why(run.attempts[-1]) if run.attempts else None
        case Pending(attempt=attempt) if attempt > 1:
            return f"attempt {attempt} of {run.order.retry_attempts + 1} waits"
        case Running(attempt=attempt) if attempt > 1:
            return f"attempt {attempt} of {run.order.retry_attempts + 1}"
        case _:
            return None


def why(attempt: Attempt) -> str:
    """Why an attempt failed: ``exit code 1``, ``timeout``, ``oom (exit code 137)``."""
    code = f"exit code {attempt.exit_code}" if attempt.exit_code is not None else ""
    kind = attempt.error_type.value if attempt.error_type else ""
    if kind == "script_error" and code:
        return code
    return f"{kind} ({code})" if kind and code else kind or code


def verdict(run: Run) -> str:
    """The last line about a run: how it ended, how long it took, why."""
    assert isinstance(run.state, Ended)
    ended = click.style(run.status.value, fg=COLOURS[run.status], bold=True)
    ran = took(run, now=run.state.at)
    line = f"{ended} after {ran}" if ran else ended
    if run.status is Status.FAILED and run.attempts:
        last = run.attempts[-1]
        line += f": {why(last)}"
        if last.error_message and not _is_in_log(last):
            line += f"\n{last.error_message}"
    return line


def _is_in_log(attempt: Attempt) -> bool:
    """Whether the log ends with what is to be said: a traceback, or why no code was started."""
    began = attempt.exit_code is not None
    return attempt.error_type is ErrorType.SCRIPT_ERROR or (attempt.error_type in _NOT_BEGUN and not began)
