"""Skips on the bus: a refused start is kept as a small record and, beside it, the whole message. I/O.

Both have the id of the run that the start would have been. So a refusal that happens twice leaves one skip. The message
(a dead letter) never changes; the record changes once it is redriven, by compare-and-set. The stream removes the oldest
of both, by age and by size.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.decoding import decoded, note_unreadable
from fastflow_contracts.bus.errors import RevisionConflict
from fastflow_contracts.ids import RunId, run_id_for_child
from fastflow_contracts.runs.messages import SKIP, TRIGGER, TRIGGER_TYPE, EventPlace, SkipRecord, Trigger
from fastflow_contracts.runs.run import RunRecord

REASON_HEADER: Final = "Ff-Reason"
"""Header of a dead letter: why it was refused, in ASCII."""
HEADERS_HEADER: Final = "Ff-Headers"
"""Header of a dead letter: those of the message that mean something to the bus or to us, or are not ASCII; as JSON."""
REASON_CHARACTERS_MAX: Final = 500
COPIED_BYTES_MAX: Final = 4_096
"""The event and headers of a message that is copied although its stream has it. Otherwise a trigger whose filter fails
for all messages of a busy stream would soon fill the room for skips, and those of others would be lost.
"""
REDRIVES_MAX: Final = 1_000
"""Refused runs of one skip to look at; a start that is refused ever again needs a person."""
CONFLICTS_MAX: Final = 50
_OVERHEAD_BYTES: Final = 256
"""Of the header block, besides names and values."""

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[!-~]([ -~]*[!-~])?")
_OURS = ("nats-", "ff-")


class Letter(NamedTuple):
    """The message of a start, as it came."""

    payload: bytes
    headers: Mapping[str, str]
    by_service: bool = False
    """Only a service can have sent it."""


def letter_of(trigger: Trigger) -> Letter:
    """The message that says the same as *trigger*, for a start that came as no message."""
    return Letter(TRIGGER.encode(replace(trigger, accepted=False)), {"Content-Type": TRIGGER_TYPE}, by_service=True)


def copied(trigger: Trigger, event_at: EventPlace | None) -> Letter | None:
    """The message of *trigger* to keep; None: it is large, and its stream has it."""
    headers = sum(len(name) + len(value) for name, value in trigger.event_headers.items())
    if event_at is not None and len(trigger.event or b"") + headers > COPIED_BYTES_MAX:
        return None
    return letter_of(trigger)


class SkipStore:
    """The skips of one bus."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def keep(self, skip: SkipRecord, letter: Letter | None) -> None:
        """Store *skip* with its message, unless it is stored already. Raises ``BusError``.

        *letter*: None if ``skip.event_at`` says where the message is.
        """
        pipeline, skip_id = skip.pipeline, skip.id
        assert skip_id is not None
        if letter is None:
            await self._store_once(subjects.skipped(pipeline, skip_id), SKIP.encode(skip), {})
            return
        skip = replace(skip, by_service=letter.by_service)
        payload, headers, is_whole = _packed(letter, skip.reason, self._bus.bytes_max)
        if not is_whole:
            skip = replace(skip, reason=f"{skip.reason} (Its message is too large; {len(payload):,} bytes are kept.)")
        await self._store_once(subjects.dead_trigger(pipeline, skip_id), payload, headers)
        await self._store_once(subjects.skipped(pipeline, skip_id), SKIP.encode(skip), {})

    async def get(self, pipeline: str, skip_id: RunId) -> SkipRecord | None:
        """The skip as it is stored now; None if there is none, or it is unreadable. Raises ``BusError``."""
        subject = subjects.skipped(pipeline, skip_id)
        found = await self._bus.newest(streams.NOTICES, subject)
        return decoded(SKIP, found.data, where=subject) if found else None

    async def letter(self, pipeline: str, skip_id: RunId) -> Letter | None:
        """The message of a skip; None if it is not kept (any more). Raises ``BusError``."""
        found = await self._bus.newest(streams.NOTICES, subjects.dead_trigger(pipeline, skip_id))
        return _unpacked(found.data, found.headers) if found else None

    async def mark_redriven(self, pipeline: str, skip_id: RunId, run_id: RunId) -> None:
        """Record that *run_id* was started from the skip. One that is gone stays gone. Raises ``BusError``."""
        subject = subjects.skipped(pipeline, skip_id)
        for _ in range(CONFLICTS_MAX):
            found = await self._bus.newest(streams.NOTICES, subject)
            skip = decoded(SKIP, found.data, where=subject) if found else None
            if found is None or skip is None or skip.redriven_as == run_id:
                return
            body = SKIP.encode(replace(skip, redriven_as=run_id))
            try:
                await self._bus.publish(subject, body, expect_sequence=found.sequence)
            except RevisionConflict:
                continue
            return
        raise RevisionConflict(f"the skip {skip_id} changed {CONFLICTS_MAX} times; try again.")

    async def _store_once(self, subject: str, data: bytes, headers: Mapping[str, str]) -> None:
        try:
            await self._bus.publish(subject, data, headers=headers, expect_sequence=0)
        except RevisionConflict:
            return  # it is stored already, by us or by another


async def redrive_id(skip_id: RunId, key: str | None, find: Callable[[RunId], Awaitable[RunRecord | None]]) -> RunId:
    """The run that a redrive of a skip starts.

    It is the run that the refused start would have been, so that the sender's own repeat is the same run. A refused
    run in its place leaves the id to the next.

    Args:
        skip_id: The skip.
        key: Identifies a wish for one more run of the same message; None: the first run of it.
        find: Finds the record of a run.
    """
    if key is not None:
        return run_id_for_child(skip_id, f"redrive/again/{key}")
    run_id = skip_id
    for number in range(1, REDRIVES_MAX):
        found = await find(run_id)
        if found is None or not found.is_refused:
            break
        run_id = run_id_for_child(skip_id, f"redrive/{number}")
    return run_id


def _packed(letter: Letter, reason: str, bytes_max: int) -> tuple[bytes, dict[str, str], bool]:
    """Payload and headers of a dead letter, and whether all of the message is in it."""
    plain = {name: value for name, value in letter.headers.items() if _is_plain(name, value)}
    others = {name: value for name, value in letter.headers.items() if name not in plain}
    headers = {**plain, REASON_HEADER: _in_ascii(reason)}
    if others:
        headers[HEADERS_HEADER] = json.dumps(others)
    room = bytes_max - _size(headers)
    if len(letter.payload) <= room:
        return letter.payload, headers, True
    headers = {REASON_HEADER: headers[REASON_HEADER]}  # the payload is worth more than its headers
    return letter.payload[: bytes_max - _size(headers)], headers, False


def _unpacked(payload: bytes, headers: Mapping[str, str]) -> Letter:
    plain = {name: value for name, value in headers.items() if not name.lower().startswith(_OURS)}
    try:
        others = msgspec.json.decode(headers.get(HEADERS_HEADER, "{}"), type=dict[str, str])
    except msgspec.DecodeError as error:
        note_unreadable("Letter", HEADERS_HEADER, error)
        others = {}
    return Letter(payload, plain | others)


def _is_plain(name: str, value: str) -> bool:
    """Whether a header can be stored as it is: the bus does not act on it, and every client can write it."""
    lowered = name.lower()
    # Some servers take a header whose name ends like one of theirs for theirs.
    is_ours = lowered.startswith(_OURS) or "nats-" in lowered
    return not is_ours and _NAME.fullmatch(name) is not None and _VALUE.fullmatch(value) is not None


def _in_ascii(text: str) -> str:
    one_line = " ".join(text.split())[:REASON_CHARACTERS_MAX]
    return one_line.encode("ascii", "backslashreplace").decode() or "-"


def _size(headers: Mapping[str, str]) -> int:
    return _OVERHEAD_BYTES + sum(len(name) + len(value) + 4 for name, value in headers.items())
