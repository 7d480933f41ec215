"""The suite itself: what it holds, and that its page says each difference."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.compat.differences import DIFFERENCES
from tests.compat.program import ALL, EXIT_CODES
from tests.compat.test_programs import QUICK

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"


def test_each_difference_stands_in_the_documentation() -> None:
    """Its sentence, word for word."""
    page = " ".join(PAGE.read_text().split())
    assert [d.sentence for d in DIFFERENCES if d.sentence not in page] == []


def test_there_are_as_many_programs_as_the_page_says() -> None:
    """It says more than 190."""
    assert "More than 190 small programs" in PAGE.read_text()
    assert len(ALL) > 190


def test_each_difference_and_exit_code_is_that_of_a_program() -> None:
    """None is left over from a program that was removed."""
    assert {d.program for d in DIFFERENCES} | EXIT_CODES.keys() <= {program.name for program in ALL}


def test_the_first_door_runs_ten_programs_that_need_little() -> None:
    """They have no packages, or one."""
    assert len(QUICK) == 10
    assert set(QUICK) <= {program.name for program in ALL if program.group in ("plain", "small")}


def test_each_program_has_a_name_that_no_other_has() -> None:
    """Tests, differences and exit codes refer to it."""
    assert [name for name, count in Counter(program.name for program in ALL).items() if count > 1] == []
