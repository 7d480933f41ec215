"""The form that starts a run: reads its fields and makes the trigger. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from fastflow_contracts.pipelines.parameters.check import WrongValue
from fastflow_contracts.runs.messages import Trigger
from fastflow_contracts.runs.triggers import BadTrigger, read_run_body
from fastflow_gateway.dashboard.view.parameter_fields import (
    PREFIX,
    ParameterField,
    errors_by_name,
    fields_of,
    values_of,
)

BLANK_ROWS: Final = 3
"""Empty rows of each table, for browsers without scripts."""
KEY_CHARACTERS_MAX: Final = 64

Pair = tuple[str, str]


class StartForm(msgspec.Struct, frozen=True, kw_only=True):
    """The form as a person filled it in. ``key`` makes sending it twice harmless."""

    key: str
    run_config_id: str = ""
    version: str = ""
    env: tuple[Pair, ...] = ()
    parameters: tuple[Pair, ...] = ()
    """Those without a field of their own."""
    entered: dict[str, str] | None = None
    """The texts of the parameters' own fields; None: it is not filled in yet."""
    wrong: tuple[WrongValue, ...] = ()
    """Parameters that the schema does not accept."""
    error: str | None = None
    """Why the start failed, to show with the form."""

    @property
    def env_rows(self) -> tuple[Pair, ...]:
        return self.env + (("", ""),) * BLANK_ROWS

    @property
    def parameter_rows(self) -> tuple[Pair, ...]:
        return self.parameters + (("", ""),) * BLANK_ROWS

    def fields(self, schema: Mapping[str, Any] | None) -> tuple[ParameterField, ...]:
        """The fields of the parameters of *schema*."""
        return fields_of(schema, self.entered, self.wrong)

    def refused_parameters(
        self, wrong: tuple[WrongValue, ...], schema: Mapping[str, Any] | None, key: str
    ) -> StartForm:
        """The same form with what is *wrong*, beside the fields where these are."""
        named = {field.name for field in fields_of(schema)}
        others = {name: text for name, text in errors_by_name(wrong).items() if name not in named}
        texts = [f"Parameter {name}: {text}" if name else f"Parameters: {text}" for name, text in others.items()]
        reason = " ".join(texts) or "Some parameters are not what the pipeline wants; see below."
        return replace(self, wrong=wrong, error=reason, key=key)

    def refused(self, reason: str, key: str) -> StartForm:
        """The same form with the *reason*, for another try under a new *key*."""
        return replace(self, error=reason, key=key)


def read_form(fields: Iterable[Pair]) -> StartForm:
    """Read the posted names and values. Empty rows are left out."""
    given: defaultdict[str, list[str]] = defaultdict(list)
    for name, value in fields:
        given[name].append(value)
    own = {name.removeprefix(PREFIX): values[-1] for name, values in given.items() if name.startswith(PREFIX)}
    return StartForm(
        key="".join(given["key"][:1])[:KEY_CHARACTERS_MAX],
        run_config_id="".join(given["run_config_id"][:1]),
        version="".join(given["version"][:1]),
        env=_rows(given["env_name"], given["env_value"]),
        parameters=_rows(given["param_name"], given["param_value"]),
        entered=own,
    )


def trigger_of(form: StartForm, schema: Mapping[str, Any] | None = None) -> Trigger:
    """The trigger for the form, with the fields of *schema*. Raises ``BadTrigger``."""
    own = values_of(schema, form.entered or {})
    others = pairs("Parameter", form.parameters)
    if twice := sorted(own.keys() & others.keys()):
        raise BadTrigger(f"Parameter {twice[0]} is given twice: remove its row.")
    body = {
        "env_vars": pairs("Environment variable", form.env),
        "parameters": {**own, **others},
        "run_config_id": form.run_config_id or None,
        "version": form.version or None,
    }
    return replace(read_run_body(body, by_operator=True), triggered_by="manual", by_operator=True, key=form.key or None)


def pairs(what: str, rows: tuple[Pair, ...]) -> dict[str, str]:
    """The names and values of a table. Raises ``BadTrigger`` for a name that is missing or given twice."""
    found: dict[str, str] = {}
    for name, value in rows:
        if not name:
            raise BadTrigger(f"{what} without a name: give it one, or clear its value too.")
        if name in found:
            raise BadTrigger(f"{what} {name} is given twice: remove one of them.")
        found[name] = value
    return found


def _rows(names: list[str], values: list[str]) -> tuple[Pair, ...]:
    return tuple((name.strip(), value) for name, value in zip(names, values, strict=False) if name.strip() or value)
