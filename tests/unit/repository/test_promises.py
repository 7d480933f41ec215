"""``make test`` proves every promise, and one of the two doors runs each test."""

from __future__ import annotations

import ast
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
