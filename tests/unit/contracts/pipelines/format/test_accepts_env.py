"""The field ``accepts_env``: what it takes, and what it must not open."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fastflow_contracts.pipelines.format.manifest import Manifest, read_manifest


def read(**fields: Any) -> Manifest:
    return read_manifest(json.dumps(fields).encode(), file_name="pipeline.json")


def test_names_and_patterns_are_taken() -> None:
    spec = read(accepts_env=["DAY", "CUSTOMER_*", "N?", "app.mode", "*"]).spec
    assert spec is not None
    assert spec.run_config().accepts_env == ("DAY", "CUSTOMER_*", "N?", "app.mode", "*")


@pytest.mark.parametrize("name", ["PYTHONWARNINGS", "PYTHON*", "BROWSER", "https_proxy", "*_PROXY", "LD_?*", "PATH"])
def test_a_protected_name_is_a_problem_that_names_the_field(name: str) -> None:
    (problem,) = read(accepts_env=["DAY", name]).problems
    assert (problem.field, problem.value) == ("accepts_env[1]", json.dumps(name))
    assert "load or reach the network" in str(problem)


def test_the_name_of_a_secret_is_a_problem() -> None:
    """Also one of an entry of schedules."""
    entry = {"id": "x", "encrypted_env": {"TOKEN": "bad"}}
    manifest = read(accepts_env=["API_KEY", "TOKEN", "DAY"], encrypted_env={"API_KEY": "bad"}, schedules=[entry])
    assert [problem.field for problem in manifest.problems] == ["accepts_env[0]", "accepts_env[1]"]
    assert "not in encrypted_env" in str(manifest.problems[0])


@pytest.mark.parametrize("value", ["DAY", {"DAY": 1}, [1], [""], ["A=B"], ["A B"], ["[A-Z]"]])
def test_any_other_value_is_refused(value: Any) -> None:
    (problem,) = read(accepts_env=value).problems
    assert problem.field.startswith("accepts_env")
