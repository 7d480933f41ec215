"""What a retry changes of what its run was started with. Pure.

A gateway never sees the values of a run: it passes on what to replace and to leave out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from msgspec.structs import replace

from fastflow_api.shapes import HIDDEN
from fastflow_contracts.base import Fact
from fastflow_contracts.runs.messages import Trigger
from fastflow_contracts.runs.run import RunRecord
from fastflow_contracts.runs.triggers import BadTrigger, check_parameters, check_variables
from fastflow_gateway.errors import RequestRefused


class Edits(Fact, frozen=True, kw_only=True):
    """New values, and the names to leave out. What has no name here is kept."""

    env_vars: dict[str, str] = {}
    parameters: dict[str, Any] = {}
    """Any JSON values."""
    without: tuple[str, ...] = ()
    by_operator: bool = False
    """They may be ones that the pipeline does not declare."""

    def applied_to(self, trigger: Trigger, run: RunRecord) -> Trigger:
        """Return *trigger*, a retry of *run*, with the changes. Raises ``RequestRefused``."""
        order = run.order
        try:
            env_vars = check_variables("env_vars", _changed("env_vars", self.env_vars, order.env_names))
            parameters = check_parameters(_changed("parameters", self.parameters, order.parameter_names))
        except BadTrigger as error:
            raise RequestRefused(error.status, str(error)) from error
        known = {*order.env_names, *order.parameter_names}
        if unknown := sorted({*self.without} - known):
            raise RequestRefused(422, f"without: run {run.id} was not given {unknown[0][:64]!r}; {_listed(known)}.")
        if not (env_vars or parameters.texts or self.without):
            return trigger
        return replace(
            trigger,
            env_vars=env_vars,
            parameters=parameters.texts,
            json_parameters=parameters.json,
            without=self.without,
            by_operator=self.by_operator,
        )


NO_EDITS: Final = Edits()


def _changed(field: str, given: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """Return *given* without the values that are hidden in our answers: these are kept.

    Raises ``BadTrigger`` for such a value of a name that the run was not given.
    """
    for name, value in given.items():
        if value == HIDDEN and name not in known:
            raise BadTrigger(f"{field}: {HIDDEN} stands for a value to keep, and the run was not given {name[:64]!r}.")
    return {name: value for name, value in given.items() if value != HIDDEN}


def _listed(known: Iterable[str]) -> str:
    names = ", ".join(sorted(known)[:20])
    return f"it was given {names}" if names else "it was given nothing"
