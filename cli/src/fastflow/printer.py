"""Prints a followed run: the script's stdout to stdout, everything else to stderr, or all of it as JSON lines."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import click

from fastflow import output
from fastflow_contracts.logs import LogLine
from fastflow_contracts.run import Pending, Run


class Printer:
    """A sink of ``follow``. *states*: also say when an attempt failed and the next one waits."""

    def __init__(self, *, as_json: bool, states: bool) -> None:
        self._as_json = as_json
        self._states = states
        self._told = 0

    def line(self, attempt: int, line: LogLine) -> None:
        """Print one line."""
        if self._as_json:
            click.echo(json.dumps(line_json(attempt, line), ensure_ascii=False))
        elif line.stream == "system":
            click.secho(line.text, dim=True, err=True)
        else:
            click.echo(line.text, err=line.stream == "stderr")

    def changed(self, run: Run) -> None:
        """Say once for each failed attempt why it failed and when the next one is due."""
        if not self._states or not isinstance(run.state, Pending) or len(run.attempts) <= self._told:
            return
        self._told = len(run.attempts)
        failed = run.attempts[-1]
        pause_s = (run.state.not_before - failed.finished_at).total_seconds()
        text = f"Attempt {failed.number} failed: {output.why(failed)}. The next one in {output.duration(pause_s)}."
        click.secho(text, fg="yellow", err=True)


def line_json(attempt: int, line: LogLine) -> dict[str, Any]:
    """A log line as scripts read it."""
    at = datetime.fromtimestamp(line.at, UTC).isoformat().replace("+00:00", "Z")
    return {"ts": at, "attempt": attempt, "stream": line.stream, "line": line.text}
