"""The fields ``runs_on`` and ``priority``: a bad value is a problem with its line."""

from __future__ import annotations

import json

import pytest

from fastflow_contracts.pipelines.format.manifest import read_manifest
from fastflow_contracts.pipelines.format.run_config import RunConfig
from fastflow_contracts.pipelines.format.spec import PipelineSpec


def read(text: str) -> PipelineSpec:
    spec = read_manifest(text.encode(), file_name="pipeline.json").spec
    assert spec is not None
    return spec


@pytest.mark.parametrize(
    "value",
    [
        "gpu",
        [""],
        [" "],
        ["GPU"],
        ["zone a"],
        ["gpu "],
        ["gpu\n"],
        ["-gpu"],
        ["a.b"],
        ["a+b"],
        ["*"],
        [">"],
        ["é"],
        ["x" * 41],
        [1],
        [None],
        [["gpu"]],
        {"gpu": True},
        7,
        [f"label-{number}" for number in range(10_000)],
        ["a"] * 300,
        ["gpu", "x" * 100_000],
        ["\uff47pu"],
        ["gpu\u200b"],
        ["gpu.*"],
    ],
)
def test_what_is_no_list_of_labels_is_a_problem(value: object) -> None:
    text = f'{{\n"runs_on": {json.dumps(value)}}}'
    (problem,) = read_manifest(text.encode(), file_name="pipeline.json").problems
    assert (problem.field, problem.line) == ("runs_on", 2)
    assert 'up to 8 labels such as ["gpu", "zone-a"]' in problem.accepted
    assert "1 to 40 of a-z" in problem.accepted


@pytest.mark.parametrize(
    ("value", "labels"),
    [
        ('["zone-a", "gpu", "gpu"]', ("gpu", "zone-a")),
        ('["a", "0", "a_b-c"]', ("0", "a", "a_b-c")),
        ("[]", ()),
        ("null", ()),
    ],
)
def test_labels_are_a_sorted_set(value: str, labels: tuple[str, ...]) -> None:
    spec = read(f'{{"runs_on": {value}}}')
    assert spec.runs_on == spec.run_config().runs_on == labels


@pytest.mark.parametrize("value", ["2", "-2", "0.5", '"1"', '"high"', "true", "[]", "1e400"])
def test_any_other_priority_is_a_problem(value: str) -> None:
    (problem,) = read_manifest(f'{{\n"priority": {value}}}'.encode(), file_name="pipeline.json").problems
    assert (problem.field, problem.line, problem.accepted) == ("priority", 2, "-1, 0 or 1")


@pytest.mark.parametrize(("value", "priority"), [("-1", -1), ("0", 0), ("1", 1), ("1.0", 1), ("null", 0)])
def test_a_priority_is_taken(value: str, priority: int) -> None:
    spec = read(f'{{"priority": {value}}}')
    assert spec.priority == spec.run_config().priority == priority


def test_a_schedule_runs_with_those_of_its_pipeline() -> None:
    """Its own are unknown, which a notice says."""
    text = b'{"priority": 1, "runs_on": ["gpu"], "schedules": [{"id": "x", "priority": -1, "runs_on": ["cpu"]}]}'
    manifest = read_manifest(text, file_name="pipeline.json")
    assert [notice.field for notice in manifest.notices] == ["schedules[0].priority", "schedules[0].runs_on"]
    assert manifest.spec is not None
    config: RunConfig = manifest.spec.run_config("x")
    assert (config.priority, config.runs_on) == (1, ("gpu",))
