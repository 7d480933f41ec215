"""Tries the expressions of a new version once, before it can start runs. I/O: they are evaluated in their own process.

What needs an event is unknown then. So only what fails for every event is a problem: an expression that is too slow
without one, one that reads nothing and has no value, and a pattern that is no regular expression.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

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
from fastflow_contracts.pipelines.format.expression_fields import ExpressionField, expression_fields
from fastflow_contracts.pipelines.format.json_positions import parse

log = get_logger(__name__)

TRIAL_S: Final = 30.0
"""Longest trial of one pipeline; expressions beyond it are not tried."""
SLOW_MAX: Final = 3
"""Problems of one pipeline after which its trial ends: each that is too slow costs two processes."""
_SLOW: Final = "an expression that takes at most 10 ms of processor time; this one takes longer without any event"

_NO_PATTERN: Final = "not a valid regex"


async def tried(found: Found, evaluator: ExpressionEvaluator) -> Found:
    """Return *found*, with problems in place of its version if expressions of it can never work."""
    version = found.version
    if version is None or version.metadata is None:
        return found
    fields = list(expression_fields(parse(version.metadata.text.decode("utf-8-sig"))))
    if not fields:
        return found
    env = {name: text for name, text in version.spec.default_env.items() if name not in version.spec.encrypted_env}
    pipeline = {"name": found.name, "tags": version.spec.tags, "run_config_id": "", "triggered_by": "manual"}
    variables = {"env": env, "parameters": {}, "pipeline": pipeline}
    diagnostics = Diagnostics(version.metadata.name)
    try:
        async with asyncio.timeout(TRIAL_S):
            for field in fields:
                await _try(field, variables, evaluator, diagnostics)
                if len(diagnostics.problems) >= SLOW_MAX:
                    break
    except TimeoutError:
        log.warning("expressions not all tried", pipeline=found.name, longest_s=TRIAL_S)
    return replace(found, version=None, problems=diagnostics.problems) if diagnostics.problems else found


async def _try(
    field: ExpressionField, variables: dict[str, Any], evaluator: ExpressionEvaluator, diagnostics: Diagnostics
) -> None:
    accepted = await _fault(Question(expression=field.text, variables=variables), evaluator)
    if accepted == _SLOW or (accepted and is_constant(field.text)):
        diagnostics.refuse(field.path, field.node, accepted, within=1)
        return
    for pattern, character in constant_patterns(field.text):
        if accepted := await _fault(Question(expression=f"''.matches({pattern})"), evaluator):
            diagnostics.refuse(field.path, field.node, accepted, within=character)
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
