"""The field ``rollback_after``: a bad value is a problem with its line."""

from __future__ import annotations

from typing import Any

import pytest

from fastflow_contracts.pipelines.format.manifest import read_manifest


@pytest.mark.parametrize("value", ["0", "-1", "101", "1.5", '"three"', "true", "[]", "1e400"])
def test_any_other_value_is_a_problem(value: str) -> None:
    manifest = read_manifest(f'{{\n"rollback_after": {value}}}'.encode(), file_name="pipeline.json")
    (problem,) = manifest.problems
    assert (problem.field, problem.line) == ("rollback_after", 2)
    assert "from 1 to 100" in problem.accepted


@pytest.mark.parametrize(("value", "read"), [("1", 1), ("100", 100), ("null", None)])
def test_a_number_of_failures_is_taken(value: str, read: Any) -> None:
    spec = read_manifest(f'{{"rollback_after": {value}}}'.encode(), file_name="pipeline.json").spec
    assert spec is not None
    assert spec.rollback_after == read


def test_it_belongs_to_the_pipeline_not_to_a_schedule() -> None:
    """There it is unknown, which a notice says."""
    text = b'{"schedules": [{"id": "x", "rollback_after": 3}]}'
    manifest = read_manifest(text, file_name="pipeline.json")
    assert [notice.field for notice in manifest.notices] == ["schedules[0].rollback_after"]
