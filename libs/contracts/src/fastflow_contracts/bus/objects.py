"""The object store: code bundles, named by the SHA-256 of their bytes. I/O only; what one means is not known here.

An object is a *note* that says what belongs to it, and *chunks* under their own subject. The note is written last
and removed first, so a reader never finds a note without chunks. The writer that leaves chunks without a note
removes them. The client's own object store does not fit: it waits without end for a missing chunk, and leaves the
chunks of a cancelled upload behind.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import uuid
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, NamedTuple

import msgspec
import nats.errors
import nats.js.errors
from nats.js.api import Header, ObjectInfo, ObjectMetaOptions
from nats.js.kv import MSG_ROLLUP_SUBJECT

from fastflow_contracts.base import Count
from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.answers import Unanswered, attempts
from fastflow_contracts.bus.client import ANSWER_S, WRITE_S, Bus
from fastflow_contracts.bus.decoding import decoded
from fastflow_contracts.bus.direct import following
from fastflow_contracts.bus.errors import Rejected, Unavailable
from fastflow_contracts.bus.feed import once
from fastflow_contracts.bus.streams import object_stream
from fastflow_contracts.codec import Codec
from fastflow_contracts.log import get_logger

log = get_logger(__name__)

OBJECT_S = 120.0
CHUNK_BYTES = 128 * 1024
"""Size of an object's chunk; each is one message."""
CHUNKS_AT_ONCE = 64
"""Chunks in one request."""


class _ObjectNote(msgspec.Struct):
    """The metadata that the store keeps of an object; only the fields used here."""

    name: str
    nuid: Annotated[str, msgspec.Meta(max_length=128)] = ""
    size: Count = 0
    chunks: Count = 0
    deleted: bool = False


NOTE = Codec(_ObjectNote)


class Upload(NamedTuple):
    """One stored object. ``sequence``: its note's; ``upload``: in the subject of the chunks; empty: deleted."""

    sequence: int
    upload: str
    size: int
    chunks: int


class Uploaded(NamedTuple):
    """When an object was stored, by the clock of the bus, and its size in bytes."""

    at: datetime
    size: int
    sequence: int = 0
    """Of its note."""
    upload: str = ""
    """In the subject of its chunks."""


class ObjectStore:
    """The objects of one store. Any number of processes may use it at once."""

    def __init__(self, bus: Bus, store: str = subjects.BUNDLES) -> None:
        self._bus = bus
        self._bucket = store
        self._stream = object_stream(store)

    async def put(self, name: str, data: bytes) -> None:
        """Store *data* under *name*, unless an object of that name exists: names are hashes of their content.

        Chunks of an unfinished object are removed. Raises ``Rejected``, ``Unavailable``.
        """
        async with about_object(f"did not store object {name}"):
            replaced = await self._note_or_none(name)
            if replaced is not None and replaced.size == len(data) and await self.is_whole(replaced):
                return
            note = await self._put_chunks(name, data)
            text = json.dumps(note.as_dict()).encode()
            try:
                subject = subjects.object_note(self._bucket, name)
                await self._bus.publish(subject, text, headers={Header.ROLLUP: MSG_ROLLUP_SUBJECT})
            except Rejected:
                await self.remove_chunks(note.nuid)
                raise
            # After any other trouble the chunks stay: the note may be stored though its answer is lost, and must lead
            # to them.
            if replaced is not None:
                await self.remove_chunks(replaced.upload)

    async def is_stored(self, name: str, size: int) -> bool:
        """Return whether the whole object *name* of *size* bytes is stored. Raises ``Unavailable``."""
        async with about_object(f"did not show object {name}"):
            note = await self._note_or_none(name)
            return note is not None and note.size == size and await self.is_whole(note)

    async def get(self, name: str) -> bytes:
        """Return the bytes of *name*, which must be their SHA-256.

        Raises ``Rejected`` if the object is missing, incomplete or damaged; ``Unavailable``.
        """
        async with about_object(f"did not deliver object {name}"):
            note = await self.note(name)
            if note is None:
                raise Rejected(f"object {name} is not in {self._bucket}.")
            data = b"".join(await self._chunks(name, note))
        if hashlib.sha256(data).hexdigest() != name:
            raise Rejected(f"object {name} in {self._bucket} is damaged.")
        return data

    async def delete(self, name: str, *, until: int | None = None) -> None:
        """Remove *name*, even from a full store; a missing one does no harm.

        *until*: only if its note has no later sequence: an object whose note was written again stays, whole.

        Raises ``Rejected``, ``Unavailable``.
        """
        async with about_object(f"did not remove object {name}"):
            note = await self.note(name)
            if note is None or (until is not None and note.sequence > until):
                return
            # Remove the note first: without chunks it would name an unreadable object. Remove only this note: one
            # that was stored meanwhile has its own chunks.
            subject = subjects.object_note(self._bucket, name)
            async for _ in attempts(WRITE_S, f"removing {subject}"):
                with contextlib.suppress(nats.errors.Error, TimeoutError):
                    await self._bus.js.purge_stream(self._stream, seq=note.sequence + 1, subject=subject)
                    break
            left = await self._note_or_none(name)
            if left is None or left.upload != note.upload:
                await self.remove_chunks(note.upload)

    async def uploaded(self) -> dict[str, Uploaded]:
        """Return every object's age and size, by name, without objects with unreadable metadata.

        Waits for the bus without a limit: set a timeout.
        """
        found: dict[str, Uploaded] = {}
        async with contextlib.aclosing(once(self._bus, self._stream, subjects.object_notes(self._bucket))) as batches:
            async for batch in batches:
                if batch.restarted:
                    found.clear()
                for message in batch.messages:
                    note = decoded(NOTE, message.data, where=message.subject)
                    if note is not None and not note.deleted:
                        found[note.name] = Uploaded(message.stored_at, note.size, message.sequence, note.nuid)
        return found

    async def _note_or_none(self, name: str) -> Upload | None:
        """As ``_note``, but a damaged note counts as none: it is replaced."""
        try:
            return await self.note(name)
        except Rejected:
            return None

    async def note(self, name: str) -> Upload | None:
        """Return what is stored under *name*. Raises ``Rejected`` for a damaged note, and what the bus raises."""
        sequence, found = await self.last_note(name)
        if sequence and found is None:
            raise Rejected(f"object {name} in {self._bucket} is damaged: its metadata is invalid.")
        return found if found is not None and found.upload else None

    async def last_note(self, name: str) -> tuple[int, Upload | None]:
        """Return the sequence of the note of *name*, 0 if there is none, and what it says; None: it is damaged."""
        subject = subjects.object_note(self._bucket, name)
        try:
            raw = await self._bus.js.get_last_msg(self._stream, subject)
        except nats.js.errors.NotFoundError:
            return 0, None
        assert raw.seq is not None
        note = decoded(NOTE, raw.data or b"", where=subject)
        if note is None or not (note.deleted or note.nuid):
            return raw.seq, None
        return raw.seq, Upload(raw.seq, "" if note.deleted else note.nuid, note.size, note.chunks)

    async def is_whole(self, note: Upload) -> bool:
        """Return whether all its chunks are stored. Raises what the bus raises."""
        subject = subjects.object_chunks(self._bucket, note.upload)
        info = await self._bus.js.stream_info(self._stream, subjects_filter=subject)
        return (info.state.subjects or {}).get(subject, 0) == note.chunks

    async def _chunks(self, name: str, note: Upload) -> list[bytes]:
        """Return all chunks of an object in their order."""
        subject = subjects.object_chunks(self._bucket, note.upload)
        chunks: list[bytes] = []
        after, pending = 0, 1
        while pending and len(chunks) < note.chunks:
            messages = await following(self._bus, self._stream, subject, after=after, most=CHUNKS_AT_ONCE)
            chunks += [message.data for message in messages]
            after, pending = (messages[-1].sequence, messages[-1].pending) if messages else (after, 0)
        there = len(chunks) + pending
        if there == note.chunks:
            return chunks
        if await self.is_whole(note):
            raise Unavailable(f"the server of the bus that answered does not have all of object {name} yet; try again.")
        raise Rejected(f"object {name} in {self._bucket} is incomplete: {there} of {note.chunks} chunks are stored.")

    async def _put_chunks(self, name: str, data: bytes) -> ObjectInfo:
        """Store the chunks of an object, all or none, and return the metadata that complete it.

        The client's ``put`` does not fit: when it is cancelled, it leaves chunks without metadata.
        """
        upload = uuid.uuid4().hex
        chunks = [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)]
        try:
            for chunk in chunks:
                await self._bus.store_once(subjects.object_chunks(self._bucket, upload), chunk, {})
        except BaseException:
            await self.remove_chunks(upload)
            raise
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode()
        return ObjectInfo(
            name=name,
            bucket=self._bucket,
            nuid=upload,
            size=len(data),
            chunks=len(chunks),
            digest=f"SHA-256={digest}",
            options=ObjectMetaOptions(max_chunk_size=CHUNK_BYTES),
        )

    async def abandon_chunks(self, upload: str) -> None:
        """Try to replace the chunks of an unused upload by one empty chunk, for at most three times ``ANSWER_S``.

        It needs no permission to purge. A collector removes the rest.
        """
        subject = subjects.object_chunks(self._bucket, upload)
        try:
            async for _ in attempts(ANSWER_S, f"emptying {subject}"):
                with contextlib.suppress(nats.errors.Error, TimeoutError):
                    await self._bus.js.publish(subject, b"", headers={Header.ROLLUP: MSG_ROLLUP_SUBJECT})
                    return
        except Unavailable as error:
            log.warning("unused chunks not removed", stream=self._stream, subject=subject, error=str(error))

    async def remove_chunks(self, upload: str) -> None:
        """Try to remove the chunks, for at most three times ``ANSWER_S``."""
        stream, subject = self._stream, subjects.object_chunks(self._bucket, upload)
        try:
            async for _ in attempts(ANSWER_S, f"removing {subject}"):
                with contextlib.suppress(nats.errors.Error, TimeoutError):
                    # A purge may overtake what was sent before it, but not what was answered before it.
                    with contextlib.suppress(nats.js.errors.APIError):
                        await self._bus.js.publish(subject, b"")
                    await self._bus.js.purge_stream(stream, subject=subject)
                    return
        except Unavailable as error:
            # An operator can remove them with `nats stream purge STREAM --subject=SUBJECT`.
            log.warning("unused chunks not removed", stream=stream, subject=subject, error=str(error))


@contextlib.asynccontextmanager
async def about_object(trouble: str) -> AsyncIterator[None]:
    """Turn every error of the bus in the block into ``Unavailable``, with what was done to the object."""
    try:
        async with asyncio.timeout(OBJECT_S) as whole:
            yield
    except Unanswered as error:
        raise Unavailable(f"the bus {trouble}: no answer on {error}.") from error
    except (nats.errors.Error, TimeoutError) as error:
        reason = f"it took longer than {OBJECT_S:g} s" if whole.expired() else str(error) or "no answer"
        raise Unavailable(f"the bus {trouble}: {reason}.") from error
