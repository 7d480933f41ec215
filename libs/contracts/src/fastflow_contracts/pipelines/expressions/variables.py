"""What an expression sees as ``event`` and ``headers``. Pure.

``event`` is null without a body; the value of a body that is JSON; the text of any other that is UTF-8 or declared as
text; else its bytes. Of a CloudEvent it is the ``data``, and its attributes are the headers ``ce-type``, ``ce-source``
and so on, however it came.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

ATTRIBUTES: Final = ("specversion", "id", "source", "type")
"""What every CloudEvent has."""


class EventVariables(NamedTuple):
    """The variables of an expression that come from the event."""

    event: Any
    headers: dict[str, str]


def event_variables(body: bytes | None, media_type: str | None, headers: Mapping[str, str]) -> EventVariables:
    """Return ``event`` and ``headers``.

    Args:
        body: The event as it came; None: there is none.
        media_type: Its media type, if that is known.
        headers: What the run gets as its headers, with names in lower case.
    """
    found = dict(headers)
    if body is None:
        return EventVariables(None, found)
    value = _value(body, media_type)
    is_structured = "ce-specversion" not in found and isinstance(value, dict)
    if not (is_structured and all(isinstance(value.get(name), str) and value[name] for name in ATTRIBUTES)):
        return EventVariables(value, found)
    found |= {f"ce-{name}": text for name, text in value.items() if isinstance(text, str) and name not in _DATA}
    return EventVariables(_data(value), found)


_DATA: Final = ("data", "data_base64", "datacontenttype")


def _data(event: dict[str, Any]) -> Any:
    encoded = event.get("data_base64")
    if "data" in event or not isinstance(encoded, str):
        return event.get("data")
    try:
        body = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        return None
    declared = event.get("datacontenttype")
    return _value(body, declared if isinstance(declared, str) else None)


def _value(body: bytes, media_type: str | None) -> Any:
    if not (media_type or "").lower().startswith("text/"):
        try:
            return msgspec.json.decode(body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            pass
    try:
        return body.decode()
    except UnicodeDecodeError:
        return body
