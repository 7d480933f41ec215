"""How far the messages of each trigger are read: what a durable consumer would keep. Data, and I/O of the bucket.

Stored under ``cursor.<pipeline>.<trigger>``, changed by compare-and-set. Messages up to ``done`` have started what they
start. Messages from there up to ``batch_to`` are one batch, which is written down before its run is created: the
scheduler that goes on after a crash makes the same batch, and the same run.
"""

from __future__ import annotations

from fastflow_contracts.base import Count, Fact, Instant, StoredRunId
from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.bucket import Bucket
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.subjects import TriggerRef
from fastflow_contracts.codec import Codec


class EventCursor(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """How far the messages of one trigger are read."""

    v: Count = 1
    subject: str
    """The trigger's. With another one it begins anew."""
    since: Instant
    """Messages that were stored later count."""
    stream: str = ""
    """Empty: none was found yet."""
    made_at: Instant | None = None
    """When that stream was created. Another one of the same name has other messages."""
    done: Count = 0
    """Sequence."""
    batch_to: Count = 0
    """Sequence of the last message of the batch that is being started; 0: none is."""
    batch_at: Instant | None = None
    """When that message was stored."""
    waiting: Count | None = None
    """Messages that have not started anything, when it was written; None: the stream cannot tell."""
    last_at: Instant | None = None
    """When the last message up to ``done`` was stored."""
    last: Count = 0
    """Its sequence."""
    seen_to: Count = 0
    """Sequence up to which the stream was looked through, also where it has other subjects."""
    removed: Count = 0
    """Most messages that the stream removed before they were read, the last time it did."""
    removed_at: Instant | None = None
    """When that was noticed."""
    last_run_id: StoredRunId | None = None
    last_run_at: Instant | None = None
    problem: str = ""
    """Why nothing is read, as a sentence."""
    write_id: str = ""


EVENT_CURSOR = Codec(EventCursor)


def event_cursors(bus: Bus) -> Bucket[TriggerRef, EventCursor]:
    """Return the cursors on *bus*."""
    return Bucket(
        bus,
        subjects.SCHEDULES,
        EVENT_CURSOR,
        keys=subjects.CURSOR_KEYS,
        key_of=subjects.cursor_key,
        name_in=subjects.parse_cursor_key,
    )
