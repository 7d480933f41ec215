"""What every answer has in common."""

from __future__ import annotations

from typing import Final

import msgspec

HIDDEN: Final = "***"
"""Stands for a value that is not shown."""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all answers."""


class Error(Shape, frozen=True, kw_only=True):
    """Why a request failed, in a sentence that says what to do."""

    detail: str


class Accepted(Shape, frozen=True, kw_only=True):
    """The trigger or command is stored and will take effect: there is no answer yet, or a pause holds the run."""

    id: str
    """The id of the run."""
    detail: str
