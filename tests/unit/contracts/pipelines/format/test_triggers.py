"""``triggers`` of a pipeline.json: what is refused, and where."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fastflow_contracts.bus.patterns import matches
from fastflow_contracts.pipelines.format.diagnostics import Problem
from fastflow_contracts.pipelines.format.manifest import read_manifest


def problems(*triggers: dict[str, Any]) -> tuple[Problem, ...]:
    return read_manifest(json.dumps({"triggers": triggers}).encode(), file_name="pipeline.json").problems


@pytest.mark.parametrize(
    ("subject", "character", "reason"),
    [
        ("ff.trigger.x", 1, "belongs to"),
        ("ff", 1, "belongs to"),
        ("ff.>", 1, "belongs to"),
        ("ff_stored.>", 1, "belongs to"),
        ("$JS.API.>", 1, "belongs to"),
        ("$KV.mine.>", 1, "belongs to"),
        ("$O.mine.>", 1, "belongs to"),
        ("$SYS.>", 1, "belongs to"),
        ("$MQTT.>", 1, "belongs to"),
        ("$MQTT.sess.>", 1, "belongs to"),
        ("$MQTT.*.x", 1, "belongs to"),
        ("$MQTT.msgs", 1, "belongs to"),
        ("$SRV.>", 1, "belongs to"),
        ("$G.x", 1, "belongs to"),
        ("_INBOX.a", 1, "belongs to"),
        ("_INBOX_gateway.a", 1, "belongs to"),
        (">", 1, "first token"),
        ("*.new", 1, "first token"),
        ("", 1, "empty token"),
        ("orders.", 8, "empty token"),
        ("orders..new", 8, "empty token"),
        ("orders.>.new", 8, "last token"),
        ("orders.new>", 8, "last token"),
        ("orders.n*", 8, "whole token"),
        ("orders.a b", 8, "spaces"),
    ],
)
def test_a_subject_that_cannot_be_read_is_refused_with_its_place(subject: str, character: int, reason: str) -> None:
    text = json.dumps({"triggers": [{"id": "a", "subject": subject}]})
    (problem,) = read_manifest(text.encode(), file_name="pipeline.json").problems
    assert (problem.field, problem.line) == ("triggers[0].subject", 1)
    assert reason in problem.accepted
    assert problem.column is not None
    assert text[problem.column - 1 :].startswith(json.dumps(subject[character - 1 :])[1:-1])


@pytest.mark.parametrize("subject", ["orders", "orders.>", "orders.*.new", "ff2.x", "$MQTT.msgs.>", "Größe.>", "a.$KV"])
def test_other_subjects_are_accepted(subject: str) -> None:
    assert problems({"id": "a", "subject": subject}) == ()


@pytest.mark.parametrize(
    ("trigger", "field"),
    [
        ({"when": "event.total >"}, "triggers[0].when"),
        ({"when": "evnt.total > 1"}, "triggers[0].when"),
        ({"key": "("}, "triggers[0].key"),
        ({"run_config_id": "nowhere"}, "triggers[0].run_config_id"),
        ({"batch": {"max": 2}, "key": "event.id"}, "triggers[0].key"),
        ({"batch": {"max": 2}, "debounce_seconds": 1}, "triggers[0].debounce_seconds"),
        ({"batch": {"max": 0}}, "triggers[0].batch.max"),
        ({"batch": {"within_seconds": 0}}, "triggers[0].batch.within_seconds"),
        ({"batch": 5}, "triggers[0].batch"),
        ({"debounce_seconds": -1}, "triggers[0].debounce_seconds"),
        ({"enabled": "no"}, "triggers[0].enabled"),
        ({"id": ""}, "triggers[0].id"),
    ],
)
def test_what_does_not_fit_is_refused(trigger: dict[str, Any], field: str) -> None:
    assert [each.field for each in problems({"id": "a", "subject": "orders.>"} | trigger)] == [field]


def test_ids_are_unique_and_needed() -> None:
    found = problems({"id": "a", "subject": "x.a"}, {"id": "a", "subject": "x.b"}, {"subject": "x.c"})
    assert sorted(each.field for each in found) == ["triggers[1].id", "triggers[2].id"]


@pytest.mark.parametrize(
    ("subject", "pattern", "is_so"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.*", True),
        ("a.b", "a.>", True),
        ("a.b.c", "a.>", True),
        ("a", "a.>", False),
        ("a.b.c", "a.*", False),
        ("a.b.c", "a.*.c", True),
        ("a.b", "a", False),
    ],
)
def test_subjects_match_patterns_as_in_the_server(subject: str, pattern: str, is_so: bool) -> None:
    assert matches(subject, pattern) is is_so


def test_a_pipeline_has_at_most_a_hundred_triggers() -> None:
    triggers = [{"id": f"t{number}", "subject": "orders.>"} for number in range(101)]
    assert problems(*triggers[:100]) == ()
    assert [(each.field, each.accepted) for each in problems(*triggers)] == [("triggers", "at most 100 triggers")]
