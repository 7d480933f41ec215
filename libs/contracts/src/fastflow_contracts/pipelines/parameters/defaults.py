"""Fills in the defaults of a schema. Pure."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from fastflow_contracts.pipelines.parameters.check import Schema, TooComplex
from fastflow_contracts.pipelines.parameters.schema import resolved

DEPTH_MAX = 32
"""How deep defaults are filled in: a schema that refers to itself has no end."""
ITEMS_MAX = 5_000
"""Most values that are looked at."""


def with_defaults(schema: Schema, value: dict[str, Any]) -> dict[str, Any]:
    """Return *value* with the defaults of what it lacks, at any depth.

    A member that is missing and has no default of its own is made of the defaults inside it, if these are all that it
    needs.

    Raises:
        TooComplex: There are too many values.
    """
    return _Filling(schema).members(dict(schema), value, 0)


class _Filling:
    def __init__(self, root: Schema) -> None:
        self._root = root
        self._seen = 0

    def value(self, schema: Any, value: Any, depth: int) -> Any:
        self._seen += 1
        if self._seen > ITEMS_MAX:
            raise TooComplex("it has too many values to fill in defaults; use smaller ones.")
        schema = resolved(schema, self._root)
        match value:
            case _ if depth > DEPTH_MAX:
                return value
            case dict():
                return self.members(schema, value, depth)
            case list() if isinstance(schema.get("items"), dict):
                return [self.value(schema["items"], item, depth + 1) for item in value]
            case _:
                return value

    def members(self, schema: dict[str, Any], value: dict[str, Any], depth: int) -> dict[str, Any]:
        filled = dict(value)
        for part in schema.get("allOf", ()):
            filled = self.value(part, filled, depth + 1)
        properties = schema.get("properties")
        for name, each in properties.items() if isinstance(properties, dict) else ():
            if name in filled:
                filled[name] = self.value(each, filled[name], depth + 1)
                continue
            member = resolved(each, self._root)
            if "default" in member:
                filled[name] = self.value(each, deepcopy(member["default"]), depth + 1)
            elif member.get("type") == "object" and depth < DEPTH_MAX:
                inside = self.value(each, {}, depth + 1)
                if inside and inside.keys() >= set(member.get("required", ())):
                    filled[name] = inside
        return filled
