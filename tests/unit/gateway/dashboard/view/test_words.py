"""How the pages write durations, moments, sizes, schedules, errors, and text of unknown origin."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastflow_api import shapes
from fastflow_api.formatting import duration
from fastflow_api.shapes import ErrorType, Limits
from fastflow_gateway.dashboard.view import formatting as words

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
    assert words.ago(NOW - timedelta(seconds=seconds), NOW) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(None, "–"), (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (512 * MIB, "512 MiB"), (3 * 1024 * MIB, "3 GiB")],
)
def test_sizes_are_in_the_unit_that_reads_best(size: int | None, text: str) -> None:
    """In powers of 1024, with the matching unit."""
    assert words.bytes_text(size) == text


@pytest.mark.parametrize(
    ("cores", "text"), [(None, "–"), (1, "1 core"), (0.0399, "0.04 cores"), (2.5, "2.5 cores"), (16, "16 cores")]
)
def test_cores_have_two_decimals_at_most(cores: float | None, text: str) -> None:
    """More would not help."""
    assert words.cores_text(cores) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]8;;http://evil\x07link\x1b]8;;\x07", "link"),
        ("bell\x07 nul\x00 c1\x9b", "bell nul c1"),
        ("txt\u202egnp", "txt\\u202egnp"),
        ("kept:\ttab\nline", "kept:\ttab\nline"),
    ],
)
def test_untrusted_text_is_made_plain(text: str, shown: str) -> None:
    """Escape sequences and control characters are removed; marks that reorder text become visible."""
    assert words.plain(text) == shown


@given(st.text())
def test_plain_text_has_no_control_characters(text: str) -> None:
    """Only tab and line break remain, and no bidirectional marks, for any input."""
    assert not re.search(
        r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200e\u200f]", words.plain(text)
    )


def test_a_long_value_is_cut() -> None:
    """A list of values stays a list."""
    assert len(words.shown("x" * 10_000)) == words.SHOWN_CHARACTERS_MAX + 1


def test_a_traceback_is_shortened_to_its_last_line() -> None:
    """That is where Python says what went wrong."""
    assert words.telling_line("Traceback:\n  File x\nValueError: no\n\n") == "ValueError: no"
    assert words.telling_line("\n") == ""


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (
            "error: No interpreter found for Python 3.11.99\n\nhint: uv embeds available Python downloads",
            "error: No interpreter found for Python 3.11.99",
        ),
        (
            "error: Failed to fetch: `https://packages.example/simple/x/`\n  Caused by: dns error",
            "error: Failed to fetch: `https://packages.example/simple/x/`",
        ),
        (
            "  × No solution found:\n  ╰─▶ Because x was not found,\n      it fails.\n\nhint: try y",
            "Because x was not found,",
        ),
        ("its sandbox failed\nhint: look there", "its sandbox failed"),
    ],
)
def test_an_installer_error_is_shortened_to_its_reason(message: str, line: str) -> None:
    """It comes first; consequences and hints follow."""
    assert words.telling_line(message) == line


@pytest.mark.parametrize(
    ("error_type", "exit_code", "limits", "title"),
    [
        (ErrorType.SCRIPT_ERROR, 3, Limits(), "The script failed with exit code 3"),
        (ErrorType.TIMEOUT, None, Limits(timeout_s=60), "It took too long: more than 1 m 00 s"),
        (ErrorType.OOM, 137, Limits(memory_bytes=64 * MIB), "Out of memory: more than 64 MiB"),
        (ErrorType.OOM, 137, Limits(), "Out of memory"),
    ],
)
def test_errors_name_the_number_that_matters(
    error_type: ErrorType, exit_code: int | None, limits: Limits, title: str
) -> None:
    """The exit code, the timeout or the memory, if known."""
    assert words.error_title(error_type, exit_code, limits) == title


def test_in_a_notebook_the_error_names_the_cell() -> None:
    """Its exit code says nothing; other errors are those of any run."""
    assert words.error_title(ErrorType.SCRIPT_ERROR, 1, Limits(), "notebook") == "The notebook failed"
    assert "cell" in words.error_advice(ErrorType.SCRIPT_ERROR, "notebook")
    assert words.error_title(ErrorType.OOM, 137, Limits(), "notebook") == "Out of memory"


@pytest.mark.parametrize("error_type", list(ErrorType))
def test_every_error_has_words(error_type: ErrorType) -> None:
    """A new kind of error needs a text here."""
    assert words.error_title(error_type, None, Limits())
    assert words.error_advice(error_type).endswith(".")


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("interval", "900", "Every 15 minutes"),
        ("interval", "3600", "Every hour"),
        ("interval", "90", "Every 90 seconds"),
        ("once", "2026-03-01T12:00:00Z", "Once, at 2026-03-01 12:00:00 UTC"),
        ("cron", "0 9 * * *", "Every day at 09:00 UTC"),
        ("cron", "30 6 * * 1-5", "Every weekday at 06:30 UTC"),
        ("cron", "0 8 * * 7", "Every Sunday at 08:00 UTC"),
        ("cron", "*/5 * * * *", "Every 5 minutes (cron */5 * * * *)"),
        ("cron", "15 * * * *", "Every hour at minute 15"),
        ("cron", "0 0 1 1 *", "Cron 0 0 1 1 * UTC"),
        ("cron", "@daily", "Cron @daily UTC"),
    ],
)
def test_schedules_are_put_into_words(kind: str, value: str, text: str) -> None:
    """Usual ones read as sentences; others are shown as they are."""
    schedule = shapes.Schedule(
        id="schedule",
        run_config_id=None,
        kind=kind,  # type: ignore[arg-type]
        value=value,
        timezone="UTC",
        start=None,
        end=None,
        enabled=True,
    )
    assert words.schedule_words(schedule) == text
