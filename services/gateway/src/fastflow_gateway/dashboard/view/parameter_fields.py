"""The fields of a form for the parameters of a pipeline: made from their schema, and read back. Pure.

A field shows texts and reads them into JSON. Whether a value is right is for the schema to say.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

import msgspec

from fastflow_contracts.pipelines.parameters.check import WrongValue
from fastflow_contracts.pipelines.parameters.schema import properties_of, resolved
from fastflow_contracts.pipelines.parameters.settle import types_of

PREFIX: Final = "p."
"""Begins the names of the form's inputs: what follows is the parameter."""
LONG_FORMATS: Final = frozenset({"textarea", "multiline", "markdown", "long"})
LONG_CHARACTERS: Final = 200
"""A text that may be longer than this gets a field of several lines."""

Kind: TypeAlias = Literal[
    "text", "number", "integer", "checkbox", "select", "date", "datetime", "lines", "area", "json"
]

_PLAIN: Final = frozenset({"string", "integer", "number", "boolean"})
_HINTS: Final[Mapping[Kind, str]] = {
    "lines": "One on each line.",
    "json": "As JSON.",
    "datetime": "In UTC.",
}


class ParameterField(msgspec.Struct, frozen=True, kw_only=True):
    """One field, as a page shows it."""

    name: str
    label: str
    kind: Kind
    is_required: bool
    description: str = ""
    hint: str = ""
    value: str = ""
    """The text in it; of a checkbox ``true`` or ``false``; of a list the JSON of the choice."""
    choices: tuple[tuple[str, str], ...] = ()
    """JSON and label of each."""
    minimum: str = ""
    maximum: str = ""
    step: str = ""
    error: str = ""

    @property
    def input_name(self) -> str:
        return f"{PREFIX}{self.name}"


def fields_of(
    schema: Mapping[str, Any] | None,
    given: Mapping[str, str] | None = None,
    wrong: Iterable[WrongValue] = (),
) -> tuple[ParameterField, ...]:
    """Return a field for each parameter of *schema*.

    Args:
        schema: The schema; None: there is none.
        given: What a person entered, by parameter; None: nothing yet, so the fields have the defaults.
        wrong: What is wrong with it.
    """
    if schema is None:
        return ()
    errors = errors_by_name(wrong)
    required = frozenset(schema.get("required", ()))
    return tuple(
        _field(name, resolved(part, schema), schema, name in required, given, errors.get(name, ""))
        for name, part in properties_of(schema).items()
    )


def errors_by_name(wrong: Iterable[WrongValue]) -> dict[str, str]:
    """Return the words for each parameter; those for no single one have the name ``""``."""
    found: dict[str, list[str]] = {}
    for each in wrong:
        name = str(each.path[0]) if each.path else ""
        inside = WrongValue(each.path[1:], each.wanted)
        found.setdefault(name, []).append(f"{inside.pointer or 'It'} {each.wanted}.")
    return {name: " ".join(sentences) for name, sentences in found.items()}


def values_of(schema: Mapping[str, Any] | None, given: Mapping[str, str]) -> dict[str, Any]:
    """Return the parameters that a person entered. Fields left empty or at their default are left out.

    So a value of the run configuration counts, or the default.
    """
    found: dict[str, Any] = {}
    for field in fields_of(schema, given):
        assert schema is not None
        if field.name not in given:
            continue
        part = resolved(properties_of(schema)[field.name], schema)
        value = _read(field, part, schema, given[field.name])
        has_default = "default" in part
        is_cleared = has_default and field.kind in ("text", "area")
        if value == "" and not is_cleared:
            continue
        if has_default and value == part["default"] and isinstance(value, bool) is isinstance(part["default"], bool):
            continue
        if field.kind == "lines" and value == [] and not has_default:
            continue
        found[field.name] = value
    return found


def _field(
    name: str,
    part: Mapping[str, Any],
    root: Mapping[str, Any],
    is_required: bool,
    given: Mapping[str, str] | None,
    error: str,
) -> ParameterField:
    kind = _kind(part, root)
    default = part.get("default")
    value = _shown(kind, default) if given is None else given.get(name, "false" if kind == "checkbox" else "")
    is_number = kind in ("number", "integer")
    return ParameterField(
        name=name,
        label=str(part.get("title") or name),
        kind=kind,
        is_required=is_required and default is None,
        description=str(part.get("description") or ""),
        hint=_HINTS.get(kind, ""),
        value=value,
        choices=_choices(part, root),
        minimum=_shown(kind, part.get("minimum")) if is_number else "",
        maximum=_shown(kind, part.get("maximum")) if is_number else "",
        step={"integer": "1", "number": "any"}.get(kind, ""),
        error=error,
    )


def _kind(part: Mapping[str, Any], root: Mapping[str, Any]) -> Kind:
    types = types_of(part, root)
    if isinstance(part.get("enum"), list):
        return "select"
    match sorted(types - {"null"}):
        case ["boolean"]:
            return "checkbox" if isinstance(part.get("default"), bool) else "select"
        case ["integer"]:
            return "integer"
        case ["number"] | ["integer", "number"]:
            return "number"
        case ["array"] if _is_plain_list(part, root):
            return "lines"
        case ["string"]:
            return _text_kind(part)
        case []:
            return "text"
        case _:
            return "json"


def _text_kind(part: Mapping[str, Any]) -> Kind:
    match part.get("format"):
        case "date":
            return "date"
        case "date-time":
            return "datetime"
        case str(name) if name in LONG_FORMATS:
            return "area"
    default = part.get("default")
    is_long = isinstance(default, str) and ("\n" in default or len(default) > LONG_CHARACTERS)
    return "area" if is_long else "text"


def _is_plain_list(part: Mapping[str, Any], root: Mapping[str, Any]) -> bool:
    types = types_of(part.get("items", {}), root)
    default = part.get("default", [])
    is_one_line = isinstance(default, list) and all(not isinstance(item, str) or "\n" not in item for item in default)
    return bool(types) and types <= _PLAIN and is_one_line


def _choices(part: Mapping[str, Any], root: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    if isinstance(part.get("enum"), list):
        return tuple((_json(each), each if isinstance(each, str) else _json(each)) for each in part["enum"])
    return (("true", "yes"), ("false", "no")) if types_of(part, root) - {"null"} == {"boolean"} else ()


def _shown(kind: Kind, value: Any) -> str:
    """Return the text that a field shows for a JSON value."""
    if value is None and kind != "select":
        return ""
    match kind:
        case "select":
            return "" if value is None else _json(value)
        case "lines":
            return "\n".join(each if isinstance(each, str) else _json(each) for each in value)
        case "datetime":
            return _local(value)
        case "text" | "area" | "date" if isinstance(value, str):
            return value
        case _:
            return _json(value)


def _local(value: Any) -> str:
    """Return a time as a browser's field takes it: in UTC, without saying so."""
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return str(value)
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() if moment.tzinfo else moment.isoformat()


def _read(field: ParameterField, part: Mapping[str, Any], root: Mapping[str, Any], text: str) -> Any:
    """Return the JSON for a text. One that cannot be read stays a text: the schema says what it wants."""
    match field.kind:
        case "checkbox":
            return text == "true"
        case "date":
            return text.strip()
        case "datetime":
            return _moment(text.strip(), part)
        case "lines":
            lines = (line.strip() for line in text.splitlines())
            is_text = "string" in types_of(part.get("items", {}), root)
            return [line if is_text else _parsed(line) for line in lines if line]
        case "area":
            return text.replace("\r\n", "\n")
        case "text":
            return text
        case _:
            return _parsed(text.strip())


def _moment(text: str, part: Mapping[str, Any]) -> str:
    """Return what a browser's field gives as a time in UTC."""
    if text and text == _local(part.get("default", "")):
        return str(part["default"])
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return text if moment.tzinfo else f"{moment.isoformat()}Z"


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return text


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
