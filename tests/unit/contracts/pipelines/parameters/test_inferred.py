"""What the parameters cell of a notebook shows."""

from __future__ import annotations

from typing import Any

import pytest

from fastflow_contracts.pipelines.parameters.inferred import inferred_schema
from fastflow_contracts.pipelines.parameters.schema import faults


def inferred(source: str) -> dict[str, Any]:
    schema = inferred_schema(source)
    assert schema is not None
    assert faults(schema) == ()
    found: dict[str, Any] = schema["properties"]
    return found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("n = 5", {"type": "integer", "default": 5}),
        ("n = -0.5", {"type": "number", "default": -0.5}),
        ("n = True", {"type": "boolean", "default": True}),
        ("n = [1, 2]", {"type": "array", "items": {"type": "integer"}, "default": [1, 2]}),
        ("n = (1, 'a')", {"type": "array", "default": [1, "a"]}),
        ("n = {'a': 1}", {"type": "object", "default": {"a": 1}}),
        ("n = 'a=b'  # an = inside", {"type": "string", "default": "a=b", "description": "an = inside"}),
        ("# How many\n# rows\nn = 5", {"type": "integer", "default": 5, "description": "How many rows"}),
        ("# Of the next cell\n\nn = 5", {"type": "integer", "default": 5}),
        ("n: float = 1", {"type": "number", "default": 1}),
        ("n: 'str' = 'x'", {"type": "string", "default": "x"}),
        ("n: Literal['a', 'b'] = 'a'", {"type": "string", "enum": ["a", "b"], "default": "a"}),
        ("n: datetime.date = datetime.date.today()", {"type": "string", "format": "date"}),
        ("n: list[int] = []", {"type": "array", "items": {"type": "integer"}, "default": []}),
        ("n: pd.DataFrame = None", {}),
        ("n = 1  # type: float Share", {"type": "number", "default": 1, "description": "Share"}),
        ("n = None", {}),
        ("n = 10**30", {}),
        ("n = float('nan')", {}),
        ("n = {1, 2}", {}),
        ("n = b'x'", {}),
        ("n = '\\x00'", {}),
        ("n = 1\nn = 'two'", {"type": "string", "default": "two"}),
        ("m = n = 3", {"type": "integer", "default": 3}),
        ("%matplotlib inline\n!ls\nn = 1", {"type": "integer", "default": 1}),
        ("n = '''a\nb'''  # two lines", {"type": "string", "default": "a\nb", "description": "two lines"}),
    ],
)
def test_names_types_defaults_and_comments_are_read(source: str, found: dict[str, Any]) -> None:
    """A value that the notebook computes has no default here."""
    assert inferred(source)["n"] == found


@pytest.mark.parametrize(
    "source",
    ["", "import os", "%%bash\nn=1", "n =", "\0", "(" * 2_000, "a, b = 1, 2", "_n = 1", "x" * 40_000, "n += 1"],
)
def test_a_cell_without_plain_assignments_shows_nothing(source: str) -> None:
    """So does one that is not Python."""
    assert inferred_schema(source) is None
