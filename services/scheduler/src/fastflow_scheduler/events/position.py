"""Where one trigger is in its stream: its cursor, and the stream as it is now. I/O.

What the stream does is noticed here: it appears, goes, is made anew, goes back, or removes what was not read.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from fastflow_contracts.bus import foreign
from fastflow_contracts.bus.bucket import Loaded
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.foreign import EventMessage, ForeignStream, NoSuchStream
from fastflow_contracts.bus.subjects import TriggerRef
from fastflow_contracts.ids import RunId
from fastflow_contracts.log import get_logger
from fastflow_contracts.runs.event_cursors import EventCursor, event_cursors

log = get_logger(__name__)

SEEN: Final = timedelta(minutes=1)
"""How often an idle trigger notes that it has looked through its stream, and asks again which stream that is."""
HELD: Final = timedelta(seconds=2)
"""How often a trigger notes how many messages it holds, at most."""


class Position:
    """The cursor of one trigger and its stream."""

    stream: ForeignStream
    """As of the last ``look``."""
    cursor: EventCursor
    """As of the last ``look``, or what was written since then."""

    def __init__(
        self,
        bus: Bus,
        ref: TriggerRef,
        subject: str,
        *,
        since: datetime,
        fault: str | None = None,
        clock: Callable[[], datetime],
    ) -> None:
        """Read nothing by itself.

        Args:
            bus: The bus.
            ref: The trigger.
            subject: Its subject.
            since: Messages that were stored later count, if the trigger has no cursor yet.
            fault: Which subjects it may have instead; None: it may have this one.
            clock: Tells the time.
        """
        self._bus = bus
        self._ref = ref
        self._subject = subject
        self._since = since
        self._fault = fault
        self._clock = clock
        self._cursors = event_cursors(bus)
        self._stream_name = ""
        self._revision = 0
        self.forget()

    def forget(self) -> None:
        """Load the cursor anew at the next look."""
        self._is_loaded = False
        self._is_checked = False
        self._seen_to = 0
        self._seen_at: datetime | None = None
        self._held_at: datetime | None = None

    async def look(self, *, read_to: int) -> bool:
        """Find the cursor and the stream. Return whether it is the one that was read before, and has not gone back.

        *read_to*: sequence of the last message that was read, also if it waits.

        Raises:
            NoSuchStream: It cannot be read. The cursor says why.
            BusError: The bus does not answer.
            RevisionConflict: Another scheduler reads the trigger.
        """
        if not self._is_loaded:
            await self._load()
        try:
            if self._fault is not None:
                raise NoSuchStream(f"{self._subject} may not start runs: {self._fault}.")
            self._stream_name = self._stream_name or await foreign.stream_with(self._bus, self._subject)
            self.stream = await foreign.stream_now(self._bus, self._stream_name, self._subject)
            is_former = await self._is_former()
        except NoSuchStream as error:
            self._stream_name = ""
            if self.cursor.problem != str(error):
                await self.write(problem=str(error))
            raise
        if not is_former:
            since = self.cursor.last_at or self.cursor.since
            first = await foreign.first_after(self._bus, self.stream, self._subject, since)
            done, made_at = first - 1, self.stream.made_at
            await self.write(
                stream=self.stream.name,
                made_at=made_at,
                done=done,
                last=0,
                seen_to=done,
                batch_to=0,
                batch_at=None,
                problem="",
            )
            return False
        if self.cursor.problem:
            await self.write(problem="")
        await self._note_removed(read_to)
        return True

    async def write(self, **changes: object) -> None:
        """Change the cursor. Raises ``BusError``, ``RevisionConflict``."""
        changed = replace(self.cursor, **changes)
        self._revision = await self._cursors.put(self._ref, changed, expect=self._revision)
        self.cursor = changed

    async def advance(
        self, done: int, *, at: datetime | None, run_id: RunId | None, last_read: EventMessage | None, held: int = 0
    ) -> None:
        """Write down that all messages up to *done* have started what they start.

        Args:
            done: Sequence.
            at: When that message was stored; None: unknown.
            run_id: The last run that was started; None: none was.
            last_read: The last message that was read.
            held: Messages that were read and wait.
        """
        changes: dict[str, object] = {"done": done, "batch_to": 0, "batch_at": None}
        if at is not None:
            changes |= {"last": done, "last_at": at}
        if run_id is not None:
            changes |= {"last_run_id": run_id, "last_run_at": self._clock()}
        if last_read is not None:
            changes["waiting"] = None if last_read.pending is None else last_read.pending + held
            changes["seen_to"] = max(self.cursor.seen_to, last_read.sequence)
        await self.write(**changes)

    async def idle(self, *, held: int) -> None:
        """Note that nothing follows in the stream as it is; what it removes later was seen.

        *held*: as for ``advance``. Raises as ``write``.
        """
        self._seen_to = max(self._seen_to, self.stream.last)
        at = self._clock()
        changes: dict[str, object] = {}
        if self._seen_at is None or at - self._seen_at >= SEEN:
            self._seen_at, self._stream_name = at, ""
            changes["seen_to"] = self._seen_to
        if self._held_at is None or at - self._held_at >= HELD:
            changes["waiting"] = held
        if any(getattr(self.cursor, name) != value for name, value in changes.items()):
            self._held_at = at
            await self.write(**changes)

    async def _load(self) -> None:
        stored = await self._cursors.load(self._ref)
        cursor = stored.value
        if cursor is None or cursor.subject != self._subject:
            cursor = EventCursor(subject=self._subject, since=self._since)
            stored = Loaded(cursor, await self._cursors.put(self._ref, cursor, expect=stored.revision))
        self.cursor, self._revision, self._is_loaded = cursor, stored.revision, True

    async def _is_former(self) -> bool:
        """Whether the stream is the one of the cursor. Raises ``NoSuchStream`` if that is not sure."""
        if (self.cursor.stream, self.cursor.made_at) != (self.stream.name, self.stream.made_at):
            return False
        if self.stream.last >= self.cursor.done and (self._is_checked or await self._has_last()):
            self._is_checked = True
            return True
        # Restored from a backup, or cut by a crash. Or its leader is new and does not know all of it yet: look twice.
        words = f"the stream {self.stream.name} went back; messages after the last one that was read count."
        if self.cursor.problem != words:
            raise NoSuchStream(words)
        log.warning(
            "trigger moved back", pipeline=self._ref.pipeline, trigger=self._ref.trigger, stream=self.stream.name
        )
        return False

    async def _has_last(self) -> bool:
        """Whether the last message that was read is still the one with its sequence, or removed."""
        if not self.cursor.last:
            return True
        return await foreign.stored_at(self._bus, self.stream, self.cursor.last) in (None, self.cursor.last_at)

    async def _note_removed(self, read_to: int) -> None:
        seen_to = max(self.cursor.done, self.cursor.seen_to, self._seen_to, read_to)
        removed = self.stream.first - 1 - seen_to
        if removed <= 0:
            return
        await self.note_removed(removed, seen_to=self.stream.first - 1)

    async def note_removed(self, most: int, **changes: object) -> None:
        """Note that the stream removed up to *most* messages that count. Raises as ``write``."""
        await self.write(removed=most, removed_at=self._clock(), **changes)
        log.warning(
            "messages removed unread",
            pipeline=self._ref.pipeline,
            trigger=self._ref.trigger,
            stream=self.stream.name,
            most=most,
        )
