"""How pages and terminal write durations, moments and sizes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fastflow_api.formatting import ago, bytes_text, cores_text, duration

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (-1, "0 ms"),
        (0.34, "340 ms"),
        (0.9999, "1.0 s"),
        (4.21, "4.2 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.9, "1 m 00 s"),
        (125, "2 m 05 s"),
        (3599.9, "1 h 00 m"),
        (3780, "1 h 03 m"),
        (2 * 86_400 + 4 * 3600, "2 d 4 h"),
    ],
)
def test_durations_have_two_units_at_most(seconds: float | None, text: str) -> None:
    """Precise if short, coarse if long, never ``60 s``."""
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "just now"),
        (4, "just now"),
        (12, "12 s ago"),
        (300, "5 min ago"),
        (7200, "2 h ago"),
        (3 * 86_400, "3 d ago"),
        (30 * 86_400, "30 Jan 2026"),
        (-90, "in 1 min"),
    ],
)
def test_recent_moments_are_relative_to_now(seconds: float, text: str) -> None:
    """Old ones are dates."""
    assert ago(NOW - timedelta(seconds=seconds), NOW) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(None, "–"), (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (512 * MIB, "512 MiB"), (3 * 1024 * MIB, "3 GiB")],
)
def test_sizes_are_in_the_unit_that_reads_best(size: int | None, text: str) -> None:
    """In powers of 1024, with the matching unit."""
    assert bytes_text(size) == text


@pytest.mark.parametrize(
    ("cores", "text"), [(None, "–"), (1, "1 core"), (0.0399, "0.04 cores"), (2.5, "2.5 cores"), (16, "16 cores")]
)
def test_cores_have_two_decimals_at_most(cores: float | None, text: str) -> None:
    """More would not help."""
    assert cores_text(cores) == text
