"""Makes the parameters of a run from what its start gives, its run configuration and the schema. Pure.

The gateway asks to answer at once, the scheduler to decide.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.pipelines.format.run_config import RunConfig
from fastflow_contracts.pipelines.parameters.check import Schema, TooComplex, WrongValue, bounded, wrong_values
from fastflow_contracts.pipelines.parameters.defaults import with_defaults
from fastflow_contracts.pipelines.parameters.schema import properties_of, resolved

VALUE_CHARACTERS_MAX: Final = 16_384
"""Longest text of one parameter, as in a trigger."""
TYPES_DEPTH_MAX: Final = 3
"""How deep alternatives are searched for their types."""


class BadParameters(FastFlowError):
    """The parameters are not what the pipeline wants; the message names each one."""

    def __init__(self, wrong: Iterable[WrongValue]) -> None:
        self.wrong = tuple(wrong)
        super().__init__(f"parameters: {'; '.join(map(str, self.wrong))}.")


class Settled(NamedTuple):
    """The parameters of a run."""

    texts: dict[str, str]
    """All of them, as text."""
    json: tuple[str, ...]
    """Names of those that are no strings: their text is JSON."""
    own: tuple[str, ...]
    """Names of those that the start did not give: they come from the pipeline."""


class Told(NamedTuple):
    """What a start gives."""

    env_vars: dict[str, str]
    parameters: dict[str, str]


def told_apart(config: RunConfig, env_vars: Mapping[str, str], parameters: Mapping[str, str]) -> Told:
    """Take a variable that the schema describes for the parameter that it is: nothing gets past the schema."""
    described = properties_of(config.parameters)
    return Told(
        {name: text for name, text in env_vars.items() if name not in described},
        {**{name: text for name, text in env_vars.items() if name in described}, **parameters},
    )


def settle(config: RunConfig, texts: Mapping[str, str], json_names: Iterable[str]) -> Settled:
    """Settle the parameters of a run.

    Args:
        config: The run configuration.
        texts: The parameters of the start, as text.
        json_names: Names of those that are no strings.

    Raises:
        BadParameters: The schema does not accept them.
    """
    if config.parameters is None and not config.parameter_values:
        return Settled(dict(texts), tuple(json_names), ())
    is_json = frozenset(json_names)
    given = {name: _parsed(text) if name in is_json else text for name, text in texts.items()}
    values = {**config.parameter_values, **given}
    if config.parameters is not None:
        values = checked(config.parameters, values)
    return Settled(
        {name: value if isinstance(value, str) else _text(value) for name, value in values.items()},
        tuple(sorted(name for name, value in values.items() if not isinstance(value, str))),
        tuple(sorted(values.keys() - given.keys())),
    )


def checked(schema: Schema, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return *values* with the types and defaults of *schema*. Raises ``BadParameters``."""
    properties = properties_of(schema)
    try:
        with bounded():
            typed = {name: _typed(properties.get(name), value, schema) for name, value in values.items()}
            filled = with_defaults(schema, typed)
            wrong = wrong_values(schema, filled)
            if not wrong:
                wrong = tuple(_too_long(filled))
    except (TooComplex, RecursionError) as error:
        reason = str(error) if isinstance(error, TooComplex) else "it is nested too deeply."
        raise BadParameters([WrongValue((), reason.rstrip("."))]) from None
    except Exception as error:
        # A stored schema that no sync of this version has checked must not stop who starts the others.
        reason = (
            f"cannot be checked, because the pipeline's schema is not valid ({type(error).__name__}): sync it again"
        )
        raise BadParameters([WrongValue((), reason)]) from None
    if wrong:
        raise BadParameters(wrong)
    return filled


def _typed(schema: Any, value: Any, root: Schema) -> Any:
    """Read a text as JSON where the schema wants no text: variables, forms and commands have texts only."""
    if not isinstance(value, str) or schema is None:
        return value
    types = types_of(schema, root)
    if not types or "string" in types:
        return value
    parsed = _parsed(value.lower() if "boolean" in types and value.lower() in ("true", "false") else value)
    return value if isinstance(parsed, str) else parsed


def types_of(schema: Any, root: Schema, depth: int = 0) -> frozenset[str]:
    """Return the types that *schema* accepts; empty: it does not say."""
    if depth > TYPES_DEPTH_MAX:
        return frozenset()
    match resolved(schema, root):
        case {"type": str(name)}:
            return frozenset({name})
        case {"type": list(names)}:
            return frozenset(names)
        case {"const": value}:
            return frozenset({_type_of(value)})
        case {"enum": list(values)}:
            return frozenset(map(_type_of, values))
        case {"anyOf": list(parts)} | {"oneOf": list(parts)}:
            kinds = [types_of(each, root, depth + 1) for each in parts]
            return frozenset().union(*kinds) if kinds and all(kinds) else frozenset()
        case {"allOf": [only]}:
            return types_of(only, root, depth + 1)
        case _:
            return frozenset()


def _parsed(text: str) -> Any:
    """Return the JSON in *text*; the text if it is none, or has numbers that are no JSON."""
    try:
        return json.loads(text, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError):
        return text


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _type_of(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _too_long(values: Mapping[str, Any]) -> Iterable[WrongValue]:
    for name, value in values.items():
        text = value if isinstance(value, str) else _text(value)
        if len(text) > VALUE_CHARACTERS_MAX:
            yield WrongValue(
                (name,),
                f"has {len(text):,} characters with its defaults; at most {VALUE_CHARACTERS_MAX:,} are accepted",
            )


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
