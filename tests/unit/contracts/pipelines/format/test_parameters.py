"""The field ``parameters`` of a pipeline.json: what is a problem at sync, with line and column."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from fastflow_contracts.pipelines.format.manifest import Manifest, read_manifest
from fastflow_contracts.pipelines.format.spec import PipelineSpec


def read(text: str) -> Manifest:
    return read_manifest(text.encode(), file_name="pipeline.json")


def with_properties(**properties: Any) -> str:
    return json.dumps({"parameters": {"type": "object", "properties": properties}})


def test_each_fault_of_a_schema_has_its_line_and_column() -> None:
    """And the words say what is accepted instead."""
    manifest = read("""{
  "parameters": {
    "type": "object",
    "properties": {
      "n": {"type": "integer", "default": ""},
      "when": {"pattern": "(?=a)b"},
      "LD_PRELOAD": {},
      "KEY": {"$ref": "https://example.com/key.json"},
      "deep": {"properties": {"x": {"$dynamicRef": "#x"}}}
    }
  }
}""")
    assert list(map(str, manifest.problems)) == [
        'pipeline.json:6:27: parameters.properties.when.pattern is "(?=a)b"; accepted: a regular expression that can '
        "be matched in bounded time ((?=…) is not accepted: it cannot be matched in bounded time)",
        "pipeline.json:7:21: parameters.properties.LD_PRELOAD is {}; accepted: a name that does not change how "
        "programs load or reach the network",
        'pipeline.json:8:23: parameters.properties.KEY["$ref"] is "https://example.com/key.json"; accepted: a '
        'reference to a schema in this one, such as "#/$defs/NAME"',
        'pipeline.json:9:52: parameters.properties.deep.properties.x["$dynamicRef"] is "#x"; accepted: a schema '
        "without this keyword",
    ]


@pytest.mark.parametrize(
    ("text", "field", "said"),
    [
        (with_properties(n={"type": "strin"}), "parameters.properties.n.type", 'one of "string", "integer"'),
        (with_properties(n={"minimum": "3"}), "parameters.properties.n.minimum", "a number"),
        (with_properties(n={"enum": 1}), "parameters.properties.n.enum", "a list"),
        (with_properties(n=1), "parameters.properties.n", "an object or true or false"),
        (with_properties(n={"type": "integer", "default": ""}), "parameters.properties.n.default", "a whole number"),
        (
            with_properties(o={"properties": {"n": {"type": "integer", "default": "x"}}}),
            "parameters.properties.o.properties.n.default",
            "a default that is a whole number",
        ),
        (with_properties(PYTHONPATH={}), "parameters.properties.PYTHONPATH", "does not change how programs load"),
        (with_properties(**{"a=b": {}}), 'parameters.properties["a=b"]', "a name that a variable can have"),
        (with_properties(**{f"p{n}": {} for n in range(51)}), "parameters.properties", "at most 50"),
        (with_properties(n={"description": "x" * 40_000}), "parameters", "up to 32,768 characters"),
        (with_properties(n={"anyOf": [{}] * 600}), "parameters", "up to 500 schemas"),
        (
            with_properties(n={"$ref": "#/properties/n/default", "default": {}}),
            'parameters.properties.n["$ref"]',
            "ref",
        ),
        ('{"parameters": {"type": "object", "$ref": "#"}}', "parameters", "checked quickly"),
        ('{"parameters": {"type": "object", "required": "n"}}', "parameters.required", "a list"),
        ('{"parameters": {"type": "array", "properties": {}}}', "parameters.type", '"object"'),
        ('{"parameters": {"$schema": "http://json-schema.org/draft-07/schema#"}}', 'parameters["$schema"]', "2020-12"),
        ('{"parameters": []}', "parameters", "a JSON Schema"),
        ('{"parameters": {"type": "object", "default": {"a": 1e999}}}', "parameters", "too large"),
        (f'{{"parameters": {{"type": "object", "default": {{"a": {10**30}}}}}}}', "parameters", "too large"),
        (
            '{"parameters": {"type": "object", "properties": {"KEY": {}}}, "encrypted_env": {"KEY": ""}}',
            "parameters.properties.KEY",
            "not in encrypted_env",
        ),
    ],
)
def test_a_schema_that_cannot_be_used_is_a_problem(text: str, field: str, said: str) -> None:
    problems = [problem for problem in read(text).problems if problem.field == field]
    assert problems, read(text).problems
    assert said in problems[0].accepted


@pytest.mark.parametrize("value", ['{"x": 1}', '{"type": "daily", "x": [1]}', "{}"])
def test_an_object_that_is_no_schema_is_not_used(value: str) -> None:
    """As before there were schemas: it may be a field of another tool."""
    manifest = read(f'{{"parameters": {value}}}')
    assert manifest.spec == PipelineSpec()
    assert [notice.field for notice in manifest.notices] == ["parameters"]


def test_null_is_unset() -> None:
    assert read('{"parameters": null}') == read("{}")


NEEDS_N = '"parameters": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}'


@pytest.mark.parametrize(
    ("text", "field", "said"),
    [
        (f'{{{NEEDS_N}, "schedule_cron": "0 1 * * *"}}', "schedule_cron", "parameters.n is missing"),
        (f'{{{NEEDS_N}, "schedule_interval_seconds": 60}}', "schedule_interval_seconds", "parameters.n is missing"),
        (f'{{{NEEDS_N}, "run_once_at": "2030-01-01"}}', "run_once_at", "parameters.n is missing"),
        (
            f'{{{NEEDS_N}, "schedules": [{{"id": "a", "schedule_cron": "0 1 * * *"}}]}}',
            "schedules[0].parameters.n",
            "a whole number",
        ),
        (
            f'{{{NEEDS_N}, "schedules": [{{"id": "a", "parameters": {{"n": "x"}}}}]}}',
            "schedules[0].parameters.n",
            "a whole number",
        ),
        ('{"schedules": [{"id": "a", "parameters": [1]}]}', "schedules[0].parameters", "an object"),
        ('{"schedules": [{"id": "a", "parameters": {"a=b": 1}}]}', "schedules[0].parameters", "cannot be the name"),
    ],
)
def test_a_schedule_whose_starts_would_all_be_refused_is_a_problem(text: str, field: str, said: str) -> None:
    """With the parameter, and what is wanted."""
    (problem,) = read(text).problems
    assert (problem.field, said in problem.accepted) == (field, True)


@pytest.mark.parametrize(
    "text",
    [
        f'{{{NEEDS_N}, "schedules": [{{"id": "a", "schedule_cron": "0 1 * * *", "parameters": {{"n": "5"}}}}]}}',
        f'{{{NEEDS_N}, "schedules": [{{"id": "by_hand"}}]}}',
        f'{{{NEEDS_N}, "webhook_key": "k"}}',
        '{"schedules": [{"id": "a", "schedule_cron": "0 1 * * *", "parameters": {"n": [1, {"x": null}]}}]}',
    ],
)
def test_a_schedule_that_can_start_is_good(text: str) -> None:
    """So is one that only starts by hand: the person gives what is missing."""
    manifest = read(text)
    assert (manifest.problems, manifest.notices) == ((), ())


def test_a_spec_is_stored_and_read_again() -> None:
    """Its JSON is a pipeline.json of the same meaning."""
    text = f'{{{NEEDS_N}, "schedules": [{{"id": "a", "parameters": {{"n": 1}}}}]}}'
    spec = read(text).spec
    assert spec is not None
    assert msgspec.json.decode(msgspec.json.encode(spec), type=PipelineSpec) == spec
    assert read(msgspec.json.encode(spec).decode()).spec == spec
    config = spec.run_config("a")
    assert (config.parameters, config.parameter_values) == (spec.parameters, {"n": 1})
