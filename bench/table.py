"""Figures, their targets, and how they are printed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Literal

import msgspec

Unit = Literal["ms", "s", "/s", "%", "MiB", "×", ""]
"""The last one is that of counts."""

HEADER = "| | median | p95 | p99 | least – most | beside its floor | wanted |\n|---|---|---|---|---|---|---|"


class Target(msgspec.Struct, frozen=True):
    """The target of a figure: at most *bound*, or at least *bound* if *least*."""

    of: Literal["median", "p99", "ratio"]
    bound: float
    least: bool = False

    def is_met(self, figure: Figure) -> bool:
        value: float | None = getattr(figure, self.of)
        assert value is not None, self.of
        return value >= self.bound if self.least else value <= self.bound

    def words(self, unit: Unit) -> str:
        sign = "≥" if self.least else "≤"
        if self.of == "ratio":
            return f"{sign} {self.bound:g} ×"
        return f"{'p99 ' if self.of == 'p99' else ''}{sign} {shown(self.bound, unit)}"


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a table, with values in its unit. A figure of one sample has only a median."""

    name: str
    unit: Unit
    samples: int
    median: float
    p95: float
    p99: float
    least: float
    most: float
    ratio: float | None = None
    """Its median divided by the floor's."""
    targets: tuple[Target, ...] = ()

    @property
    def row(self) -> str:
        values = [shown(self.median, self.unit), "", "", ""]
        if self.samples > 1:
            values[3] = f"{shown(self.least, self.unit)} – {shown(self.most, self.unit)}"
        if self.samples >= 20:
            values[1] = shown(self.p95, self.unit)
        if self.samples >= 100 or any(target.of == "p99" for target in self.targets):
            values[2] = shown(self.p99, self.unit)
        ratio = "" if self.ratio is None else f"{self.ratio:.2f} ×"
        wanted = ", ".join(target.words(self.unit) for target in self.targets)
        if self.targets:
            wanted += ": met" if all(target.is_met(self) for target in self.targets) else ": **missed**"
        return f"| {' | '.join([self.name, *values, ratio, wanted])} |"


class Table(msgspec.Struct, frozen=True):
    """The result of one measurement."""

    title: str
    figures: tuple[Figure, ...]
    remarks: tuple[str, ...] = ()
    """Sentences below the table."""

    @property
    def rows(self) -> str:
        """The lines below a ``HEADER``."""
        return "\n".join([f"| **{self.title}** | | | | | | |", *(figure.row for figure in self.figures)])

    @property
    def text(self) -> str:
        """The table as text, with its header and remarks."""
        return "\n".join([HEADER, self.rows, *(f"\n{remark}" for remark in self.remarks)])


def figure(
    name: str,
    samples: Sequence[float],
    unit: Unit,
    *,
    floor: Sequence[float] | None = None,
    targets: Sequence[Target] = (),
) -> Figure:
    """Build a figure.

    Args:
        samples: The measured values, in *unit*.
        floor: The values to compare with, also in *unit*.
    """
    middle = median(samples)
    return Figure(
        name=name,
        unit=unit,
        samples=len(samples),
        median=middle,
        p95=quantile(samples, 0.95),
        p99=quantile(samples, 0.99),
        least=min(samples),
        most=max(samples),
        ratio=None if floor is None else middle / median(floor),
        targets=tuple(targets),
    )


def ms(samples_s: Sequence[float]) -> list[float]:
    """Convert seconds to milliseconds."""
    return [sample * 1e3 for sample in samples_s]


def quantile(samples: Sequence[float], share: float) -> float:
    """Return the sample below which *share* of all lie; the largest for 1.0."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def shown(value: float, unit: Unit) -> str:
    """Format a value with about three digits."""
    digits = 0 if abs(value) >= 100 or value == int(value) else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}{'' if unit in ('%', '/s', '') else ' '}{unit}"
