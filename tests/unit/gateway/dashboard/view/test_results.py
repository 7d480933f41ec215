"""How a page shows a result."""

from __future__ import annotations

import json

import pytest

from fastflow_gateway.dashboard.view.results import COLUMNS_MAX, LINES_MAX, ROWS_MAX, ResultTable, shown


@pytest.mark.parametrize(
    ("result", "lines"),
    [
        (b"null", ("null",)),
        (b"1.50", ("1.50",)),
        (b"12345678901234567890123", ("12345678901234567890123",)),
        (b'{"a":[],"b":{}}', ("{", '  "a": [],', '  "b": {}', "}")),
        (b'{"c":[1.0,"\\u00e4"]}', ("{", '  "c": [', "    1.0,", '    "ä"', "  ]", "}")),
        (b'"<b>\\u001b[31m"', ('"<b>\\u001b[31m"',)),
        ('"\u202e"'.encode(), ('"\\u202e"',)),
    ],
)
def test_json_is_indented_and_its_numbers_stay(result: bytes, lines: tuple[str, ...]) -> None:
    """A page shows what the script wrote, without what would change the page."""
    found = shown(result)
    assert found is not None
    assert (found.lines, found.is_open, found.table) == (lines, True, None)


def test_a_list_of_objects_is_a_table() -> None:
    """With a column for each key, and a text for each value."""
    rows = [{"day": "2026-01-31", "rows": 12.50, "ok": True}, {"day": None, "of": [1, {"a": "b"}]}]
    found = shown(json.dumps(rows).encode())
    assert found is not None
    assert found.table == ResultTable(
        ("day", "rows", "ok", "of"),
        (("2026-01-31", "12.5", "true", ""), ("null", "", "", '[1, {"a": "b"}]')),
        "",
    )
    assert not found.is_open


@pytest.mark.parametrize("result", [b"[]", b"[{}]", b"[1, 2]", b'[{"a": 1}, 2]', b'{"a": 1}'])
def test_anything_else_is_no_table(result: bytes) -> None:
    found = shown(result)
    assert found is not None
    assert found.table is None


def test_a_table_is_bounded_and_says_so() -> None:
    """The page has its beginning; long values are cut."""
    rows = [{f"c{n}": "x" * 500 for n in range(COLUMNS_MAX + 1)} for _ in range(ROWS_MAX + 5)]
    found = shown(json.dumps(rows).encode())
    assert found is not None
    assert found.table is not None
    assert (len(found.table.columns), len(found.table.rows)) == (COLUMNS_MAX, ROWS_MAX)
    assert found.table.left_out == "Not shown: 5 rows and 1 column."
    assert max(len(text) for row in found.table.rows for text in row) < 250


def test_long_json_is_bounded() -> None:
    """The page says how much it leaves out."""
    found = shown(json.dumps(list(range(LINES_MAX))).encode())
    assert found is not None
    assert (len(found.lines), found.lines_more, found.is_open) == (LINES_MAX, 2, False)


@pytest.mark.parametrize("result", [b"not json", b"\xff", b"[" * 50_000])
def test_what_anyone_wrote_to_the_bus_is_shown_as_it_is(result: bytes) -> None:
    """It breaks no page."""
    found = shown(result)
    assert found is not None
    assert found.table is None


def test_no_result_is_not_shown() -> None:
    assert shown(None) is None
