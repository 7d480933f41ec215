"""What must hold after any kills. Pure: takes evidence, returns what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

from fastflow_contracts.bus.subjects import RunRef
from fastflow_contracts.runs.run import EDGES, AttemptRecord, RunErrorType, RunRecord
from tests.chaos.evidence import Evidence, Written
from tests.support.logs import log_lines


def wrongs(evidence: Evidence, accepted: Iterable[RunRef], *, lines: Mapping[str, int | None]) -> list[str]:
    """Return everything that breaks a promise; empty if there is nothing.

    Args:
        accepted: The runs of all triggers that the bus accepted.
        lines: By pipeline, how many lines a successful script prints.
    """
    return [*_records(evidence, set(accepted)), *_logs(evidence, lines), *_containers(evidence)]


def _records(evidence: Evidence, accepted: set[RunRef]) -> Iterator[str]:
    """Every accepted trigger has one run, no other run exists, and each ended once, through legal steps only."""
    yield from (f"{ref} was accepted and does not exist" for ref in accepted - evidence.revisions.keys())
    yield from (f"{ref} exists without a request" for ref in evidence.revisions.keys() - accepted)
    for ref, runs in evidence.revisions.items():
        if [run.is_over for run in runs] != [False] * (len(runs) - 1) + [True]:
            yield f"{ref} has {sum(run.is_over for run in runs)} ends in {[run.status for run in runs]}"
        for before, after in pairwise(runs):
            if after.status not in EDGES[before.status]:
                yield f"{ref} went from {before.status} to {after.status}"
            if after.epoch < before.epoch:
                yield f"{ref} went back from epoch {before.epoch} to {after.epoch}"
        yield from (f"{ref} {wrong}" for wrong in _attempts(runs[-1]))


def _attempts(run: RunRecord) -> Iterator[str]:
    """Attempts are numbered without a gap and do not overlap."""
    if [attempt.number for attempt in run.attempts] != list(range(1, len(run.attempts) + 1)):
        yield f"has attempts {[attempt.number for attempt in run.attempts]}"
    for before, after in pairwise(run.attempts):
        if after.claimed_at < before.finished_at:
            yield f"began attempt {after.number} before attempt {before.number} was over"


def _logs(evidence: Evidence, lines: Mapping[str, int | None]) -> Iterator[str]:
    """A log is complete: it ends where the record says, and counts without a gap or a repeat. No output, no log.

    The record says nothing of an attempt that a scheduler has marked lost.
    """
    for ref, runs in evidence.revisions.items():
        for attempt in runs[-1].attempts:
            found = _log(evidence.logs[ref, attempt.number], attempt, lines.get(ref.pipeline))
            yield from (f"attempt {attempt.number} of {ref} {wrong}" for wrong in found)


def _log(log: list[Written], attempt: AttemptRecord, lines: int | None) -> Iterator[str]:
    written_off = attempt.error_type is RunErrorType.LOST and attempt.started_at is None and not attempt.log_sequence
    if not written_off and (log[-1].sequence if log else 0) != attempt.log_sequence:
        yield f"has a log up to {log[-1].sequence if log else 0}, its record says {attempt.log_sequence}"
    if attempt.started_at is not None and log and not log[-1].chunk.eof:
        yield "has a log without an end"
    for before, after in pairwise(log):
        if any(new < old for old, new in zip(before.chunk.end, after.chunk.end, strict=True)):
            yield f"has a log that goes back from {before.chunk.end} to {after.chunk.end}"
    counted = [line.text for line in log_lines(written.chunk for written in log) if line.stream == "stdout"]
    wrong = next((n for n, text in enumerate(counted) if text != str(n)), None)
    if wrong is not None:
        yield f"says {counted[wrong]!r} where {wrong} is due"
    if lines is not None and attempt.exit_code == 0 and len(counted) != lines:
        yield f"has a log of {len(counted)} lines"


def _containers(evidence: Evidence) -> Iterator[str]:
    yield from (f"a container is left: {container}" for container in evidence.containers)
