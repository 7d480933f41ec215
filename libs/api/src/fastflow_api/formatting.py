"""Formats durations, moments, sizes and ids for people, one way for pages and terminal. Pure: time is an argument."""

from __future__ import annotations

import re
from datetime import datetime
from math import ceil
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


def ago(at: datetime, now: datetime) -> str:
    """``just now``, ``12 s ago``, ``5 min ago``, ``3 h ago``, ``2 d ago``, a date; ``in 5 min`` for the future."""
    seconds = (now - at).total_seconds()
    distance = abs(seconds)
    if distance < 5:
        return "just now"
    if distance < MINUTE_S:
        text = f"{int(distance)} s"
    elif distance < HOUR_S:
        text = f"{int(distance // MINUTE_S)} min"
    elif distance < DAY_S:
        text = f"{int(distance // HOUR_S)} h"
    elif distance < 14 * DAY_S:
        text = f"{int(distance // DAY_S)} d"
    else:
        return at.strftime("%-d %b %Y")
    return f"{text} ago" if seconds > 0 else f"in {text}"


def countdown(at: datetime, now: datetime) -> str:
    """``in 12 s``, ``in 4 m 05 s``, ``in 2 d 4 h``; ``now`` at that time and later."""
    seconds = ceil((at - now).total_seconds())
    if seconds <= 0:
        return "now"
    return f"in {seconds} s" if seconds < MINUTE_S else f"in {duration(seconds)}"


def slot(at: datetime, now: datetime) -> str:
    """``15:30``, with seconds unless they are 0, and with the day unless it is today: ``24 Nov 04:00``."""
    time = at.strftime("%H:%M:%S" if at.second else "%H:%M")
    return time if at.date() == now.date() else at.strftime(f"%-d %b {time}")


def iso(at: datetime) -> str:
    """For scripts: RFC 3339 in UTC, milliseconds."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def exact(at: datetime) -> str:
    """``2026-03-01 12:00:00 UTC``."""
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")


def bytes_text(size: int | None) -> str:
    """``512 MiB``, ``1.5 GiB``."""
    if size is None:
        return "–"
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.3g} {unit}"
        value /= 1024
    return f"{value:.3g} TiB"


def cores_text(cores: float | None) -> str:
    """``0.5 cores``, ``1 core``."""
    if cores is None:
        return "–"
    return f"{round(cores, 2):g} {'core' if cores == 1 else 'cores'}"


def short(run_id: str) -> str:
    """The beginning of a run's id, as people type it."""
    return run_id[:SHORT_ID_CHARACTERS]


def file_name(text: str) -> str:
    """*text* as part of a file name that is valid on any system."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text)
