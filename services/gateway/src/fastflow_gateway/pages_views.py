"""What the pages draw besides words: bars of runs, spans of phases, lists of facts. Pure; the API's shapes come in.

Geometry is in the units of the drawing it is for; wording is ``pages_words``'.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from math import log1p
from typing import Final
from urllib.parse import urlencode

import msgspec

from fastflow_contracts.manifest import Notice, Problem
from fastflow_contracts.run import ErrorType, Status
from fastflow_gateway import pages_words as words
from fastflow_gateway import shapes

BAR_PITCH: Final = 9
"""From bar to bar in a strip."""
BAR_HEIGHT_MIN: Final = 4
PAIRS_BLANK: Final = 3
"""Empty rows in a form that has to do without scripts."""
LINES_MAX: Final = 5_000
"""Of a file shown on a page."""


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One run in a strip, or an empty slot (``run_id`` empty)."""

    x: int
    y: float = 0
    height: float = 0
    run_id: str = ""
    status: str = "NONE"
    title: str = ""
    hollow: bool = False
    live: bool = False


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A problem or notice: which field, its value, where, and what to do about it."""

    field: str
    value: str | None
    where: str
    words: str


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """One phase of an attempt. ``x`` and ``width`` are per cent of the whole; no ``start`` = not reached."""

    name: str
    label: str
    words: str
    start: datetime | None = None
    end: datetime | None = None
    x: float = 0
    width: float = 0


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a list of facts."""

    name: str
    text: str = ""
    url: str | None = None
    at: datetime | None = None
    mono: bool = False
    title: str = ""
    secret: bool = False


class AttemptView(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt, over or under way."""

    number: int
    status: Status
    started_at: datetime | None
    finished_at: datetime | None
    words: str


class File(msgspec.Struct, frozen=True, kw_only=True):
    """One file, cut into lines; ``marked`` are line numbers that problems point at."""

    name: str
    lines: list[str]
    marked: frozenset[int]


def bars(runs: Sequence[shapes.RunMark], slots: int, height: int) -> list[Bar]:
    """The newest *slots* runs as bars, oldest first. *runs*: newest first. Height grows with the logarithm of time."""
    newest = runs[:slots]
    longest = max((_took(run) for run in newest), default=0.0)
    filled = [_bar(run, longest, height) for run in reversed(newest)]
    empty = slots - len(filled)
    return [
        Bar(x=index * BAR_PITCH) if index < empty else msgspec.structs.replace(filled[index - empty], x=index * BAR_PITCH)
        for index in range(slots)
    ]


def _bar(run: shapes.RunMark, longest: float, height: int) -> Bar:
    share = log1p(_took(run)) / log1p(longest) if longest else 0
    tall = round(BAR_HEIGHT_MIN + (height - BAR_HEIGHT_MIN) * (share if run.finished_at else 0.5), 1)
    took = f", {words.duration(_took(run))}" if run.finished_at else ""
    return Bar(
        x=0,
        y=round(height - tall, 1),
        height=tall,
        run_id=run.id,
        status=run.status,
        title=f"{words.status_word(run.status)}{took} · {words.exact(run.created_at)}",
        hollow=run.status in (Status.INTERRUPTED, Status.PENDING, Status.RUNNING),
        live=run.finished_at is None,
    )


def _took(run: shapes.RunMark) -> float:
    return (run.finished_at - run.created_at).total_seconds() if run.finished_at else 0.0


def strip_words(runs: Sequence[shapes.RunMark], slots: int = 20) -> str:
    """A strip, for those who do not see it."""
    newest = runs[:slots]
    if not newest:
        return "No runs yet"
    counts = [(status, sum(run.status == status for run in newest)) for status in Status]
    listed = ", ".join(f"{count} {words.status_word(status).lower()}" for status, count in counts if count)
    return f"Last {len(newest)} runs: {listed}"


def success_rate(pipeline: shapes.Pipeline) -> str | None:
    """Successful among successful and failed; 100 % only if all were."""
    judged = pipeline.successful_runs + pipeline.failed_runs
    return f"{int(100 * pipeline.successful_runs / judged)} %" if judged else None


def findings(items: Iterable[Problem | Notice]) -> list[Finding]:
    return [_finding(item) for item in items]


def _finding(item: Problem | Notice) -> Finding:
    where = ":".join(str(part) for part in (item.file, item.line) if part is not None)
    if isinstance(item, Notice):
        return Finding(field=item.field, value=None, where=where, words=item.text)
    if not item.field:
        return Finding(field="", value=None, where=where, words=item.accepted)
    missing = "It is missing. " if item.value is None else ""
    return Finding(field=item.field, value=item.value, where=where, words=f"{missing}Accepted: {item.accepted}")


def search_words(pipeline: shapes.Pipeline) -> str:
    """What the search box looks at, in lower case."""
    return words.plain(" ".join((pipeline.name, pipeline.description or "", *pipeline.tags))).lower()


def why_not(pipeline: shapes.Pipeline) -> str:
    """Why it cannot be started; empty if it can."""
    if pipeline.runnable:
        return ""
    if pipeline.live_since is None:
        return "It has no usable version yet: put its problems right first."
    return "It is disabled: its pipeline.json says “enabled”: false."


def phases(run: shapes.Run, now: datetime) -> list[Span]:
    """The phases of the newest attempt, as shares of the time since it was queued."""
    given = run.phases
    # The start of user code is known only afterwards: until then it counts from the ready environment.
    is_live = given.finished is None
    started = given.environment if is_live and given.started is None else given.started
    sandbox = None if is_live and given.started is None else given.environment
    reached = [
        ("queued", "Queued", "Until a runner took it", given.queued),
        ("environment", "Environment", "Until interpreter and packages stood ready", given.claimed),
        ("sandbox", "Sandbox", "Until user code began", sandbox),
        ("running", "Running", "User code", started),
    ]
    starts = [at for *_, at in reached if at is not None]
    ends = iter([*starts[1:], given.finished])
    whole_s = max(words.seconds_between(given.queued, given.finished or now), 0.001)
    spans = []
    for name, label, meaning, start in reached:
        if start is None:
            spans.append(Span(name=name, label=label, words=meaning))
            continue
        end = next(ends)
        x = _per_cent(words.seconds_between(given.queued, start) / whole_s)
        width = _per_cent(words.seconds_between(start, end or now) / whole_s)
        spans.append(Span(name=name, label=label, words=meaning, start=start, end=end, x=x, width=width))
    return spans


def _per_cent(share: float) -> float:
    return round(100 * min(max(share, 0.0), 1.0), 2)


def attempts(run: shapes.Run) -> list[AttemptView]:
    """Every attempt, the newest first; the one under way is among them."""
    views = [
        AttemptView(
            number=attempt.number,
            status=Status.FAILED if attempt.error_type else _last_status(run, attempt),
            started_at=attempt.started_at or attempt.claimed_at,
            finished_at=attempt.finished_at,
            words=_attempt_words(run, attempt),
        )
        for attempt in run.attempts
    ]
    if run.finished_at is None:
        start = run.phases.environment or run.phases.claimed
        views.append(
            AttemptView(number=run.attempt, status=run.status, started_at=start, finished_at=None, words="")
        )
    return views[::-1]


def _last_status(run: shapes.Run, attempt: shapes.Attempt) -> Status:
    is_last = attempt is run.attempts[-1]
    return run.status if is_last and run.status in (Status.SUCCESS, Status.INTERRUPTED) else Status.SUCCESS


def _attempt_words(run: shapes.Run, attempt: shapes.Attempt) -> str:
    if attempt.error_type is None:
        return ""
    title = words.error_title(attempt.error_type, attempt.exit_code, run.limits)
    has_more = attempt.error_message and attempt.error_type is not ErrorType.SCRIPT_ERROR
    return f"{title}. {words.telling_line(attempt.error_message or '')}" if has_more else title


def run_facts(run: shapes.Run) -> list[Fact]:
    """What there is to know about a run, besides its status and log."""
    limits = run.limits
    found = [
        Fact(name="Run", text=words.short(run.id), mono=True, title=run.id),
        Fact(name="Started by", text=words.trigger_word(run.triggered_by)),
    ]
    if run.run_config_id is not None:
        found.append(Fact(name="Configuration", text=run.run_config_id))
    if run.scheduled_for is not None:
        found.append(Fact(name="Slot", text=words.exact(run.scheduled_for)))
    if run.parent_run_id is not None:
        found.append(Fact(name="Parent", text=words.short(run.parent_run_id), url=f"/runs/{run.parent_run_id}"))
    found.append(Fact(name="Created", at=run.created_at))
    if run.finished_at is not None:
        found.append(Fact(name="Finished", at=run.finished_at))
    if run.commit is not None:
        found.append(Fact(name="Commit", text=words.commit(run.commit), mono=True, title=run.commit))
    found += [
        Fact(name="Code", text=run.bundle[:10], mono=True, title=f"SHA-256 of the bundle: {run.bundle}"),
        Fact(name="Python", text=run.python_version),
    ]
    if run.runner is not None:
        found.append(Fact(name="Runner", text=run.runner, mono=True))
    if limits.cpu_cores is not None:
        found.append(Fact(name="CPU limit", text=words.cores_text(limits.cpu_cores)))
    if limits.memory_bytes is not None:
        found.append(Fact(name="Memory limit", text=words.bytes_text(limits.memory_bytes)))
    if limits.timeout_s:
        found.append(Fact(name="Time limit", text=words.duration(limits.timeout_s)))
    if run.cpu_cores_peak is not None:
        found.append(Fact(name="CPU peak", text=words.cores_text(run.cpu_cores_peak)))
    if run.memory_bytes_peak is not None:
        found.append(Fact(name="Memory peak", text=words.bytes_text(run.memory_bytes_peak)))
    return found


def pipeline_settings(pipeline: shapes.Pipeline) -> list[Fact]:
    """How a pipeline's runs are made: interpreter, limits, retries."""
    given = pipeline.metadata or {}
    found = [
        Fact(name="Type", text="Notebook" if pipeline.type == "notebook" else "Script"),
        Fact(name="Python", text=pipeline.python_version or "default"),
        Fact(name="Packages", text="requirements.txt" if pipeline.has_requirements else "none"),
        Fact(name="CPU limit", text=words.cores_text(given.get("cpu_hard_limit"))),
        Fact(name="Memory limit", text=words.bytes_text(given.get("mem_hard_limit"))),
        Fact(name="Time limit", text=_time_limit(given.get("timeout"))),
        Fact(name="Retries", text=str(given.get("retry_attempts") or "none")),
    ]
    if given.get("max_instances"):
        found.append(Fact(name="At once", text=f"{given['max_instances']} at most"))
    if pipeline.live_since is not None:
        found.append(Fact(name="Live since", text=words.exact(pipeline.live_since)))
    if pipeline.commit is not None:
        found.append(Fact(name="Commit", text=words.commit(pipeline.commit)))
    return found


def _time_limit(timeout_s: float | None) -> str:
    return "default" if timeout_s is None else words.duration(timeout_s) if timeout_s else "none"


def pipeline_environment(pipeline: shapes.Pipeline) -> list[Fact]:
    """Variables that every run of it gets; of secrets only their names."""
    given = pipeline.metadata or {}
    clear: Mapping[str, str] = given.get("default_env", {})
    secret: Mapping[str, str] = given.get("encrypted_env", {})
    return [
        *(Fact(name=name, text=value) for name, value in clear.items() if name not in secret),
        *(Fact(name=name, secret=True) for name in secret),
    ]


def files(pipeline: shapes.PipelineDetail) -> list[File]:
    """The files of the live version, with the lines that notices point at."""
    marks = [(item.file, item.line) for item in pipeline.notices if item.line is not None]
    return [
        File(
            name=name,
            lines=[line or " " for line in text.splitlines()[:LINES_MAX]],
            marked=frozenset(line for file, line in marks if file == name and line is not None),
        )
        for name, text in pipeline.files.items()
    ]


def summary(pipelines: Sequence[shapes.Pipeline]) -> str:
    """``12 pipelines · 3 runs under way · 1 broken``."""
    active = sum(pipeline.active_runs for pipeline in pipelines)
    broken = sum(not pipeline.valid for pipeline in pipelines)
    parts = [f"{len(pipelines)} pipeline{'' if len(pipelines) == 1 else 's'}"]
    if active:
        parts.append(f"{active} run{'' if active == 1 else 's'} under way")
    if broken:
        parts.append(f"{broken} with problems")
    return " · ".join(parts)


def link(path: str, query: Mapping[str, str]) -> str:
    """*path* with those of *query* that say something."""
    said = {name: value for name, value in query.items() if value}
    return f"{path}?{urlencode(said)}" if said else path
