"""How the cell runner plans a notebook, its retries and its parameters."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastflow_contracts.pipelines.folder import notebook, notebook_rules
from fastflow_contracts.pipelines.parameters.cell_texts import check_texts
from fastflow_contracts.pipelines.parameters.inferred import inferred_schema
from fastflow_contracts.pipelines.parameters.settle import BadParameters, Settled
from fastflow_contracts.runs import cells
from fastflow_runner.guest.cells import notebook_rules as rules_inside
from fastflow_runner.guest.cells import plan as plan_module
from fastflow_runner.guest.cells.plan import INJECTED, UnusableNotebook, assignments, make_plan
from fastflow_runner.sandbox.docker.image import worker_context
from tests.support.notebooks import code, markdown, written


def plan(*cells: Any, retries: list[dict[str, Any]] | None = None, **parameters: str) -> Any:
    return make_plan(written(*cells).decode(), retries or [], parameters)


def test_indexes_count_code_cells_and_metadata_win_by_field() -> None:
    """A missing entry or field means no retries and one second."""
    made = plan(
        markdown("x"),
        "a",
        code("b", retries=5),
        code("c", delay_seconds=0.5, timeout=3),
        "d",
        retries=[{"retries": 1, "delay_seconds": 2}, {"retries": 2, "delay_seconds": 4}, {"retries": 3}],
    )
    assert [(step.cell, step.position, step.retries, step.delay_s, step.timeout_s) for step in made.steps] == [
        (0, 1, 1, 2.0, 0.0),
        (1, 2, 5, 4.0, 0.0),
        (2, 3, 3, 0.5, 3.0),
        (3, 4, 0, 1.0, 0.0),
    ]


def test_parameters_follow_the_tagged_cell_and_shift_no_index() -> None:
    """Those of an earlier run, saved in the notebook, are replaced; retries keep their cells."""
    cells = ["x", code("n = 1", "parameters"), code("n = 2", "injected-parameters"), "n"]
    made = plan(*cells, retries=[{}, {}, {"retries": 7}], n="3")
    assert [(step.cell, step.source.splitlines()[-1]) for step in made.steps] == [
        (0, "x"),
        (1, "n = 1"),
        (INJECTED, "n = 3"),
        (2, "n"),
    ]
    assert made.steps[3].retries == 7
    assert made.code_cells == 3
    assert [step.source for step in plan(*cells).steps] == ["x", "n = 1", "n = 2", "n"]


def test_all_parameters_of_earlier_runs_are_replaced() -> None:
    """The gateway and the cell runner count the same cells, also in a notebook saved more than once."""
    cells = [
        code("n = 0", "injected-parameters"),
        code("n = 1", "parameters"),
        code("n = 2", "injected-parameters"),
        "n",
    ]
    assert [(step.cell, step.source.splitlines()[-1]) for step in plan(*cells, n="3").steps] == [
        (0, "n = 1"),
        (INJECTED, "n = 3"),
        (1, "n"),
    ]


def test_without_a_tagged_cell_parameters_are_only_environment_variables() -> None:
    """The log says so, because it may be a mistake."""
    made = plan("x", n="3")
    assert [step.cell for step in made.steps] == [0]
    assert "environment variables only" in made.notes[0]


@pytest.mark.parametrize(
    ("default", "given", "value"),
    [
        ("'a'", "007", "007"),
        ("3", "007", 7),
        ("-3", "-4", -4),
        ("3", "0.5", 0.5),
        ("0.5", "2", 2.0),
        ("True", "false", False),
        ("[1]", "[2, 3]", [2, 3]),
        ("{'a': 1}", '{"b": 2}', {"b": 2}),
        ("(1,)", "[2]", (2,)),
        ("None", "5", "5"),
        ("compute()", "5", "5"),
        ("%magic", "5", "5"),
    ],
)
def test_a_string_takes_the_type_of_its_default(default: str, given: str, value: object) -> None:
    """If the default is not a plain value, the text stays text."""
    scope: dict[str, object] = {}
    exec(assignments({"p": given}, f"p = {default}"), scope)
    assert scope["p"] == value
    assert type(scope["p"]) is type(value)


@pytest.mark.parametrize(
    ("default", "given"), [("3", "x"), ("3", "nan"), ("0.5", ""), ("True", "maybe"), ("[1]", "{}"), ("{}", "(")]
)
def test_a_value_that_cannot_take_the_type_is_refused(default: str, given: str) -> None:
    """The run fails with the parameter's name before any cell runs."""
    with pytest.raises(UnusableNotebook, match="parameter p is"):
        assignments({"p": given}, f"p: object = {default}")


@pytest.mark.parametrize(
    "default",
    ["True", "3", "0.5", "'a'", "[1]", "(1, 2)", "{}", "{'a': 1}", "None", "f()", "\n%matplotlib inline\np = 3"],
)
@pytest.mark.parametrize(
    "given",
    [
        *("x", "", " 7 ", "1_0", "0.5", "nan", "inf", "1e999", "9" * 5_000, "yes", "TRUE ", "maybe", "null", '"a"'),
        *("[1]", "[", "(1, 2)", "1, 2", "{}", "{'a': 1}", "{1}", "[" * 5_000, "[NaN]", "'a'"),
    ],
    ids=lambda given: given[:10] or "empty",
)
def test_a_start_is_refused_only_for_what_would_fail_here(default: str, given: str) -> None:
    """Of numbers and booleans all that would; of lists and dicts what is JSON of another type."""
    works, refusal = True, ""
    try:
        assignments({"p": given}, f"p = {default}")
    except UnusableNotebook:
        works = False
    try:
        check_texts(inferred_schema(f"p = {default}"), Settled({"p": given}, (), ()))
    except BadParameters as error:
        refusal = str(error)
    assert not (works and refusal)
    assert works or default[0] in "[({" or re.match("parameters: /p: must be .*, as its default in the cell", refusal)


@pytest.mark.parametrize(("default", "given"), [("[1]", "{}"), ("{}", "[1]"), ("[1]", "5"), ("(1, 2)", '"a"')])
def test_json_of_another_type_is_refused_at_the_start(default: str, given: str) -> None:
    with pytest.raises(BadParameters):
        check_texts(inferred_schema(f"p = {default}"), Settled({"p": given}, (), ()))


def test_a_value_of_another_type_is_not_refused() -> None:
    """It reaches the cell as it is."""
    check_texts(inferred_schema("p = 3"), Settled({"p": "[0.5]"}, ("p",), ()))


@pytest.mark.parametrize("given", [0.5, 2, True, None, [1, "a", None], {"a": [True]}, 10**30, 1e300])
@pytest.mark.parametrize("default", ["1", "'a'", "None", "[1]", "False", "compute()"])
def test_every_other_json_value_stays_as_it_is(given: object, default: str) -> None:
    """As with papermill: the default says nothing about it."""
    scope: dict[str, object] = {}
    exec(assignments({"p": given}, f"p = {default}"), scope)
    assert scope["p"] == given
    assert type(scope["p"]) is type(given)


def test_no_value_is_code() -> None:
    """Anything that a trigger sends is a value; an invalid name is left out."""
    scope: dict[str, object] = {}
    evil = "'''\nimport os; os.abort()  # \\"
    exec(assignments({"p": evil, "a b": "1", "class": "2", "x\ny": "3"}, ""), scope)
    assert scope["p"] == evil
    assert set(scope) == {"p", "__builtins__"}


def test_the_cell_runner_and_the_contracts_agree() -> None:
    """It runs where none of our packages is installed, so it repeats some definitions."""
    assert Path(rules_inside.__file__).read_bytes() == Path(notebook_rules.__file__).read_bytes()
    assert plan_module.INJECTED == cells.INJECTED
    files = {path.name for path in Path(plan_module.__file__).parent.glob("*.py")}
    shipped = {name for name in worker_context(None) if name.startswith("guest/cells/")}
    assert {f"guest/cells/{name}" for name in files} == shipped


def test_old_notebooks_are_refused_and_loosely_written_ones_are_read() -> None:
    """Sources as lists of lines, cells without metadata."""
    loose = {"nbformat": 4, "cells": [{"cell_type": "code", "source": ["a\n", "b"]}, {"cell_type": "raw"}]}
    assert make_plan(json.dumps(loose), [], {}).steps[0].source == "a\nb"
    no_text = '{"nbformat": 4, "cells": [{"cell_type": "code", "source": "\\ud800 = 1"}]}'
    for text in ("{", "[]", '{"nbformat": 4}', '{"nbformat": 3}', '{"nbformat": 4, "cells": [1]}', no_text):
        with pytest.raises(UnusableNotebook, match=r"main\.ipynb"):
            make_plan(text, [], {})


NAMES = ["retries", "timeout", "tags", "fastflow", "kernelspec", "language_info", "name", "language"]
values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5) | st.just("parameters"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=8,
)
odd_cells = st.fixed_dictionaries(
    {"cell_type": st.just("code") | values}, optional={"source": values, "metadata": values, "id": values}
)
odd_notebooks = st.fixed_dictionaries(
    {"nbformat": st.just(4) | values, "cells": st.lists(odd_cells, max_size=3) | values}, optional={"metadata": values}
)


@given(odd_notebooks | values, st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2))
def test_any_file_is_planned_or_refused_with_a_sentence(document: Any, parameters: dict[str, str]) -> None:
    """No content causes another error."""
    try:
        made = make_plan(json.dumps(document), [], parameters)
    except UnusableNotebook:
        return
    assert all(0 <= step.retries < 10**10 and step.delay_s >= 0 and step.timeout_s >= 0 for step in made.steps)


@pytest.mark.parametrize(
    ("metadata", "is_python"),
    [
        ({}, True),
        ({"kernelspec": {"name": "conda-env-mine-py", "display_name": "mine", "language": "python"}}, True),
        ({"kernelspec": {"name": "venv", "display_name": "Python (venv)"}}, True),
        ({"kernelspec": {"name": "mine", "display_name": "My own"}, "language_info": {"name": "python"}}, True),
        ({"kernelspec": {"name": "ir", "display_name": "R", "language": "R"}}, False),
        ({"kernelspec": {"name": "mine", "display_name": "My own"}}, False),
    ],
)
def test_any_python_kernel_is_the_pipelines_own(metadata: dict[str, Any], is_python: bool) -> None:
    """The saved kernel name does not matter. Another language is refused, by a sync too."""
    text = written("1", metadata=metadata).decode()
    problems = notebook.notebook_problems(text.encode(), file="main.ipynb")
    assert [str(problem).partition(":")[0] for problem in problems] == ([] if is_python else ["main.ipynb"])
    if is_python:
        assert make_plan(text, [], {}).code_cells == 1
        return
    with pytest.raises(UnusableNotebook, match=r"asks for the kernel '(ir|mine)'.* choose a Python kernel"):
        make_plan(text, [], {})
