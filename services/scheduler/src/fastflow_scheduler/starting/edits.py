"""Changes to what a run was started with, for a retry of it. Pure.

The values that are kept never leave the bus: a person names what to replace and what to leave out.
"""

from __future__ import annotations

from msgspec.structs import replace

from fastflow_contracts.runs.messages import Trigger
from fastflow_contracts.runs.run import RunInput, RunRecord
from fastflow_contracts.runs.triggers import ENTRIES_MAX, BadTrigger


def edited(former: RunRecord, given: RunInput, trigger: Trigger) -> tuple[RunRecord, RunInput]:
    """Return *former* and its input as if it had been started with the changes that *trigger* names.

    A name that is given again, as a variable or as a parameter, replaces what had it. A person who changes something
    answers for all of it: an operator's changes make it an operator's start, those from outside make it one from
    outside. A parameter that came from outside and reached a notebook as a value only stays one.

    Args:
        former: The run.
        given: Its input.
        trigger: Its retry.

    Returns:
        Both, unchanged if nothing is to be changed.

    Raises:
        BadTrigger: There would be too many variables or parameters.
    """
    gone = trigger.changes
    if not gone:
        return former, given
    order = former.order
    env_names = _names("env_vars", order.env_names, gone, trigger.env_vars)
    parameter_names = _names("parameters", order.parameter_names, gone, trigger.parameters)
    overrides = {name: value for name, value in given.overrides.items() if name not in gone}
    given = replace(
        given,
        overrides={**overrides, **trigger.env_vars, **trigger.parameters},
        not_variables=tuple(name for name in given.not_variables if name not in gone),
    )
    order = replace(
        order,
        env_names=env_names,
        parameter_names=parameter_names,
        own_parameters=tuple(name for name in order.own_parameters if name not in gone),
        json_parameters=tuple(
            sorted({name for name in order.json_parameters if name not in gone} | {*trigger.json_parameters})
        ),
        by_operator=trigger.by_operator,
        has_input=given != RunInput(),
    )
    return replace(former, order=order), given


def _names(field: str, former: tuple[str, ...], gone: frozenset[str], new: dict[str, str]) -> tuple[str, ...]:
    names = {name for name in former if name not in gone} | new.keys()
    if len(names) > ENTRIES_MAX:
        raise BadTrigger(f"{field} would have {len(names)} entries; at most {ENTRIES_MAX} are accepted.")
    return tuple(sorted(names))
