"""Prints a followed run: the script's stdout to stdout, everything else to stderr, or all of it as JSON lines."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import click
import msgspec

from fastflow.terminal import tables
from fastflow_contracts.runs.logs import LogLine
from fastflow_contracts.runs.run import Pending, Run

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")


class Printer:
    """A sink of ``follow``. *states*: also say when an attempt failed and the next one waits."""

    def __init__(self, *, as_json: bool, states: bool) -> None:
        self._as_json = as_json
        self._states = states
        self._told = 0

    def lines(self, attempt: int, lines: list[LogLine]) -> None:
        """Print lines of one attempt; those that go to the same place at once."""
        if self._as_json:
            click.echo(b"\n".join(msgspec.json.encode(line_json(attempt, line)) for line in lines))
            return
        for stream, group in groupby(lines, key=lambda line: line.stream):
            text = "\n".join(line.text for line in group)
            if stream == "system":
                click.secho(text, dim=True, err=True)
            else:
                click.echo(text, err=stream == "stderr")

    def changed(self, run: Run) -> None:
        """Say once for each failed attempt why it failed and when the next one is due."""
        if not self._states or not isinstance(run.state, Pending) or len(run.attempts) <= self._told:
            return
        self._told = len(run.attempts)
        failed = run.attempts[-1]
        pause_s = (run.state.not_before - failed.finished_at).total_seconds()
        text = f"Attempt {failed.number} failed: {tables.why(failed)}. The next one in {tables.duration(pause_s)}."
        click.secho(text, fg="yellow", err=True)


def line_json(attempt: int, line: LogLine) -> dict[str, Any]:
    """A log line as scripts read it."""
    at = datetime.fromtimestamp(line.at, UTC)
    return {"ts": at, "attempt": attempt, "stream": line.stream, "line": line.text}


def print_json(value: Any) -> None:
    """Print *value* on one line."""
    click.echo(msgspec.json.encode(value))
