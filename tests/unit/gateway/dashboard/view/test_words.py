"""How the pages write schedules, errors, and text of unknown origin."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastflow_api import shapes
from fastflow_api.shapes import ErrorType, Limits
from fastflow_gateway.dashboard.view import words

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MIB = 1024 * 1024


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
    assert words.main_line("Traceback:\n  File x\nValueError: no\n\n") == "ValueError: no"
    assert words.main_line("\n") == ""


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
    assert words.main_line(message) == line


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
