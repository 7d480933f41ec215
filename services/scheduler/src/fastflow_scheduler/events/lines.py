"""The event of a batch: one line of JSON for each message. Pure."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from itertools import islice
from typing import Final

import msgspec

from fastflow_contracts.runs.triggers import EVENT_BYTES_MAX

LINES_TYPE: Final = "application/x-ndjson"


def line(data: bytes) -> bytes:
    """Return the line of one message, with its line feed.

    JSON stays as it is, without line breaks. Other text becomes a string, anything else an object with
    ``data_base64``, and a message without a body null.
    """
    if not data:
        return b"null\n"
    try:
        msgspec.json.decode(data)
        return msgspec.json.format(data, indent=-1) + b"\n"
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        pass
    try:
        return msgspec.json.encode(data.decode()) + b"\n"
    except UnicodeDecodeError:
        return msgspec.json.encode({"data_base64": base64.b64encode(data).decode()}) + b"\n"


def fitting_in_one(lines: Iterable[bytes], *, most: int) -> int:
    """Return how many of the first lines make one event: at most *most*, and at least one if there is one."""
    size = number = 0
    for each in islice(lines, most):
        size += len(each)
        if number and size > EVENT_BYTES_MAX:
            break
        number += 1
    return number
