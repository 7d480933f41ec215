"""A simulation as text. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import groupby
from typing import Final

from fastflow.terminal.tables import table
from fastflow_api.formatting import duration
from fastflow_api.shapes import SimulatedClockChange, SimulatedDifference, Simulation, SimulationComparison

LINES_MAX: Final = 30
"""Of each table; the JSON has all."""
_SLOT_WORDS: Final = {
    "skipped": "does not exist: not started",
    "moved": "does not exist: started right after the jump",
    "once": "comes twice: started in the first pass",
    "twice": "comes twice: started both times",
}


def text(found: Simulation) -> str:
    """A summary, days, pipelines, refusals, changes of the clock, and schedules that start nothing."""
    blocks = ["\n".join(_summary(found)), table(("DAY", "STARTS", "REFUSED", "BUSY MAX", "WAITING MAX"), _days(found))]
    rows = [
        (
            each.pipeline,
            f"{each.starts:,}",
            f"{each.refused:,}",
            f"{each.overlaps:,}",
            duration(each.wait_p95_s),
            duration(each.wait_max_s),
            duration(each.duration_s) + ("" if each.is_measured else " (assumed)"),
            _at(each.next_slots[0]) if each.next_slots else "",
        )
        for each in found.pipelines
    ]
    heads = ("PIPELINE", "STARTS", "REFUSED", "OVERLAPS", "WAIT P95", "WAIT MAX", "TAKES", "NEXT")
    blocks.append(_cut(table(heads, rows[:LINES_MAX]), len(rows)))
    if found.refusals:
        refused = [(each.pipeline, f"{each.count:,}", _at(each.first_at), each.reason) for each in found.refusals]
        blocks.append(_cut(table(("REFUSED", "TIMES", "FIRST", "REASON"), refused[:LINES_MAX]), len(refused)))
    if found.clock_changes:
        blocks.append("\n".join(line for change in found.clock_changes for line in _clock_change(change)))
    if found.silent:
        silent = [(each.pipeline, each.schedule, each.why) for each in found.silent]
        blocks.append(_cut(table(("SILENT", "SCHEDULE", "BECAUSE"), silent[:LINES_MAX]), len(silent)))
    return "\n\n".join(blocks)


def differences(found: SimulationComparison) -> str:
    """What the proposed pipelines change."""
    if not found.differences:
        return "No difference to what is deployed."
    removed = [each.pipeline for each in found.differences if each.change == "removed"]
    others = [each for each in found.differences if each.change != "removed"]
    lines = [line for each in others[:LINES_MAX] for line in _difference(each)]
    if removed:
        more = f" and {len(removed) - LINES_MAX:,} more" if len(removed) > LINES_MAX else ""
        lines.append(f"  not in the folder, so removed: {', '.join(removed[:LINES_MAX])}{more}")
    before, after = found.deployed, found.proposed
    lines.append(
        f"In all: starts {_step(before.starts, after.starts)}, refused {_step(before.refused, after.refused)}, "
    )
    lines[-1] += f"waiting at most {_step(before.waiting_max, after.waiting_max)}."
    return _cut("\n".join(["Difference to what is deployed:", *lines]), len(others))


def _summary(found: Simulation) -> Iterator[str]:
    yield f"{_at(found.since)} to {_at(found.until)} UTC, {found.slots:,} slot{'' if found.slots == 1 else 's'}."
    yield (
        f"{found.starts:,} starts, {found.refused:,} refused. At most {found.busy_max:,} run and "
        f"{found.waiting_max:,} wait; 95 % wait {duration(found.wait_p95_s)} or less, the longest "
        f"{duration(found.wait_max_s)}."
    )
    if found.together_at is not None and found.together_max > 1:
        yield f"The most starts at one instant: {found.together_max:,}, at {_at(found.together_at)}."
    yield from found.notes


def _days(found: Simulation) -> Iterator[tuple[str, ...]]:
    for day, hours in groupby(found.hours, key=lambda hour: f"{hour.at:%Y-%m-%d %a}"):
        those = list(hours)
        yield (
            day,
            f"{sum(hour.starts for hour in those):,}",
            f"{sum(hour.refused for hour in those):,}",
            f"{max(hour.busy_max for hour in those):,}",
            f"{max(hour.waiting_max for hour in those):,}",
        )


def _clock_change(change: SimulatedClockChange) -> Iterator[str]:
    way = "forward" if change.minutes > 0 else "back"
    yield f"Clocks of {change.timezone} go {way} by {abs(change.minutes)} minutes at {_at(change.at)} UTC:"
    for each in change.slots[:LINES_MAX]:
        times = each.first if each.count == 1 else f"{each.first} to {each.last[-5:]} ({each.count} times)"
        yield f"  {each.pipeline} {each.schedule}: {times} {_SLOT_WORDS[each.what]}"


def _difference(each: SimulatedDifference) -> Iterator[str]:
    counts = [
        f"{label} {_step(before, after)}"
        for label, before, after in (
            ("starts", each.starts_before, each.starts_after),
            ("refused", each.refused_before, each.refused_after),
            ("longest wait in s", each.wait_max_before_s, each.wait_max_after_s),
        )
        if before != after
    ]
    yield f"  {each.pipeline}: {each.change}" + (f"; {', '.join(counts)}" if counts else "")
    for timing in each.schedules:
        yield f"    {timing.schedule}: {timing.before or 'none'} → {timing.after or 'none'}"


def _step(before: int, after: int) -> str:
    return f"{before:,} → {after:,}" if before != after else f"{after:,}"


def _at(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"


def _cut(block: str, count: int) -> str:
    return block if count <= LINES_MAX else f"{block}\n… and {count - LINES_MAX:,} more; --json prints all."
