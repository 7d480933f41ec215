"""Figures from samples, and how they are printed. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def quantile(samples: Sequence[float], share: float) -> float:
    """The sample below which *share* of all lie; the largest for 1.0."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def row(name: str, samples_s: Sequence[float], *, floor: float | None = None) -> str:
    """A table row in milliseconds; *floor*: the median that the ratio is against, in seconds."""
    p50, p95 = quantile(samples_s, 0.5), quantile(samples_s, 0.95)
    shown = [f"{sample * 1e3:.0f}" for sample in (p50, p95, min(samples_s), max(samples_s))]
    ratio = f"{p50 / floor:.2f}" if floor else ""
    return f"| {name} | {' | '.join(shown)} | {ratio} |"


HEADER = "| | p50 ms | p95 ms | min ms | max ms | p50 / floor |\n|---|---|---|---|---|---|"
