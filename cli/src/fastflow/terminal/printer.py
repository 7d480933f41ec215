"""Prints a followed run: the script's stdout to stdout, everything else to stderr, or all of it as JSON lines."""

from __future__ import annotations

import sys
from typing import Any

import click
import msgspec

from fastflow.terminal import tables
from fastflow_api.log_lines import LineJoiner, TextJoiner
from fastflow_api.shapes import LogLine, LogStream, PartialLine, Run, Status

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")


class Printer:
    """A sink for ``follow``. *states*: also print failed attempts and when the next one is due."""

    def __init__(self, *, as_json: bool, states: bool) -> None:
        self._as_json = as_json
        self._states = states
        self._told = 0
        self._lines = LineJoiner()
        self._text = TextJoiner()
        self._open: LogStream | None = None
        """The stream whose line is not complete on the screen."""

    def part(self, part: LogLine | PartialLine) -> None:
        """Print what is new: text as it comes, but JSON only of whole lines."""
        if not self._as_json:
            self._print(part.stream, self._text.feed(part))
        elif isinstance(part, LogLine) and (line := self._lines.feed(part)) is not None:
            click.echo(msgspec.json.encode(line_json(line)))

    def close(self) -> None:
        """Print the lines whose end never came."""
        for line in self._lines.close():
            click.echo(msgspec.json.encode(line_json(line)))

    def _print(self, stream: LogStream, text: str) -> None:
        if not text:
            return
        if self._open not in (None, stream) and _share_a_place(self._open, stream):
            click.echo(err=stream != "stdout")
        click.echo(click.style(text, dim=True) if stream == "system" else text, err=stream != "stdout", nl=False)
        self._open = None if text.endswith("\n") else stream

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


def _share_a_place(one: LogStream | None, other: LogStream) -> bool:
    """Whether two streams are printed to the same file or on the same screen."""
    return (one == "stdout") == (other == "stdout") or (sys.stdout.isatty() and sys.stderr.isatty())


def line_json(line: LogLine) -> dict[str, Any]:
    """A log line as scripts read it."""
    return {"ts": line.ts, "attempt": line.attempt, "stream": line.stream, "line": line.line}


def print_json(value: Any) -> None:
    """Print *value* on one line."""
    click.echo(msgspec.json.encode(value))
