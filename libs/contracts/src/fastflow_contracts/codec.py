"""Bytes to typed messages and back: plain JSON, readable with ``nats sub``. Pure.

On the wire unknown fields are ignored, so that an older service understands a newer one. Every decoder is built
at import, so that a type msgspec cannot handle fails the first test and not the first message.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from fastflow_contracts.errors import FastFlowError

T = TypeVar("T")

REASON_CHARACTERS_MAX = 200
"""Of what is wrong with a message: it may quote a value."""

_encoder = msgspec.json.Encoder()


class Malformed(FastFlowError):
    """Bytes that are not the message they should be."""


class Codec(Generic[T]):
    """Encodes and decodes one message type."""

    def __init__(self, message: type[T]) -> None:
        self.message = message
        self.name: str = getattr(message, "__name__", "message of any known kind")  # a union has no name
        self._decoder = msgspec.json.Decoder(message)

    def encode(self, value: T) -> bytes:
        """JSON, compact, UTF-8."""
        return _encoder.encode(value)

    def decode(self, data: bytes) -> T:
        """Raise ``Malformed`` with the place and the reason when *data* is no such message."""
        try:
            return self._decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Malformed(f"not a {self.name}: {str(error)[:REASON_CHARACTERS_MAX]}") from error
