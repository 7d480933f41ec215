"""Signed texts that count no more: sessions that were ended, and login codes that were used. I/O.

A signature says that a text is ours and until when, not whether it was used. So each text has an id, and its first use
as the last one leaves a record under ``spent.<id>``. All gateways see it, also after a restart; the bus forgets it when
the signature is long out of date.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

from fastflow_contracts.base import Count, Fact, Instant
from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.bucket import Bucket
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import RevisionConflict
from fastflow_contracts.codec import Codec


class SpentText(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """One signed text that counts no more."""

    v: Count = 1
    kind: Literal["session", "code"]
    at: Instant
    write_id: str = ""


SPENT: Final = Codec(SpentText)


class SpentStore:
    """The spent texts of one bus."""

    def __init__(self, bus: Bus) -> None:
        self.records: Bucket[str, SpentText] = Bucket(
            bus,
            subjects.SESSIONS,
            SPENT,
            keys=subjects.SPENT_KEYS,
            key_of=subjects.spent_key,
            name_in=subjects.parse_spent_key,
        )

    async def end_session(self, session_id: str, now: datetime) -> None:
        """End a session, also one that is ended already. Raises ``BusError``."""
        await self.records.put(session_id, SpentText(kind="session", at=now), expect=None)

    async def use_code(self, code_id: str, now: datetime) -> bool:
        """Use a login code. Returns whether this was its first use, on any gateway. Raises ``BusError``."""
        try:
            await self.records.put(code_id, SpentText(kind="code", at=now), expect=0)
        except RevisionConflict:
            return False
        return True
