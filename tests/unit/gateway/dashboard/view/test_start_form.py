"""The form that starts a run: what people fill in, and the request it makes."""

from __future__ import annotations

import pytest

from fastflow_contracts.runs.triggers import BadTrigger
from fastflow_gateway.dashboard.view.start_form import BLANK_ROWS, StartForm, read_form, trigger_of


def test_rows_become_variables_and_parameters() -> None:
    """Empty rows are left out; names lose surrounding spaces, values keep theirs."""
    form = read_form(
        [
            ("key", "k"),
            ("run_config_id", "prod"),
            ("env_name", " LEVEL "),
            ("env_value", " debug "),
            ("env_name", ""),
            ("env_value", ""),
            ("param_name", "day"),
            ("param_value", ""),
        ]
    )
    trigger = trigger_of(form)
    assert (trigger.triggered_by, trigger.key, trigger.run_config_id) == ("manual", "k", "prod")
    assert trigger.env_vars == {"LEVEL": " debug "}
    assert trigger.parameters == {"day": ""}


def test_an_empty_form_is_a_plain_start() -> None:
    """No field is required."""
    trigger = trigger_of(read_form([]))
    assert (trigger.key, trigger.run_config_id, trigger.env_vars, trigger.parameters) == (None, None, {}, {})


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ((("", "value"),), "without a name"),
        ((("A", "1"), ("A", "2")), "given twice"),
        ((("A=B", "1"),), "cannot be the name"),
        ((("A", "x" * 16_385),), "at most 16,384"),
    ],
)
def test_ambiguous_rows_are_refused_with_a_reason(rows: tuple[tuple[str, str], ...], reason: str) -> None:
    """Dropping or overwriting a row silently would be worse."""
    with pytest.raises(BadTrigger, match=reason):
        trigger_of(StartForm(key="k", env=rows))


def test_a_refused_form_comes_back_as_it_was_filled_in() -> None:
    """With the reason, empty rows, and a new key: the old one may belong to a refused trigger."""
    form = StartForm(key="old", env=(("A", "1"),)).refused("no", "new")
    assert (form.error, form.key) == ("no", "new")
    assert form.env_rows == (("A", "1"),) + (("", ""),) * BLANK_ROWS
