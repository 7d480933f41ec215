"""Reading what comes from the bus, which may be anything: what cannot be read is logged, counted and passed over."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Iterator
from typing import Final, TypeVar

from fastflow_contracts.codec import Codec, Malformed
from fastflow_contracts.errors import FastFlowError

T = TypeVar("T")

log = logging.getLogger(__name__)

UNREADABLE: Final[Counter[str]] = Counter()
"""Records and messages that this process passed over, by what they should have been."""


@contextlib.contextmanager
def passed_over(kind: str, subject: str) -> Iterator[None]:
    """Read one record inside: any error ends the block, never the caller.

    Args:
        kind: What the record should be, as ``UNREADABLE`` counts it: a small set of words.
        subject: Where it stands on the bus.
    """
    try:
        yield
    except FastFlowError as error:
        note_unreadable(kind, subject, error)
    except Exception:
        # Not an error of ours: a value that passed its decoder and that nothing was written for.
        UNREADABLE[kind] += 1
        log.exception("record passed over kind=%s subject=%s", kind, subject)


def readable(codec: Codec[T], data: bytes, *, kind: str, subject: str) -> T | None:
    """What *data* says.

    Args:
        codec: Of the message that it should be.
        data: As it came from the bus.
        kind: What it should be, as ``UNREADABLE`` counts it.
        subject: Where it stands on the bus.

    Returns:
        The message, or None if it cannot be read: that is logged and counted.
    """
    try:
        return codec.decode(data)
    except Malformed as error:
        note_unreadable(kind, subject, error)
        return None


def note_unreadable(kind: str, subject: str, error: FastFlowError) -> None:
    """Log and count one record that is passed over."""
    UNREADABLE[kind] += 1
    log.warning("record passed over kind=%s subject=%s reason=%s", kind, subject, error)
