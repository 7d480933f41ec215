"""What can go wrong with the bus. Nothing else may live here."""

from __future__ import annotations

from fastflow_contracts.errors import FastFlowError


class BusError(FastFlowError):
    """Root of everything that ``bus`` raises."""


class Conflict(BusError):
    """Somebody else wrote first: load again and think again."""


class Unavailable(BusError):
    """The bus did not answer in time. Whether the last write is stored is unknown."""


class Rejected(BusError):
    """The bus said no, and would say it again: a limit, a missing stream, a missing permission."""

    def __init__(self, message: str, *, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class TooLarge(Rejected):
    """It fits no message, however often it is tried."""
