"""Expressions are evaluated in a process of their own: nothing that they do ends or blocks a service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from fastflow_contracts.pipelines.expressions.evaluator import TOO_SLOW, ExpressionEvaluator, ExpressionFailed
from fastflow_contracts.pipelines.expressions.frames import Question

CLOUD_EVENT = b'{"specversion":"1.0","id":"1","source":"/s","type":"order.paid","data":{"customer":"acme"}}'
ENCODED = b'{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"eyJjIjogImFjbWUifQ=="}'


@pytest_asyncio.fixture
async def evaluator() -> AsyncIterator[ExpressionEvaluator]:
    evaluator = ExpressionEvaluator()
    yield evaluator
    await evaluator.close()


@pytest.mark.parametrize(
    ("expression", "given", "value"),
    [
        ("event.customer", {"event": b'{"customer": "acme"}'}, "acme"),
        ("event.total > 100", {"event": b'{"total": 100.5}'}, True),
        ("event.id", {"event": b'{"id": 9007199254740993}'}, 9007199254740993),
        ("event == null", {}, True),
        ("event", {"event": b"caf\xc3\xa9"}, "café"),
        ("event", {"event": b"42"}, 42),
        ("event", {"event": b"42", "event_type": "text/plain; charset=utf-8"}, "42"),
        ("size(event)", {"event": b"\xff\xfe\x00"}, 3),
        ("event.customer", {"event": CLOUD_EVENT}, "acme"),
        ("headers['ce-type']", {"event": CLOUD_EVENT}, "order.paid"),
        ("event.c", {"event": ENCODED}, "acme"),
        ("event.a", {"event": b'{"a": 1}', "headers": {"ce-specversion": "1.0"}}, 1),
        ("headers['x-github-event']", {"headers": {"x-github-event": "push"}}, "push"),
        ("env.REGION", {"variables": {"env": {"REGION": "eu"}}}, "eu"),
        ("parameters.n + 1", {"variables": {"parameters": {"n": 1}}}, 2),
        ("pipeline.name", {"variables": {"pipeline": {"name": "etl"}}}, "etl"),
        ("has(event.zz) && event.zz > 1", {"event": b"{}"}, False),
    ],
)
async def test_an_expression_sees(
    evaluator: ExpressionEvaluator, expression: str, given: dict[str, Any], value: object
) -> None:
    assert await evaluator.evaluate(Question(expression=expression, **given)) == value


@pytest.mark.parametrize(
    ("expression", "event", "reason"),
    [
        ("event.customer", b"{}", "there is no field 'customer'"),
        ("event.a.b", b'{"a": 1}', "does not fit the types"),
        ("event.a > 1", b'{"a": "x"}', "does not fit the types"),
        ("event.a > 1", b"not json", "does not fit the types of its values; the event is no JSON"),
        ("event.a > 1", b"\xff\xfe", "the event is no JSON"),
        ("event.a > 1", b"", "the event is empty"),
        ("event.a > 1", None, "the event is empty"),
        ("event.a > 1", b"[1]", "does not fit the types of its values; the event is a list"),
        ("event.a > 1", b"7", "the event is a number"),
        ("event.a + 1", b'{"a": "x"}', "string + int"),
        ("event.a[7]", b'{"a": [1]}', "index out of bounds"),
        ("1 / event.a", b'{"a": 0}', "division by zero"),
        ("event.a + 1", b'{"a": 9223372036854775807}', "overflow"),
        ("event", b'{"a": 1}', "gives an object"),
        ("event", None, "gives null"),
        ("'a'.matches(event)", b'"["', "regex"),
        ("env.SECRET", None, "Undefined variable"),
        ("event[0]", b"[" * 100_000, "does not fit the types"),
    ],
)
async def test_an_expression_without_a_value_names_itself_and_the_reason(
    evaluator: ExpressionEvaluator, expression: str, event: bytes | None, reason: str
) -> None:
    with pytest.raises(ExpressionFailed, match="has no value here") as failed:
        await evaluator.evaluate(Question(expression=expression, event=event))
    assert expression in str(failed.value)
    assert reason in str(failed.value)


@pytest.mark.parametrize(
    "expression",
    [
        "event.map(x, event + event + event).size()",
        "event.all(a, event.all(b, event.all(c, true)))",
        "event.map(x, event.map(y, event.map(z, event))).size() > 0",
    ],
)
async def test_an_evaluation_that_takes_longer_than_10_ms_is_ended_and_the_next_one_works(
    evaluator: ExpressionEvaluator, expression: str
) -> None:
    event = str(list(range(2_000))).encode()
    with pytest.raises(ExpressionFailed) as failed:
        await evaluator.evaluate(Question(expression=expression, event=event))
    assert TOO_SLOW in str(failed.value)
    assert await evaluator.evaluate(Question(expression="size(event)", event=event)) == 2_000


async def test_questions_at_once_get_their_own_answers_although_one_is_cancelled(
    evaluator: ExpressionEvaluator,
) -> None:
    asked = [
        asyncio.create_task(evaluator.evaluate(Question(expression="event", event=str(number).encode())))
        for number in range(50)
    ]
    await asyncio.sleep(0)
    asked[0].cancel()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == list(range(1, 50))
