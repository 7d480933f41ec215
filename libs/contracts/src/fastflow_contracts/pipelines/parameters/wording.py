"""Says what a schema wants where a value is wrong. Pure; it never shows the value, which may be a secret."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

SHOWN_CHARACTERS_MAX: Final = 200
NAMES_SHOWN_MAX: Final = 20
_ANY: Final = "a value that its schema accepts"

_TYPES: Final = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_FORMATS: Final = {
    "date": "a date such as 2026-01-31",
    "date-time": "a time such as 2026-01-31T12:00:00Z",
    "time": "a time of day such as 12:00:00Z",
    "uuid": "a UUID",
    "email": "an address of e-mail",
    "uri": "a URI such as https://example.com/",
    "ipv4": "an IPv4 address",
    "ipv6": "an IPv6 address",
}
_BOUNDS: Final = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "multipleOf": "a multiple of {}",
    "minLength": "at least {} characters long",
    "maxLength": "at most {} characters long",
    "minItems": "a list of at least {}",
    "maxItems": "a list of at most {}",
    "minProperties": "an object of at least {} members",
    "maxProperties": "an object of at most {} members",
    "pattern": "a text that the pattern {} matches",
    "const": "{}",
}


def wanted(error: ValidationError) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield what an error is about: names below its place, and what is wanted there."""
    value: Any = error.validator_value
    keyword: Any = error.validator
    match keyword:
        case "required":
            properties = error.schema.get("properties", {}) if isinstance(error.schema, dict) else {}
            # jsonschema has an error for each name; its message begins with it, and it has no other place for it.
            missing = [name for name in value if error.message.startswith(f"{name!r} ")]
            for name in missing[:1]:
                kind = described(properties.get(name, {}))
                yield (name,), f"is missing; it must be {kind}" if kind != _ANY else "is missing"
        case "additionalProperties" if value is False:
            known = sorted(error.schema.get("properties", {})) if isinstance(error.schema, dict) else []
            yield (), f"is unknown; known are {_listed(known) if known else 'none'}"
        case "dependentRequired":
            yield (), f"needs others beside it: {_shown(value)}"
        case "type":
            yield (), f"must be {_types(value)}"
        case "format":
            yield (), f"must be {_FORMATS.get(value, value)}"
        case "enum":
            yield (), f"must be one of {_listed(map(json.dumps, value))}"
        case "uniqueItems":
            yield (), "must be a list in which nothing is there twice"
        case "anyOf" | "oneOf":
            count = "exactly one" if keyword == "oneOf" else "one"
            yield (), f"must be {count} of: {_listed(described(each) for each in value)}"
        case "not":
            yield (), f"must not be {described(value)}"
        case None:
            yield (), "must be left out"
        case _ if keyword in _BOUNDS:
            yield (), f"must be {_BOUNDS[keyword].format(_shown(value))}"
        case _:
            yield (), f"must be as {keyword} says: {_shown(value)}"


def described(schema: Any) -> str:
    """Return what *schema* accepts, in a few words."""
    match schema:
        case {"const": value}:
            return _shown(value)
        case {"enum": list(values)}:
            return f"one of {_listed(map(json.dumps, values))}"
        case {"type": "string", "format": str(name)} if name in _FORMATS:
            return _FORMATS[name]
        case {"type": "array", "items": {"type": str() | list() as types}}:
            return f"a list, of each {_types(types)}"
        case {"type": str() | list() as types}:
            return _types(types)
        case {"anyOf": list(parts)} | {"oneOf": list(parts)} if parts and all(map(_is_plain, parts)):
            return " or ".join(map(described, parts))
        case _:
            return _ANY


def _is_plain(schema: Any) -> bool:
    return isinstance(schema, dict) and bool({"type", "enum", "const"} & schema.keys())


def _types(types: Any) -> str:
    names = [types] if isinstance(types, str) else types
    return " or ".join(_TYPES.get(name, str(name)) for name in names)


def _listed(texts: Any) -> str:
    found = list(texts)
    more = f" and {len(found) - NAMES_SHOWN_MAX} more" if len(found) > NAMES_SHOWN_MAX else ""
    return ", ".join(text[:SHOWN_CHARACTERS_MAX] for text in found[:NAMES_SHOWN_MAX]) + more


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[:SHOWN_CHARACTERS_MAX]}…"
