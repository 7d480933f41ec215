"""The one way to decode what the bus holds: what cannot be read is logged, counted and passed over.

Anyone who may write to the bus may write anything, and a newer release may write what this one cannot read. So no
service decodes a record or message by itself: it asks here, and goes on with the next one.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Iterator
from typing import Final, TypeVar

from fastflow_contracts.codec import Codec, Malformed
from fastflow_contracts.errors import FastFlowError

log = logging.getLogger(__name__)

T = TypeVar("T")

unreadable: Final[Counter[str]] = Counter()
"""How many values this process could not read, by the name of what they should have been."""


class Unreadable(Malformed):
    """A stored record that cannot be read. ``revision``: what a write that replaces it must expect."""

    def __init__(self, message: str, *, revision: int) -> None:
        super().__init__(message)
        self.revision = revision


def decoded(codec: Codec[T], data: bytes, *, where: str) -> T | None:
    """Decode *data*, or note that it cannot be read.

    Args:
        codec: What *data* should be.
        data: As it came from the bus.
        where: The subject or key, for the log.

    Returns:
        The message; None if *data* is none. That is logged and counted already.
    """
    try:
        return codec.decode(data)
    except Malformed as error:
        note_unreadable(codec.name, where, error)
        return None


def note_unreadable(kind: str, where: str, why: object) -> None:
    """Log and count one value that is passed over. *kind*: what it should have been; *why*: the fault."""
    unreadable[kind] += 1
    log.error("unreadable %s passed over: %s: %s", kind, where, why)


@contextlib.contextmanager
def passed_over(kind: str, where: str) -> Iterator[None]:
    """Take in one record inside: any error is logged and counted, and ends the block, never the caller.

    Args:
        kind: What the record should be, as ``unreadable`` counts it: a small set of words.
        where: The subject or key, for the log.
    """
    try:
        yield
    except FastFlowError as error:
        note_unreadable(kind, where, error)
    except Exception:
        # Not an error of ours: a value that passed its decoder and that nothing was written for.
        unreadable[kind] += 1
        log.exception("unreadable %s passed over: %s", kind, where)
