"""Typed messages to bytes and back: plain JSON, readable with ``nats sub``. Pure.

Decoding ignores unknown fields, so an older service understands a newer one. Every decoder is built at import, so a
type that msgspec cannot handle fails the first test, not the first message.

A message that decodes can be computed with: its type bounds its numbers and texts, and its times are plausible.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.plausible import times_check

T = TypeVar("T")

REASON_CHARACTERS_MAX = 200
"""Length of the reason in ``Malformed``. It is cut because it may quote a value."""

_encoder = msgspec.json.Encoder()


class Malformed(FastFlowError):
    """The bytes are not a message of the expected type."""


class Codec(Generic[T]):
    """Encodes and decodes one message type."""

    def __init__(self, message: type[T]) -> None:
        self.message = message
        self.name: str = getattr(message, "__name__", "message of any known kind")  # a union has no name
        self._decoder = msgspec.json.Decoder(message)
        self._times_check = times_check(message)

    def encode(self, value: T) -> bytes:
        """Encode *value* as compact JSON in UTF-8."""
        return _encoder.encode(value)

    def decode(self, data: bytes) -> T:
        """Decode *data*.

        Raises:
            Malformed: *data* is not such a message; the text names the place and the reason.
        """
        try:
            value = self._decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Malformed(f"not a {self.name}: {str(error)[:REASON_CHARACTERS_MAX]}") from error
        if self._times_check is not None and not self._times_check(value):
            raise Malformed(f"not a {self.name}: a time in it is at the end of the calendar")
        return value
