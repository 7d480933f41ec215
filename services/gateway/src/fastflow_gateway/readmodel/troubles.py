"""What schedulers and syncers in processes of their own say of their parts. A data structure: no I/O."""

from __future__ import annotations

from datetime import datetime

from fastflow_contracts.bus.bucket import Change
from fastflow_contracts.bus.subjects import ServiceRef
from fastflow_contracts.service.troubles import FRESH_S, ServiceTroubles


class Troubles:
    """The newest record of each process."""

    def __init__(self) -> None:
        self._known: dict[ServiceRef, tuple[ServiceTroubles, datetime]] = {}

    def put(self, change: Change[ServiceRef, ServiceTroubles]) -> None:
        if change.value is None or not change.value.parts:
            self._known.pop(change.name, None)
        else:
            self._known[change.name] = (change.value, change.stored_at)

    def clear(self) -> None:
        self._known.clear()

    def at(self, now: datetime) -> list[ServiceTroubles]:
        """Return the troubles that were told lately, by service and process."""
        known = sorted(self._known.items())
        return [record for _, (record, told_at) in known if (now - told_at).total_seconds() <= FRESH_S]
