"""Route labels: what a script writes to pick among the pipelines that follow it. Pure."""

from __future__ import annotations

import re

from fastflow_contracts.errors import FastFlowError

ROUTE_CHARACTERS_MAX = 128
_END = r"[^\s\x00-\x1f\x7f]"
ROUTE_PATTERN = rf"^{_END}([^\x00-\x1f\x7f]{{0,{ROUTE_CHARACTERS_MAX - 2}}}{_END})?$"
ROUTE_BYTES_MAX = 1024
"""Of the file, with what surrounds the label."""


class BadRoute(FastFlowError):
    """The file holds no label. The message completes "the route was ignored: "."""


def read_route(data: bytes) -> str | None:
    """Return the label in *data*, the content of a script's file, without the whitespace around it.

    Returns:
        None if there is only whitespace.

    Raises:
        BadRoute: It is too long, no text, or more than one line.
    """
    if len(data) > ROUTE_BYTES_MAX:
        raise BadRoute(f"the file is larger than {ROUTE_BYTES_MAX} bytes; write one label, nothing else.")
    try:
        label = data.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise BadRoute("the file is not UTF-8 text; write one label, such as: approved.") from None
    if not label:
        return None
    if len(label.splitlines()) > 1:
        raise BadRoute("the file has several lines; write one label, and replace the file instead of adding to it.")
    if not re.fullmatch(ROUTE_PATTERN, label):
        raise BadRoute(f"a label has 1 to {ROUTE_CHARACTERS_MAX} printable characters, such as: approved.")
    return label
