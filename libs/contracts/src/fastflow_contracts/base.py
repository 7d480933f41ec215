"""The base of every record and message, and the values that they may hold: nothing else."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, TypeAlias, dataclass_transform

import msgspec

YEARS = range(2, 9_999)
"""Years of plausible times. Nearer to the ends of the calendar, adding a day or changing the zone is an error."""

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""A number of something. A larger one fits neither into JSON of every reader nor into an answer."""

Ordinal: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
"""The place of something in a row, from 1."""

Instant: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]
"""An aware time. Decoding refuses a time without a zone: comparing it with an aware one would fail."""


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Fact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of every immutable value. msgspec does not inherit ``kw_only``, so each subclass repeats it."""


def are_plausible(*times: datetime | None) -> bool:
    """Return whether code can compute with all of *times*."""
    return all(time is None or time.year in YEARS for time in times)
