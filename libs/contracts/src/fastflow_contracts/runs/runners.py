"""The presences of runners on the bus. I/O only; ``presence`` defines their meaning."""

from __future__ import annotations

from typing import TypeAlias

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.bucket import Bucket
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.runs.presence import PRESENCE, Presence, check_presence

Presences: TypeAlias = Bucket[str, Presence]
"""By the runner's id."""


def presences(bus: Bus) -> Presences:
    """Return the presences on *bus*."""
    return Bucket(
        bus,
        subjects.RUNNERS,
        PRESENCE,
        keys=subjects.RUNNER_KEYS,
        key_of=subjects.runner_key,
        name_in=subjects.parse_runner_key,
        check=check_presence,
    )
