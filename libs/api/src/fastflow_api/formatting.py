"""Formats durations and ids for people. Pure."""

from __future__ import annotations

import re
from typing import Final

MINUTE_S: Final = 60
HOUR_S: Final = 3600
DAY_S: Final = 86_400
SHORT_ID_CHARACTERS: Final = 8


def duration(seconds: float | None) -> str:
    """``340 ms``, ``4.2 s``, ``2 m 05 s``, ``1 h 03 m``, ``2 d 4 h``: never more than two units.

    Args:
        seconds: None (unknown) becomes a dash; less than 0 counts as 0.
    """
    if seconds is None:
        return "–"
    seconds = max(0.0, seconds)
    if seconds < 0.9995:
        return f"{round(seconds * 1000)} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < MINUTE_S:
        return f"{whole} s"
    if whole < HOUR_S:
        return f"{whole // MINUTE_S} m {whole % MINUTE_S:02d} s"
    if whole < DAY_S:
        return f"{whole // HOUR_S} h {whole % HOUR_S // MINUTE_S:02d} m"
    return f"{whole // DAY_S} d {whole % DAY_S // HOUR_S} h"


def short(run_id: str) -> str:
    """The beginning of a run's id, as people type it."""
    return run_id[:SHORT_ID_CHARACTERS]


def file_name(text: str) -> str:
    """*text* as part of a file name that is valid on any system."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text)
