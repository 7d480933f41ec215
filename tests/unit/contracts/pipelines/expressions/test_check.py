"""An expression is refused at sync, with the place in the file, if it cannot work."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastflow_contracts.pipelines.expressions.check import EXPRESSION_CHARACTERS_MAX, BadExpression, check_expression
from fastflow_contracts.pipelines.format.manifest import read_manifest


@pytest.mark.parametrize(
    "text",
    [
        "event.customer",
        "headers['ce-type']",
        "env.REGION + '/' + parameters.customer",
        "has(event.user) ? event.user.id : 0",
        "event.items.exists(item, item.price > 100.0)",
        "string(event.number) + pipeline.name",
        "event.all(x, x > 0) && event.exists(x, x < 9)",
        "event.map(x, event.all(y, x.y == y && x.all(x, x == 'x')))",
        "event.exists(event, event.env.exists(env, env.x == event))",
        "event.map(x, x > 1, {'x': x}[r'x'])[0] // ? x",
        "timestamp(event.at).getHours()",
        "event.total\n  > 100",
        "event.all(size, size(size) > 1 && size.size() > 1)",
    ],
)
def test_accepts_expressions_over_the_known_variables(text: str) -> None:
    check_expression(text)


@pytest.mark.parametrize(
    ("text", "column", "reason"),
    [
        ("event.total > ", 15, "mismatched input"),
        ("event.", 7, "no viable alternative"),
        ("event.x == 'a", 12, "token recognition"),
        ("event.a ? 1", 12, "mismatched input"),
        ("'ä' + +event", 7, "extraneous input '+'"),
        ("event.a\n  && b )", 16, "extraneous input ')'"),
        ("evnt.customer", 1, "did you mean event?"),
        ("event.a == customer", 12, "no variable customer; there are event, headers, env, parameters, pipeline"),
        ("event.all(x, x > 0) ? x : 1", 23, "no variable x"),
        ("event.exists(y, event.all(x, x == y) && x > 1)", 41, "no variable x"),
        ("event.map(x, x.y) == [y]", 23, "no variable y"),
        ("x.exists(x, x > 1)", 1, "no variable x"),
        ("event.exists(x, ')(' + x == 'x') && x", 37, "no variable x"),
        ("x == 1 || event.all(x, x > 0)", 1, "no variable x"),
        ("math.greatest(event.a, 2)", 1, "no variable math"),
        ("event.name.upper()", 12, "no function upper"),
        ("event.name.startswith('a')", 12, "did you mean startsWith?"),
        ("event.all(1, true)", 11, "simple name"),
        ("", 1, "empty"),
        ("  ", 1, "empty"),
        ("(" * 500 + "1" + ")" * 490, 1, ""),
        ("1" + "+1" * EXPRESSION_CHARACTERS_MAX, EXPRESSION_CHARACTERS_MAX + 1, "characters"),
    ],
)
def test_refuses_with_the_place_what_cannot_work(text: str, column: int, reason: str) -> None:
    with pytest.raises(BadExpression) as refused:
        check_expression(text)
    assert reason in str(refused.value)
    assert column == 1 or refused.value.column == column


NAMES = st.sampled_from(["x", "y", "event", "size", "all", "_", "r", "b"])
VALUES = st.recursive(
    st.one_of(NAMES, st.sampled_from(["1", "'x'", '"it\'s x"', r"r'\'", "'''x'\n'''", "b'x'", "size(x)", "event.x"])),
    lambda inner: st.one_of(
        st.builds("({}).exists({},{})".format, inner, NAMES, inner),
        st.builds("[{}].map( {} , {})".format, inner, NAMES, inner),
        st.builds("{} == {} // x )\n".format, inner, inner),
        st.builds("{{{}: {}}}[{}]".format, inner, inner, inner),
    ),
)


@given(VALUES)
def test_any_text_is_accepted_or_refused_with_a_place(text: str) -> None:
    """Whatever its macros declare and shadow."""
    column = 1
    try:
        check_expression(text)
    except BadExpression as bad:
        column = bad.column
    assert 1 <= column <= len(text) + 1


def test_a_problem_names_line_and_column_of_the_file_and_the_place_in_the_expression() -> None:
    text = '{\n  "concurrency": {\n    "key": "event.name == \\"\\u00e4\\ud83d\\ude00\\" && customer"}}'
    (problem,) = read_manifest(text.encode(), file_name="pipeline.json").problems
    assert (problem.line, problem.field) == (3, "concurrency.key")
    assert problem.column is not None
    assert text.splitlines()[2][problem.column - 1 :].startswith("customer")
    assert str(problem).startswith(f"pipeline.json:3:{problem.column}: ")
    assert "at its character 23: there is no variable customer" in str(problem)
