"""The strip of a pipeline's last runs: one bar each, height for duration, colour and shape for status. Pure.

Strips of twenty links are most of the list of pipelines, so they are written here rather than in a template, and
cached: a strip depends only on the runs. Random digits do not compress, so links have only the beginning of an id.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import log1p
from typing import Final

import msgspec
from markupsafe import Markup, escape

from fastflow_api import shapes
from fastflow_api.formatting import duration, exact
from fastflow_api.shapes import Status
from fastflow_gateway.dashboard.view import words

PITCH: Final = 9
"""Distance between bars, in pixels."""
BAR: Final = 6
HEIGHT_MIN: Final = 4
FOOT: Final = 5
"""Room for the mark below a failed run."""
ID_CHARACTERS: Final = 11
"""Of an id in a link: ten hexadecimal digits. Among 100,000 runs, one in ten million has a double."""
KEPT_MAX: Final = 2_000
"""Cached strips."""
HOLLOW: Final = frozenset({Status.PENDING, Status.RUNNING, Status.INTERRUPTED})


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One run. ``height`` is at most that of the strip."""

    run: shapes.RunMark
    x: int
    height: int

    @property
    def title(self) -> str:
        took = f", {duration(_took_s(self.run))}" if self.run.finished_at else ""
        return f"{words.status_word(self.run.status)}{took} · {exact(self.run.created_at)}"


def strip(runs: Sequence[shapes.RunMark], slots: int = 20, height: int = 28) -> Markup:
    """An SVG of the newest *slots* runs, oldest first. *runs*: newest first."""
    return _strip(tuple(runs[:slots]), slots, height)


def bars(runs: Sequence[shapes.RunMark], slots: int, height: int) -> list[Bar]:
    """The newest *slots* runs, oldest first. Height grows with the logarithm of the duration."""
    newest = runs[:slots]
    longest_s = max(map(_took_s, newest), default=0.0)
    return [
        Bar(run=run, x=slot * PITCH, height=_height(run, longest_s, height))
        for slot, run in enumerate(reversed(newest), start=slots - len(newest))
    ]


def strip_words(runs: Sequence[shapes.RunMark]) -> str:
    """A strip as text, for screen readers."""
    if not runs:
        return "No runs yet"
    counts = [(status, sum(run.status == status for run in runs)) for status in Status]
    listed = ", ".join(f"{count} {words.status_word(status).lower()}" for status, count in counts if count)
    return f"Last {len(runs)} runs: {listed}"


@lru_cache(maxsize=KEPT_MAX)
def _strip(runs: tuple[shapes.RunMark, ...], slots: int, height: int) -> Markup:
    width, whole = slots * PITCH, height + FOOT
    empty = "".join(
        f'<rect class="empty" x="{slot * PITCH + 1.5}" y="{height - 3}" width="{BAR}" height="3"/>'
        for slot in range(slots - len(runs))
    )
    drawn = "".join(_drawn(bar, height) for bar in bars(runs, slots, height))
    # Everything in it is a number, an id, or escaped.
    return Markup(  # noqa: S704
        f'<svg class="strip" width="{width}" height="{whole}" viewBox="0 0 {width} {whole}" role="img" '
        f'aria-label="{escape(strip_words(runs))}">{empty}{drawn}</svg>'
    )


def _drawn(bar: Bar, height: int) -> str:
    run = bar.run
    names = " ".join(
        ("bar", *(["hollow"] if run.status in HOLLOW else []), *(["live"] if run.finished_at is None else []))
    )
    mark = f'<circle class="mark" cx="{bar.x + 4.5}" cy="{height + 3.4}" r="1.5"/>' if run.status == "FAILED" else ""
    return (
        f'<a class="st-{run.status}" href="/runs/{escape(run.id[:ID_CHARACTERS])}" tabindex="-1">'
        f"<title>{escape(bar.title)}</title>"
        f'<rect class="{names}" x="{bar.x + 1.5}" y="{height - bar.height}" width="{BAR}" height="{bar.height}"/>'
        f"{mark}</a>"
    )


def _height(run: shapes.RunMark, longest_s: float, height: int) -> int:
    if run.finished_at is None:
        return (HEIGHT_MIN + height) // 2
    share = log1p(_took_s(run)) / log1p(longest_s) if longest_s else 0.0
    return round(HEIGHT_MIN + (height - HEIGHT_MIN) * share)


def _took_s(run: shapes.RunMark) -> float:
    # The times come from the clocks of two hosts: the end may be before the beginning.
    return max(0.0, words.seconds_between(run.created_at, run.finished_at)) if run.finished_at else 0.0
