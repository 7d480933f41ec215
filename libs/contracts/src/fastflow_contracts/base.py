"""The base of every record and message, and nothing else."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, TypeAlias, dataclass_transform

import msgspec

Instant: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]
"""An aware time. Decoding refuses a time without a zone: comparing it with an aware one would fail."""


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Fact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of every immutable value. msgspec does not inherit ``kw_only``, so each subclass repeats it."""
