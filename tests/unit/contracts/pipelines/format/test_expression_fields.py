"""Expressions in a pipeline.json: an author is told which secrets they ask for in vain."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fastflow_contracts.pipelines.expressions.tokens import constant_patterns, variables_read
from fastflow_contracts.pipelines.format.manifest import read_manifest


def notes(**fields: Any) -> dict[str, str]:
    manifest = read_manifest(json.dumps(fields).encode(), file_name="pipeline.json")
    assert not manifest.problems
    return {notice.field: notice.text for notice in manifest.notices if "expressions" in notice.text}


def test_an_expression_that_reads_a_secret_is_noted() -> None:
    """In every place, also for a secret of one schedule."""
    trigger = {"id": "t", "subject": "orders.>", "when": "env['TOKEN'] == event", "key": "env.REGION"}
    found = notes(
        encrypted_env={"API_KEY": "bad"},
        default_env={"REGION": "eu"},
        concurrency={"key": "env.API_KEY"},
        triggers=[trigger],
        schedules=[{"id": "a", "encrypted_env": {"TOKEN": "bad"}, "concurrency": {"key": "string(env . TOKEN)"}}],
    )
    assert found.keys() == {"concurrency.key", "triggers[0].when", "schedules[0].concurrency.key"}
    assert found["concurrency.key"].startswith("reads env.API_KEY, a secret (encrypted_env): expressions do not see it")


@pytest.mark.parametrize(
    "key",
    [
        "env.API_KEY2",
        "event.env.API_KEY",
        "'env.API_KEY'",
        "event.API_KEY",
        "env.A // env.B",
        "event.map(env, env.B)[0]",
    ],
)
def test_other_names_are_not(key: str) -> None:
    assert not notes(encrypted_env={"API_KEY": "bad", "B": "bad"}, concurrency={"key": key})


def test_names_and_patterns_are_found_outside_of_texts() -> None:
    assert variables_read("""env.A + env["B"] + r'env.C' + "it's env.D" + env[event.E]""") == {"A", "B"}
    assert list(constant_patterns("event.a.matches( 'x' ) && 'matches(\"y\")' != event.matches(event.b)")) == [
        ("'x'", 18)
    ]


def test_what_is_advised_for_a_limit_of_none_is_right() -> None:
    """Without a limit there is one of 1; without concurrency there is none."""
    (problem,) = read_manifest(b'{"concurrency": {"limit": 0}}', file_name="pipeline.json").problems
    assert problem.accepted == "a whole number from 1 to 1000; for no limit, leave out concurrency"
