"""Which variables a start may set. Pure: the gateway answers by it at once, and the scheduler decides by it.

A start from outside sets only what its pipeline declares: names in ``default_env`` and in the schema of its
``parameters``, and those that ``accepts_env`` matches. An operator may set others. Nobody sets a secret of the
pipeline, or a protected variable.

Parameters are variables, too. One that is not declared reaches a notebook as a value, and not as a variable.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Final

from fastflow_contracts.pipelines.format.run_config import RunConfig
from fastflow_contracts.pipelines.parameters.schema import properties_of
from fastflow_contracts.pipelines.protected_variables import is_protected

SHOWN_CHARACTERS_MAX: Final = 64
"""How much of a name a reason shows."""


def refusal(config: RunConfig, *, env_vars: Iterable[str], parameters: Iterable[str], by_operator: bool) -> str | None:
    """Return why a start may not set these variables, and what to do; None: it may.

    Args:
        config: The run configuration that it starts.
        env_vars: Names of variables.
        parameters: Names of parameters.
        by_operator: An operator gives them.
    """
    for field, names in (("env_vars", env_vars), ("parameters", parameters)):
        may_be_undeclared = by_operator or (field == "parameters" and config.type == "notebook")
        for name in sorted(names):
            if why := _fault(config, name, may_be_undeclared=may_be_undeclared):
                return f"{field}: {_shown(name)} {why}"
    return None


def values_only(config: RunConfig, parameters: Iterable[str], *, by_operator: bool) -> tuple[str, ...]:
    """Return the accepted *parameters* that a notebook gets as values, but not as variables."""
    return () if by_operator else tuple(sorted(name for name in parameters if not _declares(config, name)))


def _fault(config: RunConfig, name: str, *, may_be_undeclared: bool) -> str | None:
    if is_protected(name):
        return (
            "changes how programs load or reach the network, so no start may set it; leave it out, or set it in "
            "default_env of the pipeline."
        )
    if name in config.secret_names:
        return "is a secret of the pipeline (encrypted_env), so no start may set it; leave it out."
    if not (may_be_undeclared or _declares(config, name)):
        return (
            "is not declared, so a start from outside may not set it; name it in accepts_env or default_env of the "
            "pipeline, or start it as an operator: with `fastflow run` or in the dashboard."
        )
    return None


def _shown(name: str) -> str:
    shown = name[:SHOWN_CHARACTERS_MAX]
    return shown if shown.isprintable() else repr(shown)


def _declares(config: RunConfig, name: str) -> bool:
    return (
        name in config.default_env
        or name in properties_of(config.parameters)
        or any(fnmatchcase(name, pattern) for pattern in config.accepts_env)
    )
