"""An executed notebook is valid JSON, whatever a script displayed."""

from __future__ import annotations

import json
from typing import Any, NoReturn

import pytest

from fastflow_contracts.runs.cells import Began, CellChunk, Showed
from fastflow_gateway.notebooks.cells import CellHistory
from fastflow_gateway.notebooks.executed import executed
from tests.support.notebooks import written


def shown(text: str) -> Any:
    """Return what the executed notebook holds of this JSON."""
    history = CellHistory()
    events = (Began(at=1.0, cell=0, attempt=1), Showed(at=1.0, cell=0, data={"application/json": text}))
    history.feed(CellChunk(end=2, events=events), 1)
    document = json.loads(executed(written("1"), history, run_id="r"), parse_constant=refused)
    return document["cells"][0]["outputs"][0]["data"]["application/json"]


def refused(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is no JSON")


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "[Infinity]",
        "1e999",
        "{",
        "[" * 990 + "]" * 990,
        "[" * 100_000 + "]" * 100_000,
        '{"a":' * 200 + "1" + "}" * 200,
    ],
    ids=["nan", "infinity", "too large", "broken", "deep", "very deep", "deep objects"],
)
def test_json_that_no_notebook_can_hold_stays_text(text: str) -> None:
    """The notebook can still be downloaded."""
    assert shown(text) == text


@pytest.mark.parametrize("value", [{"a": [1, None]}, [[[]]], 0, "", 10**30])
def test_other_json_is_a_value(value: Any) -> None:
    """As Jupyter saves it."""
    assert shown(json.dumps(value)) == value
