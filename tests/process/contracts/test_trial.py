"""A version whose expressions cannot work has problems in place of a start that is refused."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from fastflow_contracts.pipelines.expressions.evaluator import ExpressionEvaluator
from fastflow_contracts.pipelines.folder.bundle import File
from fastflow_contracts.pipelines.folder.examine import Found, examine
from fastflow_contracts.pipelines.folder.selection import Folder
from fastflow_contracts.pipelines.trial import SLOW_MAX, tried

TEN = "[0,1,2,3,4,5,6,7,8,9]"
SLOW = f"{TEN}.all(a,{TEN}.all(b,{TEN}.all(c,{TEN}.all(d,{TEN}.all(e,{TEN}.all(f,a+b+c+d+e+f<99))))))"
SLOW_PATTERN = r"r'(\w{40}){5}'"
BUSY = (sys.executable, "-c", "while True: pass")


@pytest_asyncio.fixture
async def evaluator() -> AsyncIterator[ExpressionEvaluator]:
    evaluator = ExpressionEvaluator()
    yield evaluator
    await evaluator.close()


def found(metadata: dict[str, Any], name: str = "pipeline.json") -> Found:
    text = json.dumps(metadata).encode()
    examined = examine("etl", Folder({"main.py": File(b"1"), name: File(text)}, ()), is_known=False)
    assert examined is not None
    assert examined.found.version is not None
    return examined.found


def trigger(number: int = 0, **fields: str) -> dict[str, Any]:
    return {"id": f"t{number}", "subject": "orders.>", **fields}


@pytest.mark.parametrize(
    ("metadata", "field", "at", "words"),
    [
        ({"concurrency": {"key": SLOW}}, "concurrency.key", TEN, "at most 10 ms"),
        ({"triggers": [trigger(), trigger(1, when=SLOW)]}, "triggers[1].when", TEN, "at most 10 ms"),
        ({"triggers": [trigger(key="1 + 'a'")]}, "triggers[0].key", "1 + 'a'", "does not fit the types"),
        ({"concurrency": {"key": "[1].map(x, x + 'a')[0]"}}, "concurrency.key", "[1]", "has none"),
        (
            {"schedules": [{"id": "a", "concurrency": {"key": "event.x.matches('(')"}}]},
            "schedules[0].concurrency.key",
            "'('",
            "unclosed group",
        ),
        ({"triggers": [trigger(when=f"event.matches({SLOW_PATTERN})")]}, "triggers[0].when", "r'(", "at most 10 ms"),
    ],
    ids=["slow key", "slow when", "no value", "no value in a macro", "pattern", "large pattern"],
)
async def test_what_fails_for_every_event_is_a_problem(
    evaluator: ExpressionEvaluator, metadata: dict[str, Any], field: str, at: str, words: str
) -> None:
    """With its field, line and column."""
    after = await tried(found(metadata), evaluator)
    assert after.version is None
    (problem,) = after.problems
    assert (problem.field, problem.line, problem.file) == (field, 1, "pipeline.json")
    assert words in problem.accepted
    assert problem.column is not None
    assert json.dumps(metadata)[problem.column - 1 :].startswith(at)


async def test_the_file_is_the_one_that_holds_the_metadata(evaluator: ExpressionEvaluator) -> None:
    (problem,) = (await tried(found({"concurrency": {"key": "1 / 0"}}, "etl.json"), evaluator)).problems
    assert problem.file == "etl.json"


async def test_many_that_are_slow_are_not_all_tried(evaluator: ExpressionEvaluator) -> None:
    """Each costs processes: the first ones are named."""
    version = found({"triggers": [trigger(number, when=SLOW) for number in range(50)]})
    assert len((await tried(version, evaluator)).problems) == SLOW_MAX


async def test_what_needs_an_event_is_no_problem(evaluator: ExpressionEvaluator) -> None:
    """Nor is what a busy machine delays: only processor time counts."""
    texts = [
        "event.total > 100",
        "event.items.exists(x, x.price / 0 > 1)",
        "env.REGION == 'eu' ? parameters.n : size(headers)",
        "event.matches('^a+b$') || '(' in event",
        "string(timestamp(event.at).getHours()) + pipeline.name",
        "\"it's matches('(')\" == event",
        f"{TEN}.all(a,{TEN}.all(b, a + b < 99))",
    ]
    metadata = {"concurrency": {"key": texts[0]}, "default_env": {"REGION": "eu"}}
    metadata |= {"triggers": [trigger(number, when=texts[number % len(texts)]) for number in range(90)]}
    version = found(metadata)
    busy = [await asyncio.create_subprocess_exec(*BUSY) for _ in range(3)]
    try:
        assert await tried(version, evaluator) == version
    finally:
        for process in busy:
            process.kill()
            await process.wait()


async def test_a_version_without_expressions_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    evaluator = ExpressionEvaluator()
    version = found({"triggers": [trigger()], "concurrency": {"limit": 2}})
    assert await tried(version, evaluator) is version


async def test_where_no_process_can_start_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is no fault of the version."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    version = found({"concurrency": {"key": "1 + 'a'"}})
    assert await tried(version, ExpressionEvaluator()) == version
