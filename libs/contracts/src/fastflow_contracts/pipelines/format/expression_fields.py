"""Where a pipeline.json has expressions, and which secrets they ask for in vain. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from fastflow_contracts.pipelines.expressions.tokens import variables_read
from fastflow_contracts.pipelines.format.diagnostics import Diagnostics
from fastflow_contracts.pipelines.format.json_positions import JsonNode


class ExpressionField(NamedTuple):
    """An expression in the file."""

    path: str
    node: JsonNode
    text: str


_LISTS: Final = {"schedules": (), "triggers": ("when", "key")}
"""Fields of their entries that are expressions, beside the key of ``concurrency``."""


def expression_fields(root: JsonNode) -> Iterator[ExpressionField]:
    """Yield each expression in *root*, which may hold anything."""
    yield from _of_entry(root, "", ())
    for name, fields in _LISTS.items():
        entries = _member(root, name)
        if entries is not None and isinstance(entries.value, list):
            for index, entry in enumerate(entries.value):
                yield from _of_entry(entry, f"{name}[{index}].", fields)


def note_secrets(root: JsonNode, diagnostics: Diagnostics) -> None:
    """Note each expression that reads a secret: it does not see it."""
    entries = _member(root, "schedules")
    parts = [root, *(entries.value if entries is not None and isinstance(entries.value, list) else [])]
    tokens = [each.value for part in parts if (each := _member(part, "encrypted_env")) is not None]
    secrets = {name for each in tokens if isinstance(each, dict) for name in each}
    for field in expression_fields(root) if secrets else ():
        for name in sorted(secrets & variables_read(field.text)):
            text = f"reads env.{name}, a secret (encrypted_env): expressions do not see it; use a name of default_env."
            diagnostics.note(field.path, field.node, text)


def _of_entry(entry: JsonNode, path: str, names: tuple[str, ...]) -> Iterator[ExpressionField]:
    limit = _member(entry, "concurrency")
    places = [(limit, f"{path}concurrency.key", "key"), *((entry, f"{path}{name}", name) for name in names)]
    for within, field, name in places:
        node = None if within is None else _member(within, name)
        if node is not None and isinstance(node.value, str):
            yield ExpressionField(field, node, node.value)


def _member(node: JsonNode, name: str) -> JsonNode | None:
    return node.value.get(name) if isinstance(node.value, dict) else None
