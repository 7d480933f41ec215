"""``make test`` proves every promise, and one of the two doors runs each test."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.promises import PROMISES, WITHOUT_DOCKER

ROOT = Path(__file__).parents[3]


def promised(folder: str) -> Iterator[str]:
    """Return the names in the markers of a folder's tests, as often as they occur."""
    for path in sorted((ROOT / "tests" / folder).rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(attr="promise"), args=[ast.Constant(value=str(name))]):
                    yield name


@pytest.mark.parametrize(("folder", "names"), [("e2e", PROMISES.keys()), ("docker", PROMISES.keys() - WITHOUT_DOCKER)])
def test_every_promise_has_a_test_in_the_first_door(folder: str, names: set[str]) -> None:
    """One with Docker and one end to end; and every marker names an existing promise."""
    assert set(promised(folder)) == names


def test_every_folder_of_tests_is_run_by_a_door() -> None:
    """A folder that the Makefile does not name would never run."""
    named = (ROOT / "Makefile").read_text()
    folders = [path for path in (ROOT / "tests").iterdir() if any(path.rglob("test_*.py"))]
    assert folders
    assert [path.name for path in folders if f"tests/{path.name}" not in named] == []


def test_the_second_door_lasts_as_long_as_tests_say() -> None:
    """An attack of ten thousand requests would be one of three hundred without the long profile."""
    lasting = {path for path in (ROOT / "tests").rglob("test_*.py") if "lasting(" in path.read_text()} - {
        Path(__file__)
    }
    assert any("fuzz" in path.parts for path in lasting)
    printed = subprocess.run(
        ["make", "--dry-run", "--always-make", "verify"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    long = [line.split() for line in printed.splitlines() if "FASTFLOW_TEST_PROFILE=long" in line]
    short = [str(path.relative_to(ROOT)) for path in lasting if not any(is_run(path, line) for line in long)]
    assert short == []


def is_run(path: Path, line: list[str]) -> bool:
    """Whether a door's line runs the tests of *path* that last: in QUICK those with a mark."""
    is_marked = any(mark in path.read_text() for mark in ("mark.simulation", "import hypothesis", "from hypothesis"))
    return f"tests/{path.relative_to(ROOT / 'tests').parts[0]}" in line and (is_marked or '"not' in line)
