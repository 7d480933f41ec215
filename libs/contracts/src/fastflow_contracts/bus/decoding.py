"""The one way to decode values from the bus: an unreadable value is logged, counted and ignored.

Anyone with write access to the bus can write anything, and a newer release may write what this one cannot read. So
services decode every record and message with this module, and continue with the next one.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Final, TypeVar

from fastflow_contracts.codec import Codec, Malformed
from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.log import get_logger

log = get_logger(__name__)

T = TypeVar("T")

unreadable: Final[Counter[str]] = Counter()
"""How many values this process could not read, by the name of their expected type."""


class Unreadable(Malformed):
    """A stored record cannot be read. A write that replaces it expects ``revision``."""

    def __init__(self, message: str, *, revision: int) -> None:
        super().__init__(message)
        self.revision = revision


def decoded(codec: Codec[T], data: bytes, *, where: str) -> T | None:
    """Decode *data*, or log and count it as unreadable.

    Args:
        codec: Codec of the expected type.
        data: The bytes from the bus.
        where: The subject or key, for the log.

    Returns:
        The message; None if *data* is unreadable.
    """
    try:
        return codec.decode(data)
    except Malformed as error:
        note_unreadable(codec.name, where, error)
        return None


def note_unreadable(kind: str, where: str, why: object) -> None:
    """Log and count one unreadable value. *kind*: the expected type; *where*: subject or key; *why*: the error."""
    unreadable[kind] += 1
    log.error("unreadable value ignored", kind=kind, where=where, error=str(why), total=unreadable[kind])


@contextlib.contextmanager
def ignoring_unreadable(kind: str, where: object) -> Iterator[None]:
    """Process one record in the block. An error is logged and counted; it ends the block, not the caller.

    Args:
        kind: The expected type, for the log and for ``unreadable``: one of a small set of words.
        where: What names the record, for the log.
    """
    try:
        yield
    except FastFlowError as error:
        note_unreadable(kind, str(where), error)
    except Exception:
        # Not one of our errors: a value that the decoder accepts but no code handles.
        unreadable[kind] += 1
        log.exception("unreadable value ignored", kind=kind, where=str(where), total=unreadable[kind])
