"""Which cells of a notebook a run executes."""

from __future__ import annotations

import pytest

from fastflow_contracts.pipelines.folder.notebook_rules import Layout, has_tag, is_python, layout, text_of

PARAMETERS = ("code", ["parameters"])
INJECTED = ("code", ["injected-parameters"])
PLAIN = ("code", [])
TEXT = ("markdown", ["parameters", "injected-parameters"])


@pytest.mark.parametrize(
    ("cells", "has_parameters", "laid_out"),
    [
        ([TEXT, PLAIN], True, Layout((0, 1), None)),
        ([PARAMETERS, INJECTED], False, Layout((0, 1), None)),
        ([INJECTED, PLAIN], True, Layout((0, 1), None)),
        ([PARAMETERS, INJECTED, PLAIN], True, Layout((0, 2), 0)),
        ([INJECTED, PARAMETERS, INJECTED, TEXT], True, Layout((1, 3), 0)),
        ([PLAIN, ("code", ["injected-parameters", "parameters"])], True, Layout((0, 1), 1)),
        ([("code", "parameters"), ("code", None), (None, [])], True, Layout((0, 1, 2), None)),
    ],
)
def test_parameters_of_another_run_are_left_out_where_new_ones_are_set(
    cells: list[tuple[object, object]], has_parameters: bool, laid_out: Layout
) -> None:
    """Only code cells count, and the cell with the defaults always stays."""
    assert layout(cells, has_parameters=has_parameters) == laid_out


@pytest.mark.parametrize(
    ("kernel", "display_name", "language", "python"),
    [
        ("", "", "", True),
        ("ir", "R", "", False),
        ("my-env", "Python 3 (my env)", "", True),
        ("python3", "Python 3", "julia", False),
        ("x", "", "Python", True),
    ],
)
def test_the_language_wins_over_the_name_of_the_kernel(
    kernel: str, display_name: str, language: str, python: bool
) -> None:
    """A notebook without either is Python."""
    assert is_python(kernel, display_name, language) is python


def test_documents_may_hold_anything() -> None:
    """A source that is neither a text nor a list is empty, and such metadata have no tags."""
    assert [text_of(source) for source in ("a", ["a\n", "b"], None, 3)] == ["a", "a\nb", "", ""]
    assert not any(has_tag(tags, "a") for tags in ("abc", None, 3, {"a": 1}))
