"""Tries the expressions of a new version once, before it can start runs. I/O: they are evaluated in their own process.

What needs an event is unknown then. So only what fails for every event is a problem: an expression that is too slow
without one, one that reads nothing and has no value, and a pattern that is no regular expression.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from fastflow_contracts.log import get_logger
from fastflow_contracts.pipelines.expressions.check import is_constant
from fastflow_contracts.pipelines.expressions.evaluator import (
    ExpressionAborted,
    ExpressionEvaluator,
    ExpressionFailed,
)
from fastflow_contracts.pipelines.expressions.frames import Question
from fastflow_contracts.pipelines.expressions.tokens import constant_patterns
from fastflow_contracts.pipelines.folder.examine import Found
from fastflow_contracts.pipelines.format.diagnostics import Diagnostics
from fastflow_contracts.pipelines.format.json_positions import JsonNode, parse

log = get_logger(__name__)

TRIAL_S: Final = 30.0
"""Longest trial of one pipeline; expressions beyond it are not tried."""
SLOW_MAX: Final = 3
"""Problems of one pipeline after which its trial ends: each that is too slow costs two processes."""
_SLOW: Final = "an expression that takes at most 10 ms of processor time; this one takes longer without any event"

_NO_PATTERN: Final = "not a valid regex"


class _Place(NamedTuple):
    """An expression in the file."""

    field: str
    node: JsonNode


async def tried(found: Found, evaluator: ExpressionEvaluator) -> Found:
    """Return *found*, with problems in place of its version if expressions of it can never work."""
    version = found.version
    if version is None or version.metadata is None:
        return found
    places = list(_places(parse(version.metadata.text.decode("utf-8-sig"))))
    if not places:
        return found
    env = {name: text for name, text in version.spec.default_env.items() if name not in version.spec.encrypted_env}
    pipeline = {"name": found.name, "tags": version.spec.tags, "run_config_id": "", "triggered_by": "manual"}
    variables = {"env": env, "parameters": {}, "pipeline": pipeline}
    diagnostics = Diagnostics(version.metadata.name)
    try:
        async with asyncio.timeout(TRIAL_S):
            for place in places:
                await _try(place, variables, evaluator, diagnostics)
                if len(diagnostics.problems) >= SLOW_MAX:
                    break
    except TimeoutError:
        log.warning("expressions not all tried", pipeline=found.name, longest_s=TRIAL_S)
    return replace(found, version=None, problems=diagnostics.problems) if diagnostics.problems else found


def _places(root: JsonNode) -> Iterator[_Place]:
    yield from _keys_of_limit(root, "")
    for name in ("schedules", "triggers"):
        for index, node in enumerate(_items(root, name)):
            path = f"{name}[{index}]"
            yield from _keys_of_limit(node, f"{path}.")
            if name == "triggers":
                yield from _texts(node, f"{path}.", ("when", "key"))


def _keys_of_limit(node: JsonNode, path: str) -> Iterator[_Place]:
    if isinstance(node.value, dict) and "concurrency" in node.value:
        yield from _texts(node.member("concurrency"), f"{path}concurrency.", ("key",))


def _texts(node: JsonNode, path: str, names: tuple[str, ...]) -> Iterator[_Place]:
    for name in names:
        if isinstance(node.value, dict) and name in node.value and isinstance(node.member(name).value, str):
            yield _Place(f"{path}{name}", node.member(name))


def _items(root: JsonNode, name: str) -> list[JsonNode]:
    listed = root.value.get(name) if isinstance(root.value, dict) else None
    return listed.value if listed is not None and isinstance(listed.value, list) else []


async def _try(
    place: _Place, variables: dict[str, Any], evaluator: ExpressionEvaluator, diagnostics: Diagnostics
) -> None:
    text = str(place.node.value)
    accepted = await _fault(Question(expression=text, variables=variables), evaluator)
    if accepted == _SLOW or (accepted and is_constant(text)):
        diagnostics.refuse(place.field, place.node, accepted, within=1)
        return
    for pattern, character in constant_patterns(text):
        if accepted := await _fault(Question(expression=f"''.matches({pattern})"), evaluator):
            diagnostics.refuse(place.field, place.node, accepted, within=character)
            return


async def _fault(question: Question, evaluator: ExpressionEvaluator) -> str:
    """Return what is accepted instead of an expression that has no value here; empty: it may have one."""
    try:
        await evaluator.evaluate(question)
    except ExpressionAborted as aborted:
        # Twice: the kernel counts a process's time by its clock's ticks, and may give it a tick of others.
        return _SLOW if aborted.used_its_time and await _is_slow(question, evaluator) else ""
    except ExpressionFailed as failed:
        if _NO_PATTERN in failed.reason:
            return f"a regular expression as the pattern: {failed.reason.rpartition('error: ')[2].strip()}"
        return f"an expression that has a value; this one has none, whatever the event is: {failed.reason}"
    return ""


async def _is_slow(question: Question, evaluator: ExpressionEvaluator) -> bool:
    try:
        await evaluator.evaluate(question)
    except ExpressionAborted as aborted:
        return aborted.used_its_time
    except ExpressionFailed:
        pass
    return False
