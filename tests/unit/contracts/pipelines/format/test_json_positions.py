"""JSON with line numbers."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastflow_contracts.pipelines.format.json_positions import NESTING_MAX, BadJson, JsonNode, parse

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def plain(node: JsonNode) -> object:
    match node.value:
        case dict() as members:
            return {name: plain(member) for name, member in members.items()}
        case list() as items:
            return [plain(item) for item in items]
        case scalar:
            return scalar


@given(JSON, st.sampled_from([None, 1]), st.booleans())
def test_values_equal_those_of_the_standard_library(value: object, indent: int | None, ascii_only: bool) -> None:
    """The text of a value is JSON of that value."""
    source = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    node = parse(source)
    assert plain(node) == json.loads(source)
    assert node.text == source


@given(st.text(alphabet='{}[]",:0123456789.eE+-truefalsn \n\\ud8', max_size=40))
def test_the_reader_is_never_more_lenient_than_the_standard_library(source: str) -> None:
    """A refusal has a line of the text."""
    try:
        node = parse(source)
    except BadJson as refusal:
        line = refusal.line
    else:
        line = node.line
        assert plain(node) == json.loads(source)
    assert 1 <= line <= source.count("\n") + 1


def test_values_know_their_line() -> None:
    """That on which they begin; members know that of their key."""
    node = parse('{\n "a": [1,\n  {"b":\n   true}],\n "c": null}')
    assert node.line == 1
    assert node.member("a").line == 2
    inner = node.member("a").item(1).member("b")
    assert inner.line == 4
    assert inner.key is not None
    assert inner.key.line == 3
    assert node.member("c").line == 5


def test_the_last_of_repeated_keys_counts() -> None:
    """The object knows that there was another."""
    node = parse('{"a": 1, "b": 2, "a": 3, "a": 4}')
    assert node.member("a").value == 4
    assert node.repeated == ("a",)


@pytest.mark.parametrize(
    ("source", "line", "reason"),
    [
        ("", 1, "Expecting value"),
        ("\n\n", 3, "Expecting value"),
        ('{"a": 1,\n}', 1, 'comma comes before "}"'),
        ("[1\n2]", 2, '"," or "]" is missing'),
        ('{"a"\n 1}', 2, '":" is missing'),
        ("{a: 1}", 1, "double quotes"),
        ('{"a": NaN}', 1, "NaN is not a JSON value"),
        ("[-Infinity]", 1, "-Infinity is not a JSON value"),
        ("{} {}", 1, "follows the end"),
        ('"\\ud800"', 1, "surrogate"),
        ('{"\\ud800": 1}', 1, "surrogate"),
        ('"a\nb"', 1, "control character"),
        ("[" * (NESTING_MAX + 2), 1, "brackets are open"),
        ("[" * 100_000, 1, "brackets are open"),
        ('{"a":' * 100_000, 1, "brackets are open"),
        ("{", 1, 'or "}" is missing'),
    ],
)
def test_invalid_json_is_refused_with_line_and_reason(source: str, line: int, reason: str) -> None:
    """Each kind of mistake."""
    with pytest.raises(BadJson, match=reason.replace("{", r"\{").replace("}", r"\}")) as refusal:
        parse(source)
    assert refusal.value.line == line


@pytest.mark.parametrize("source", ["1e400", "-1e400", "9" * 5000, "-" + "9" * 5000])
def test_a_number_too_large_for_a_float_is_infinite(source: str) -> None:
    """Its text is still what was written."""
    node = parse(source)
    assert node.value in (float("inf"), float("-inf"))
    assert node.text == source
