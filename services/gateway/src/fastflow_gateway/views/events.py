"""Events as shapes: text without the values of variables that it may hold. Pure."""

from __future__ import annotations

import base64
import json
from typing import Any, Final

from fastflow_api import shapes
from fastflow_api.shapes import HIDDEN
from fastflow_contracts.runs.run import RunInput

_VARIABLES: Final = ("env_vars", "parameters")


def event_text(event: bytes) -> str:
    """The event without the values of variables that it may hold: those of a run body, or of a webhook call."""
    text = event.decode("utf-8", "replace")
    is_named = any(field in text for field in _VARIABLES)
    if not is_named and "\\u" not in text:  # which may spell a name
        return text
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return HIDDEN if is_named else text  # cut or broken JSON: a value cannot be told from the rest
    if not isinstance(parsed, dict) or parsed.keys().isdisjoint(_VARIABLES):
        return text
    return json.dumps(parsed | {field: _masked(parsed[field]) for field in _VARIABLES if field in parsed}, indent=2)


def run_event(given: RunInput) -> shapes.RunEvent | None:
    """The event of a run; None: it has none."""
    if given.event is None:
        return None
    text, data = event_text(given.event), None
    if text != HIDDEN and not _is_utf8(given.event):
        data = base64.b64encode(given.event).decode()
    return shapes.RunEvent(
        event=text if data is None else None,
        event_base64=data,
        event_bytes=len(given.event),
        event_type=given.event_type,
        headers=given.event_headers,
    )


def _masked(variables: Any) -> Any:
    return dict.fromkeys(variables, HIDDEN) if isinstance(variables, dict) else HIDDEN


def _is_utf8(event: bytes) -> bool:
    try:
        event.decode()
    except UnicodeDecodeError:
        return False
    return True
