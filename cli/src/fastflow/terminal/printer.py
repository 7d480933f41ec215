"""Prints a followed run: the script's stdout to stdout, everything else to stderr, or all of it as JSON lines."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from fastflow.terminal import tables
from fastflow_api.shapes import LogLine, Run, Status

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")


class Printer:
    """A sink for ``follow``. *states*: also print failed attempts and when the next one is due."""

    def __init__(self, *, as_json: bool, states: bool) -> None:
        self._as_json = as_json
        self._states = states
        self._told = 0

    def line(self, line: LogLine) -> None:
        """Print one line."""
        if self._as_json:
            click.echo(msgspec.json.encode(line_json(line)))
        elif line.stream == "system":
            click.secho(line.line, dim=True, err=True)
        else:
            click.echo(line.line, err=line.stream == "stderr")

    def changed(self, run: Run) -> None:
        """Print once for each failed attempt why it failed and when the next one is due."""
        if not self._states or len(run.attempts) <= self._told:
            return
        self._told = len(run.attempts)
        failed = run.attempts[-1]
        text = f"Attempt {failed.number} failed: {tables.why(failed)}."
        if run.status is Status.PENDING:
            due = run.next_attempt_at or failed.finished_at
            text += f" The next one in {tables.duration((due - failed.finished_at).total_seconds())}."
        click.secho(text, fg="yellow", err=True)


def line_json(line: LogLine) -> dict[str, Any]:
    """A log line as scripts read it."""
    return {"ts": line.ts, "attempt": line.attempt, "stream": line.stream, "line": line.line}


def print_json(value: Any) -> None:
    """Print *value* on one line."""
    click.echo(msgspec.json.encode(value))
