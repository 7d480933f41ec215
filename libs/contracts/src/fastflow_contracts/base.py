"""The base of every record and message. Nothing else may live here."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, TypeAlias, dataclass_transform

import msgspec

Instant: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]
"""An aware time: one without a zone is refused when it is decoded, since comparing it with another would fail."""


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Fact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of every immutable value here. (msgspec does not inherit ``kw_only``: each subclass repeats it.)"""
