"""What is accepted as the JSON Schema of a pipeline's parameters. Pure.

It is JSON Schema of draft 2020-12, with bounds: on its size, on patterns, and on references, which stay inside the
document. Nothing is ever fetched.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, Final, NamedTuple, TypeAlias

from fastflow_contracts.pipelines.parameters.check import Schema, TooComplex, bounded, wrong_values
from fastflow_contracts.pipelines.parameters.pattern import BadPattern, compiled
from fastflow_contracts.pipelines.parameters.wording import wanted
from fastflow_contracts.pipelines.protected_variables import is_protected

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
SCHEMA_CHARACTERS_MAX: Final = 32 * 1024
PARTS_MAX: Final = 500
"""Most schemas inside the schema."""
PROPERTIES_MAX: Final = 50
"""Most parameters of a pipeline: a start gives no more."""
NAME_CHARACTERS_MAX: Final = 256
FAULTS_MAX: Final = 20

Path: TypeAlias = tuple[str | int, ...]


class Fault(NamedTuple):
    """Why a schema is not accepted."""

    path: Path
    """Keys and indexes, from the schema down."""
    accepted: str
    """What is accepted instead."""


def is_schema(value: Mapping[str, Any]) -> bool:
    """Whether *value* is meant as a schema; else it is a plain mapping of names to values."""
    return value.get("type") == "object" or isinstance(value.get("properties"), Mapping) or "$schema" in value


def properties_of(schema: Schema | None) -> dict[str, Any]:
    """Return the schemas of the parameters by name."""
    properties = (schema or {}).get("properties")
    return dict(properties) if isinstance(properties, Mapping) else {}


def faults(schema: Schema) -> tuple[Fault, ...]:
    """Return why *schema* is not accepted; empty: it is."""
    if (size := len(json.dumps(schema))) > SCHEMA_CHARACTERS_MAX:
        return (Fault((), f"a schema of up to {SCHEMA_CHARACTERS_MAX:,} characters (it has {size:,})"),)
    if found := tuple(_limited(_of_dialect(schema))):
        return found
    parts = dict(_parts(schema, ()))
    if len(parts) > PARTS_MAX:
        return (Fault((), f"a schema of up to {PARTS_MAX} schemas inside (it has {len(parts)})"),)
    alone = (fault for path, part in parts.items() for fault in _of_part(path, part, parts))
    return tuple(_limited(chain(_of_names(schema), alone))) or tuple(_limited(_of_defaults(schema, parts)))


def _limited(found: Iterator[Fault]) -> Iterator[Fault]:
    seen: dict[Path, Fault] = {}
    for fault in found:
        if fault.path not in seen:
            seen[fault.path] = fault
            yield fault
        if len(seen) >= FAULTS_MAX:
            return


def _of_dialect(schema: Schema) -> Iterator[Fault]:
    """Faults that the schema of schemas finds."""
    from jsonschema import Draft202012Validator
    from referencing import Registry

    if schema.get("type", "object") != "object":
        yield Fault(("type",), '"object": parameters have names')
    if schema.get("$schema", DIALECT) not in (DIALECT, f"{DIALECT}#"):
        yield Fault(("$schema",), f'"{DIALECT}", or leave it out')
        return
    meta = Draft202012Validator(Draft202012Validator.META_SCHEMA, registry=Registry())
    for error in meta.iter_errors(schema):
        path = tuple(error.absolute_path)
        if path and path[-1] == "type":
            yield Fault(path, f"one of {', '.join(map(json.dumps, _TYPES))}, or a list of them")
            continue
        for added, text in wanted(error):
            yield Fault((*path, *added), text.removeprefix("must be "))


_TYPES: Final = ("string", "integer", "number", "boolean", "array", "object", "null")


def _of_part(path: Path, part: Any, parts: Mapping[Path, Any]) -> Iterator[Fault]:
    """Faults of one schema inside the whole."""
    if not isinstance(part, dict):
        return
    for keyword in _REFUSED & part.keys():
        yield Fault((*path, keyword), "a schema without this keyword")
    if path and (outside := {"$id", "$schema"} & part.keys()):
        yield Fault((*path, min(outside)), "a schema without this keyword, except at its top")
    if "$ref" in part and _target(part["$ref"]) not in parts:
        yield Fault((*path, "$ref"), 'a reference to a schema in this one, such as "#/$defs/NAME"')
    for name, pattern in _patterns(part):
        try:
            compiled(pattern)
        except BadPattern as error:
            yield Fault((*path, *name), f"a regular expression that can be matched in bounded time ({error})")


_REFUSED: Final = frozenset(
    {"$dynamicRef", "$dynamicAnchor", "$anchor", "$vocabulary", "unevaluatedProperties", "unevaluatedItems"}
)


def _patterns(part: Schema) -> Iterator[tuple[Path, str]]:
    if "pattern" in part:
        yield ("pattern",), part["pattern"]
    for pattern in part.get("patternProperties", {}):
        yield ("patternProperties", pattern), pattern


def _of_names(schema: Schema) -> Iterator[Fault]:
    """Faults of the parameters' names: each is a variable, too."""
    properties = properties_of(schema)
    if len(properties) > PROPERTIES_MAX:
        yield Fault(("properties",), f"at most {PROPERTIES_MAX} parameters")
    for name in properties:
        if not name or "=" in name or "\0" in name or len(name) > NAME_CHARACTERS_MAX:
            yield Fault(("properties", name), "a name that a variable can have: not empty, no '=' or NUL in it")
        elif is_protected(name):
            yield Fault(("properties", name), "a name that does not change how programs load or reach the network")


def _of_defaults(schema: Schema, parts: Mapping[Path, Any]) -> Iterator[Fault]:
    """Faults of defaults, and of the whole if it has no end."""
    try:
        with bounded():
            wrong_values(schema, {})  # what never ends does not end for an empty value either
            for path, part in parts.items():
                if isinstance(part, dict) and "default" in part:
                    for wrong in wrong_values(part, part["default"], within=schema):
                        yield Fault((*path, "default", *wrong.path), f"a default that {_that(wrong.wanted)}")
    except TooComplex as error:
        yield Fault((), f"a schema that can be checked quickly: {error}")


def _that(words: str) -> str:
    """Make "must be a number" follow "a default that"."""
    return words.replace("must be ", "is ", 1).replace("must ", "does ", 1)


_ONE: Final = frozenset(
    {"additionalProperties", "propertyNames", "items", "contains", "if", "then", "else", "not", "contentSchema"}
)
_LISTS: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_MAPS: Final = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})


def _parts(schema: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """Yield the schema and every schema in it, with their places."""
    yield path, schema
    if not isinstance(schema, dict):
        return
    for keyword, value in schema.items():
        if keyword in _ONE:
            yield from _parts(value, (*path, keyword))
        elif keyword in _LISTS and isinstance(value, list):
            for index, each in enumerate(value):
                yield from _parts(each, (*path, keyword, index))
        elif keyword in _MAPS and isinstance(value, dict):
            for name, each in value.items():
                yield from _parts(each, (*path, keyword, name))


def resolved(schema: Any, root: Schema) -> dict[str, Any]:
    """Return *schema*, or the schema that it refers to; an empty one if that is none or refers in a circle."""
    for _ in range(PARTS_MAX):
        if not isinstance(schema, dict):
            return {}
        if not isinstance(schema.get("$ref"), str):
            return schema
        target: Any = root
        for part in _target(schema["$ref"]) or ():
            target = target[part]
        beside = {name: value for name, value in schema.items() if name != "$ref"}
        schema = {**target, **beside} if isinstance(target, dict) else {}
    return {}


def _target(reference: Any) -> Path | None:
    """Return the place that a reference inside the document names; None: it names another document."""
    if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
        return None
    if "%" in reference:
        return None
    names = reference[2:].split("/") if len(reference) > 1 else []
    unescaped = [name.replace("~1", "/").replace("~0", "~") for name in names]
    return tuple(
        int(name) if name.isdigit() and index and unescaped[index - 1] in _LISTS else name
        for index, name in enumerate(unescaped)
    )
