"""Models of the pages: spans of phases, diagnostics, files, filters. Pure.

Takes the API's shapes. Geometry is in the units of its drawing; ``formatting`` makes the words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final
from urllib.parse import urlencode

import msgspec

from fastflow_api import shapes
from fastflow_api.shapes import VersionNotice, VersionProblem
from fastflow_gateway.dashboard.view import words
from fastflow_gateway.views.search import searched_text

LINES_MAX: Final = 5_000
"""Most lines of a file on a page."""


class DiagnosticRow(msgspec.Struct, frozen=True, kw_only=True):
    """A problem or notice: the field, its value, its place, and what to do about it."""

    field: str
    value: str | None
    where: str
    words: str


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """One phase of an attempt. ``x`` and ``width`` are per cent of the whole; no ``start``: not reached."""

    name: str
    label: str
    words: str
    start: datetime | None = None
    end: datetime | None = None
    x: float = 0
    width: float = 0


class TagLink(msgspec.Struct, frozen=True, kw_only=True):
    """A tag, and the address that adds it to the filter or removes it."""

    name: str
    url: str
    chosen: bool


class ShownFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file as lines; ``marked`` are the line numbers of notices."""

    name: str
    lines: list[str]
    marked: frozenset[int]


def success_rate(pipeline: shapes.Pipeline) -> str | None:
    """Share of successful runs among successful and failed ones; 100 % only if none failed."""
    judged = pipeline.successful_runs + pipeline.failed_runs
    return f"{int(100 * pipeline.successful_runs / judged)} %" if judged else None


def diagnostic_rows(items: Iterable[VersionProblem | VersionNotice]) -> list[DiagnosticRow]:
    return [_diagnostic_row(item) for item in items]


def _diagnostic_row(item: VersionProblem | VersionNotice) -> DiagnosticRow:
    where = ":".join(str(part) for part in (item.file, item.line, getattr(item, "column", None)) if part is not None)
    if isinstance(item, VersionNotice):
        return DiagnosticRow(field=item.field, value=None, where=where, words=item.text)
    if not item.field:
        return DiagnosticRow(field="", value=None, where=where, words=item.accepted)
    missing = "It is missing. " if item.value is None else ""
    return DiagnosticRow(field=item.field, value=item.value, where=where, words=f"{missing}Accepted: {item.accepted}")


def search_words(pipeline: shapes.Pipeline) -> str:
    """The text that the search box searches, in lower case."""
    return words.plain(searched_text(pipeline))


def why_not(pipeline: shapes.Pipeline) -> str:
    """Why the pipeline cannot start; empty if it can."""
    if pipeline.runnable:
        return ""
    if pipeline.live_since is None:
        return "It has no valid version yet: fix its problems first."
    return "It is disabled: its pipeline.json says “enabled”: false."


def phases(run: shapes.Run, now: datetime) -> list[Span]:
    """The phases of the newest attempt, as shares of the time since it was queued."""
    given = run.phases
    # The start of user code is known only afterwards; until then the ready environment counts as its start.
    is_live = given.finished is None
    started = given.environment if is_live and given.started is None else given.started
    sandbox = None if is_live and given.started is None else given.environment
    reached = [
        ("queued", "Queued", "Until a runner took it", given.queued),
        ("environment", "Environment", "Until interpreter and packages were ready", given.claimed),
        ("sandbox", "Sandbox", "Until user code began", sandbox),
        ("running", "Running", "User code", started),
    ]
    starts = [at for *_, at in reached if at is not None]
    ends = iter([*starts[1:], given.finished])
    whole_s = max(words.seconds_between(given.queued, given.finished or now), 0.001)
    spans: list[Span] = []
    for name, label, meaning, start in reached:
        if start is None:
            if spans[-1].end is None:  # a later phase was reached, so this one was skipped
                spans.append(Span(name=name, label=label, words=meaning))
            continue
        end = next(ends)
        x = _per_cent(words.seconds_between(given.queued, start) / whole_s)
        width = _per_cent(words.seconds_between(start, end or now) / whole_s)
        spans.append(Span(name=name, label=label, words=meaning, start=start, end=end, x=x, width=width))
    return spans


def _per_cent(share: float) -> float:
    return round(100 * min(max(share, 0.0), 1.0), 2)


def files(pipeline: shapes.PipelineDetail) -> list[ShownFile]:
    """The files of the live version, with the lines of notices marked."""
    marks = [(item.file, item.line) for item in pipeline.notices if item.line is not None]
    return [
        ShownFile(
            name=name,
            lines=[words.plain(line.rstrip("\r")) or " " for line in _lines(text)],
            marked=frozenset(line for file, line in marks if file == name and line is not None),
        )
        for name, text in pipeline.files.items()
    ]


def _lines(text: str) -> list[str]:
    # Not splitlines(): it also splits where editors do not.
    return text.removesuffix("\n").split("\n")[:LINES_MAX]


def summary(pipelines: Sequence[shapes.Pipeline]) -> str:
    """``12 pipelines · 3 active runs · 1 with problems``."""
    active = sum(pipeline.active_runs for pipeline in pipelines)
    broken = sum(not pipeline.valid for pipeline in pipelines)
    parts = [f"{len(pipelines)} pipeline{'' if len(pipelines) == 1 else 's'}"]
    if active:
        parts.append(f"{active} active run{'' if active == 1 else 's'}")
    if broken:
        parts.append(f"{broken} with problems")
    return " · ".join(parts)


def redriven(done: shapes.Redriven) -> str:
    """What became of all that match, in a sentence or two."""
    said = [f"{done.started:,} started."]
    if done.refused:
        said.append(f"{done.refused:,} refused again: {' '.join(done.reasons[:3])}")
    if done.left:
        said.append(f"{done.left:,} were not tried yet.")
    return " ".join(said)


def link(path: str, query: Iterable[tuple[str, str | None]]) -> str:
    """*path* with the non-empty values of *query*."""
    given = [(name, value) for name, value in query if value]
    return f"{path}?{urlencode(given)}" if given else path


def tag_links(pipelines: Iterable[shapes.Pipeline], q: str, chosen: Sequence[str]) -> list[TagLink]:
    """A link for every tag: it adds the tag to the chosen ones, or removes it."""
    names = sorted({tag for pipeline in pipelines for tag in pipeline.tags} | set(chosen))
    return [
        TagLink(
            name=name,
            url=link("/", [("q", q), *(("tags", tag) for tag in sorted({*chosen} ^ {name}))]),
            chosen=name in chosen,
        )
        for name in names
    ]
