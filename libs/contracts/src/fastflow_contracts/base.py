"""The base of every record and message, and the values that they may hold: nothing else."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, TypeAlias, dataclass_transform

import msgspec

from fastflow_contracts.ids import RUN_ID_PATTERN, RunId
from fastflow_contracts.names import NAME_PATTERN, PipelineName

YEARS = range(2, 9_999)
"""Years of plausible times. Nearer to the ends of the calendar, adding a day or changing the zone is an error."""

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""A number of something. A larger one fits neither into JSON of every reader nor into an answer."""

Ordinal: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
"""The place of something in a row, from 1."""

StoredRunId: TypeAlias = Annotated[RunId, msgspec.Meta(pattern=RUN_ID_PATTERN)]
"""The id of a run in a message. Any other text would make subjects that the bus refuses."""

StoredName: TypeAlias = Annotated[PipelineName, msgspec.Meta(pattern=NAME_PATTERN.removesuffix("$") + r"\Z")]
"""The name of a pipeline in a message."""

BundleName: TypeAlias = Annotated[str, msgspec.Meta(max_length=128)]
"""The name of code in the object store: a hash. Empty: there is no code."""

Amount: TypeAlias = Annotated[float, msgspec.Meta(ge=-(2**53), le=2**53)]
"""Something that was measured, such as cores. A larger one overflows in sums and products."""

Duration: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=10**9)]
"""Seconds, at most thirty years: no timer and no time that they are added to overflows."""

UnixTime: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=250_000_000_000)]
"""Seconds since 1970, up to the year 9892."""

IS_INSTANT: Final = {"is_instant": True}
Instant: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True, extra=IS_INSTANT)]
"""An aware time in one of ``YEARS``. A time without a zone cannot be compared with an aware one."""


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Fact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of every immutable value. msgspec does not inherit ``kw_only``, so each subclass repeats it."""
