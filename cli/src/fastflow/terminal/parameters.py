"""The parameters of a pipeline as a table. Pure; nothing is printed here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from fastflow.terminal.tables import table
from fastflow_contracts.pipelines.parameters.schema import properties_of, resolved
from fastflow_contracts.pipelines.parameters.wording import described

DEFAULT_CHARACTERS_MAX: Final = 40


def parameters_table(pipeline: str, schema: Mapping[str, Any] | None) -> str:
    """One line for each parameter of *schema*; a sentence if there is none."""
    properties = properties_of(schema)
    if schema is None or not properties:
        return f"{pipeline} does not say what parameters it takes."
    required = frozenset(schema.get("required", ()))
    rows = []
    for name, part in properties.items():
        own = resolved(part, schema)
        text = json.dumps(own["default"], ensure_ascii=False) if "default" in own else ""
        shown = text if len(text) <= DEFAULT_CHARACTERS_MAX else f"{text[:DEFAULT_CHARACTERS_MAX]}…"
        note = "required" if name in required and "default" not in own else ""
        rows.append(tuple(map(_printable, (name, described(own), shown or note, str(own.get("description") or "")))))
    return table(("PARAMETER", "VALUE", "DEFAULT", "DESCRIPTION"), rows)


def _printable(text: str) -> str:
    """Return *text* in one line: an author may write anything."""
    return "".join(c if c.isprintable() else " " for c in text)
