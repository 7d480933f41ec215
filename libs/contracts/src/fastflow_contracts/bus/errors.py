"""Errors of the bus, and nothing else."""

from __future__ import annotations

from fastflow_contracts.errors import FastFlowError, Fatal


class BusError(FastFlowError):
    """Base of all errors that ``bus`` raises."""


class RevisionConflict(BusError):
    """Another writer was first: load again and decide again."""


class Unavailable(BusError):
    """The bus did not answer in time. Whether the last write is stored is unknown."""


class NotStored(Unavailable):
    """A stream stores nothing although its server answers: its disk is full, or was, and the server needs a restart."""


class BusRefused(Unavailable, Fatal):
    """The server refuses these credentials, or one side does not trust the other's certificate."""


class Rejected(BusError):
    """The bus refuses, and would refuse again: a limit, a missing stream, a missing permission."""

    def __init__(self, message: str, *, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class TooLarge(Rejected):
    """The value does not fit into a message; a repeat cannot help."""
