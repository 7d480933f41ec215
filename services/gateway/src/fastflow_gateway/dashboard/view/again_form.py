"""The form that runs a run again with changes: reads its fields and makes the edits. Pure.

The values of a run are never shown. Each has a row that keeps it, replaces it, or leaves it out.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from fastflow_contracts.runs.messages import RetriedCode
from fastflow_contracts.runs.run import RunRecord
from fastflow_contracts.runs.triggers import BadTrigger
from fastflow_gateway.actions.edits import Edits
from fastflow_gateway.dashboard.view.start_form import KEY_CHARACTERS_MAX, Pair, StartForm, pairs, read_form

Choice = Literal["keep", "set", "drop"]


class GivenRow(msgspec.Struct, frozen=True, kw_only=True):
    """One variable or parameter that the run was given."""

    name: str
    is_parameter: bool = False
    is_json: bool = False
    """Its text is JSON."""
    choice: Choice = "keep"
    text: str = ""
    """What replaces it."""


class AgainForm(msgspec.Struct, frozen=True, kw_only=True):
    """The form as a person filled it in: the rows of what the run was given, and what is added."""

    rows: tuple[GivenRow, ...]
    added: StartForm
    code: RetriedCode = "same"

    def refused(self, reason: str, key: str) -> AgainForm:
        """The same form with the *reason*, for another try under a new *key*."""
        return replace(self, added=self.added.refused(reason, key))


def fresh_form(run: RunRecord, key: str) -> AgainForm:
    """The form with nothing changed."""
    order = run.order
    env = tuple(GivenRow(name=name) for name in order.env_names)
    parameters = tuple(
        GivenRow(name=name, is_parameter=True, is_json=name in order.json_parameters) for name in order.parameter_names
    )
    return AgainForm(rows=env + parameters, added=StartForm(key=key[:KEY_CHARACTERS_MAX]))


def read_again_form(fields: list[Pair], run: RunRecord) -> AgainForm:
    """Read the posted names and values. Rows that do not belong to *run* are left out."""
    given = _by_name(fields)
    fresh = fresh_form(run, "")
    chosen = {
        (kind, name): (choice, text)
        for kind, name, choice, text in zip(
            given["given_kind"], given["given_name"], given["given_choice"], given["given_text"], strict=False
        )
    }
    rows = []
    for row in fresh.rows:
        choice, text = chosen.get(("parameter" if row.is_parameter else "env", row.name), ("keep", ""))
        rows.append(replace(row, choice=_choice(choice, text), text=text))
    code: RetriedCode = "current" if given["code"][:1] == ["current"] else "same"
    return AgainForm(rows=tuple(rows), added=read_form(fields), code=code)


def edits_of(form: AgainForm) -> Edits:
    """What the form changes. Raises ``BadTrigger``."""
    env_vars = pairs("Environment variable", form.added.env)
    parameters: dict[str, Any] = dict(pairs("Parameter", form.added.parameters))
    for row in form.rows:
        if row.choice == "set" and row.is_parameter:
            parameters.setdefault(row.name, _json(row) if row.is_json else row.text)
        elif row.choice == "set":
            env_vars.setdefault(row.name, row.text)
    dropped = tuple(row.name for row in form.rows if row.choice == "drop")
    return Edits(env_vars=env_vars, parameters=parameters, without=dropped, by_operator=True)


def _choice(choice: str, text: str) -> Choice:
    """What is typed counts, also if nobody chose to replace."""
    if choice == "drop":
        return "drop"
    return "set" if choice == "set" or text else "keep"


def _json(row: GivenRow) -> Any:
    try:
        return json.loads(row.text)
    except (ValueError, RecursionError):
        raise BadTrigger(
            f'{row.name} was given as JSON: write JSON, such as 0.5, [1, 2] or "text" with its quotes.'
        ) from None


def _by_name(fields: Iterable[Pair]) -> defaultdict[str, list[str]]:
    given: defaultdict[str, list[str]] = defaultdict(list)
    for name, value in fields:
        given[name].append(value)
    return given
