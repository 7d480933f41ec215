"""Which sessions were ended, for as long as they could still be valid. A data structure: no I/O, no clock."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

KEPT: Final = timedelta(days=1)
"""As long as the bus keeps the records; no session is valid for so long."""


class SpentIds:
    """Ids of spent texts. They are added in the order in which they were stored."""

    def __init__(self) -> None:
        self._stored_at: dict[str, datetime] = {}

    def add(self, spent_id: str, stored_at: datetime) -> None:
        """Remember an id, and forget those that are too old to matter."""
        self._stored_at[spent_id] = stored_at
        while stored_at - self._stored_at[oldest := next(iter(self._stored_at))] >= KEPT:
            del self._stored_at[oldest]

    def __contains__(self, spent_id: str) -> bool:
        return spent_id in self._stored_at
