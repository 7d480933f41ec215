"""What a valid pipeline.json means here and may not mean in another scheduler that reads the same format. Pure.

``fastflow validate`` says it to people who bring their pipelines along.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from fastflow_contracts.pipelines.format.spec import PipelineSpec
from fastflow_contracts.schedules.cron import ALIASES


def differences(spec: PipelineSpec) -> Iterator[str]:
    """Yield a sentence for each value that other schedulers read in another way."""
    crons = {"schedule_cron": spec.schedule_cron, "restart_interval": spec.restart_interval}
    crons |= {f"schedules[{number}].schedule_cron": entry.schedule_cron for number, entry in enumerate(spec.schedules)}
    for field, expr in crons.items():
        if isinstance(expr, str):
            yield from (f"{field} {text}" for text in _of_cron(expr))


def _of_cron(expr: str) -> Iterator[str]:
    text = expr.strip().lower()
    _, _, day, _, weekday = ALIASES.get(text, text).split()
    if text not in ALIASES and re.search(r"(?<![/\d])\d", weekday):
        yield (
            f"has {weekday!r} for the day of week: here 0 and 7 are Sunday and 1 is Monday, "
            "elsewhere 0 may be Monday; names such as mon mean the same everywhere."
        )
    if not (day.startswith("*") or weekday.startswith("*")):
        yield "restricts both days: here one of them is enough, elsewhere both may be needed."
