"""The beat of a scheduler: what it tells the other schedulers, about every second. Data only."""

from __future__ import annotations

from typing import Final

from fastflow_contracts.base import Fact
from fastflow_contracts.codec import Codec


class SchedulerBeat(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A scheduler fires slots. It is not stored."""

    v: int = 1
    id: str
    """Random per process."""
    leaving: bool = False
    """It fires no more."""


SCHEDULER_BEAT: Final = Codec(SchedulerBeat)
