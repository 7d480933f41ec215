"""What starts runs by time: kinds of timing, and the schedules of a pipeline. Data only.

``slots`` computes the slots of a schedule; ``pipelines`` turns fields into schedules.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypeAlias

import msgspec

RESTART_ID = "restart"
"""``Schedule.id`` of ``restart_interval``: its slots restart the pipeline."""

COOLDOWN_S = 60.0
"""Seconds from the end of a run to its restart, unless the pipeline says otherwise."""

Catchup = Literal["none", "last", "all"]


class Cron(msgspec.Struct, frozen=True, kw_only=True, tag="cron"):
    """Due when wall clocks match."""

    expr: str


class Interval(msgspec.Struct, frozen=True, kw_only=True, tag="interval"):
    """Due at anchor + k × interval."""

    interval_s: int


class Once(msgspec.Struct, frozen=True, kw_only=True, tag="once"):
    """Due at one instant."""

    at: datetime


Timing: TypeAlias = Cron | Interval | Once


class PipelineSchedule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One timing of a pipeline, with all it needs."""

    id: str
    """Unique in the pipeline and stable while the file keeps it: ``schedule``, ``once``, ``restart``, or
    ``schedules/`` and the id of the entry. Any text can follow the slash: encode it (``names.token``) for keys."""
    run_config_id: str | None = None
    """The run configuration it starts; None is the pipeline's own."""
    timing: Timing
    start: datetime | None = None
    """First instant that counts; None = always. Also the anchor of an interval."""
    end: datetime | None = None
    """Last instant that counts; None = no end."""
    timezone: str = "UTC"
    """Of cron expressions. IANA."""
    catchup: Catchup = "last"
    """Which missed slots are run later."""
    enabled: bool = True
    """False: listed, but never due."""
