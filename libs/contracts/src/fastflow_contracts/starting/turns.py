"""Which limit of ``concurrency`` a new run shares, and with which others. Pure, but for the evaluation of its key."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.expressions.evaluator import ExpressionEvaluator, Value
from fastflow_contracts.pipelines.expressions.frames import Question
from fastflow_contracts.pipelines.format.concurrency import ConcurrencySpec
from fastflow_contracts.pipelines.format.run_config import RunConfig
from fastflow_contracts.runs.messages import Trigger
from fastflow_contracts.runs.run import Turn

SHOWN_CHARACTERS_MAX: Final = 64


async def turn_of(
    name: PipelineName, config: RunConfig, trigger: Trigger, evaluator: ExpressionEvaluator
) -> Turn | None:
    """Return the turn of a run that *trigger* starts; None: the configuration has no ``concurrency``.

    Raises ``ExpressionFailed``.
    """
    spec = config.concurrency
    if spec is None:
        return None
    scope = config.run_config_id if config.has_own_concurrency else None
    if spec.key is None:
        return turn(spec, scope, None)
    return turn(spec, scope, await evaluator.evaluate(question(spec.key, name, config, trigger)))


def question(expression: str, name: PipelineName, config: RunConfig, trigger: Trigger) -> Question:
    """Return what an expression sees of a start: no secret is among it."""
    env = {**config.default_env, **trigger.env_vars}
    return Question(
        expression=expression,
        event=trigger.event,
        event_type=trigger.event_type,
        headers=trigger.event_headers,
        variables={
            "env": {key: value for key, value in env.items() if key not in config.secret_names},
            "parameters": {key: _parameter(key, trigger) for key in trigger.parameters},
            "pipeline": {
                "name": name,
                "tags": config.tags,
                "run_config_id": config.run_config_id or "",
                "triggered_by": trigger.triggered_by,
            },
        },
    )


def _parameter(name: str, trigger: Trigger) -> Any:
    text = trigger.parameters[name]
    return json.loads(text) if name in trigger.json_parameters else text


def turn(spec: ConcurrencySpec, scope: str | None, value: Value | None) -> Turn:
    """Return the turn of runs whose key has *value*. *scope*: the run configuration that has its own limit.

    Values of different types are different keys: 1, "1" and true. A number is one key, however it is written.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    shared = json.dumps([scope, value]).encode()
    shown = value if isinstance(value, str) else "" if value is None else json.dumps(value)
    if len(shown) > SHOWN_CHARACTERS_MAX:
        shown = f"{shown[: SHOWN_CHARACTERS_MAX - 1]}…"
    shown = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in shown)
    return Turn(limit=spec.limit, token=hashlib.sha256(shared).hexdigest()[:32], key=shown, on_limit=spec.on_limit)
