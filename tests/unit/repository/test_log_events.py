"""A log event is a noun and a participle, such as "sandbox removed"; its values are fields."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
LEVELS = {"debug", "info", "warning", "error", "exception"}
EVENT = re.compile(r"[a-z][a-z0-9]*( [a-z0-9]+)+")
PARTICIPLE = re.compile(r"[a-z]+ed|begun|chosen|found|given|left|lost|read|sent")


def events() -> Iterator[tuple[str, str]]:
    """Yield where each literal event is logged, and its text."""
    for path in sorted(
        [*ROOT.glob("libs/*/src/**/*.py"), *ROOT.glob("services/*/src/**/*.py"), *ROOT.glob("cli/src/**/*.py")]
    ):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="log"), attr=level),
                    args=[ast.Constant(value=str() as event), *_] | [ast.JoinedStr() as event, *_],
                ) if level in LEVELS:
                    where = f"{path.relative_to(ROOT)}:{node.lineno}"
                    yield where, event if isinstance(event, str) else ast.unparse(event)


def is_event(text: str) -> bool:
    _, *rest = text.split(" ")
    return EVENT.fullmatch(text) is not None and any(PARTICIPLE.fullmatch(word) for word in rest)


def test_each_log_event_is_a_noun_and_a_participle() -> None:
    found = list(events())
    assert len(found) > 50
    assert [f"{where}: {text}" for where, text in found if not is_event(text)] == []


def test_sentences_and_values_are_no_events() -> None:
    assert not any(
        map(is_event, ("the bus denies", "draining", "no Docker", "f'run {run} removed'", "removed sandbox {x}"))
    )
    assert is_event("sandbox not removed")
