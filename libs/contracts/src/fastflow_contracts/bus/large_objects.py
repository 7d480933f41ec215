"""Objects of any size, written and read piece by piece: at no time more than a few chunks are in memory. I/O only.

An object is named by its hash, which is known after its last chunk, and equal objects are stored once. That is safe
while others remove objects, because everything is decided by the note: who finds an object writes its note again, by
compare-and-set on the note that was found, and who removes one removes only the note that was seen. So one of the two
fails: the writer then stores chunks of its own, or the remover leaves everything in place.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import uuid
from collections.abc import AsyncGenerator, AsyncIterable, Collection
from datetime import datetime
from typing import Final, NamedTuple

import nats.errors
import nats.js.errors
from nats.js.api import Header, ObjectInfo, ObjectMetaOptions
from nats.js.kv import MSG_ROLLUP_SUBJECT

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.direct import following, subjects_of
from fastflow_contracts.bus.errors import Rejected, RevisionConflict, Unavailable
from fastflow_contracts.bus.objects import CHUNK_BYTES, ObjectStore, about_object
from fastflow_contracts.bus.streams import object_stream
from fastflow_contracts.log import get_logger

log = get_logger(__name__)

CHUNKS_READ: Final = 16
"""Chunks in one request of a reader."""
UPLOAD_S: Final = 6 * 3600.0
"""Longest upload, in seconds. What is not named after that may be removed (``remove_unnamed``)."""
NAMINGS_MAX: Final = 20
"""Rounds of compare-and-set: a round is lost when another process names or removes the same object."""
_FULL: Final = (10077, 10047, 10122)
"""What the server answers if a stream, an account or a disk is full."""


class StoreFull(Rejected):
    """The store has no room for the object."""


class StoredObject(NamedTuple):
    """A stored object."""

    name: str
    """SHA-256 of its bytes, in hexadecimal digits."""
    size: int


class LargeObjects:
    """The large objects of one store. Any number of processes may use it at once."""

    def __init__(self, bus: Bus, store: str = subjects.ARTIFACTS) -> None:
        self._bus = bus
        self._bucket = store
        self._stream = object_stream(store)
        self._objects = ObjectStore(bus, store)

    async def put(self, parts: AsyncIterable[bytes]) -> StoredObject:
        """Store the bytes of *parts*, which may have any size. One chunk at a time is under way.

        What *parts* raises comes out, and nothing is stored then.

        Raises:
            StoreFull: There is no room.
            Rejected: The bus refuses it.
            Unavailable: The bus does not answer, or it took longer than ``UPLOAD_S``.
        """
        writer = _Writer(self._bus, self._bucket)
        try:
            async with asyncio.timeout(UPLOAD_S) as whole:
                async for part in parts:
                    await writer.add(part)
                await writer.close()
        except BaseException as error:
            await self._objects.abandon_chunks(writer.upload)
            if isinstance(error, TimeoutError) and whole.expired():
                raise Unavailable(f"the bus did not take an artifact within {UPLOAD_S:g} s.") from error
            raise
        try:
            is_new = await self._name(writer)
        except Rejected:
            await self._objects.abandon_chunks(writer.upload)
            raise
        # After any other trouble the chunks stay: the note may be stored though its answer is lost.
        if not is_new:
            await self._objects.abandon_chunks(writer.upload)
        return StoredObject(writer.name, writer.size)

    async def read(self, name: str) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of *name*, chunk by chunk. The hash is checked at the end.

        Raises:
            Rejected: The object is missing, incomplete or damaged.
            Unavailable: The bus does not answer.
        """
        async with about_object(f"did not show object {name}"):
            note = await self._objects.note(name)
        if note is None:
            raise Rejected(f"object {name} is not in {self._bucket}.")
        subject, digest = subjects.object_chunks(self._bucket, note.upload), hashlib.sha256()
        after = count = 0
        while count < note.chunks:
            most = min(CHUNKS_READ, note.chunks - count)
            messages = await following(self._bus, self._stream, subject, after=after, most=most)
            if not messages:
                async with about_object(f"did not show object {name}"):
                    is_whole = await self._objects.is_whole(note)
                if is_whole:
                    raise Unavailable(f"the server of the bus that answered does not have all of object {name} yet.")
                raise Rejected(f"object {name} is incomplete: {count} of {note.chunks} chunks are stored.")
            for message in messages:
                digest.update(message.data)
                yield message.data
            after, count = messages[-1].sequence, count + len(messages)
        if digest.hexdigest() != name:
            raise Rejected(f"object {name} in {self._bucket} is damaged.")

    async def remove_others(self, wanted: Collection[str], *, before: datetime, sequence: int) -> int:
        """Remove the objects that are not *wanted*, and the chunks that no object has.

        Args:
            wanted: Names that were read after *sequence*.
            before: Younger objects stay, and so do uploads with younger chunks.
            sequence: Objects that were named later stay, too.

        Returns:
            How many objects and uploads were removed.

        Raises:
            Rejected, Unavailable: From the bus.
        """
        removed, uploads = 0, await subjects_of(self._bus, self._stream, subjects.object_chunks(self._bucket, "*"))
        # The uploads come first: a note that is written meanwhile leads to chunks that are younger than *before*.
        stored = await self._objects.uploaded()
        for name, found in stored.items():
            if name not in wanted and found.at < before and found.sequence <= sequence:
                await self._objects.delete(name, until=found.sequence)
                removed += 1
        named = {found.upload for found in stored.values()}
        for subject in uploads:
            upload = subject.rsplit(".", 1)[1]
            if upload not in named and await self._is_older(subject, before):
                await self._objects.remove_chunks(upload)
                removed += 1
        return removed

    async def _is_older(self, subject: str, before: datetime) -> bool:
        """Whether the newest chunk on *subject* is older than *before*."""
        async with about_object(f"did not show {subject}"):
            try:
                raw = await self._bus.js.get_last_msg(self._stream, subject)
            except nats.js.errors.NotFoundError:
                return False
        return raw.time is not None and raw.time < before

    async def _name(self, writer: _Writer) -> bool:
        """Write the note of what *writer* stored. False if the object is there already: then its note is new."""
        name, subject = writer.name, subjects.object_note(self._bucket, writer.name)
        for _ in range(NAMINGS_MAX):
            async with about_object(f"did not store object {name}"):
                sequence, found = await self._objects.last_note(name)
                if found is not None and found.upload == writer.upload:  # the answer was lost
                    return True
                if found is not None and (found.size != writer.size or not await self._objects.is_whole(found)):
                    found = None
            upload = found.upload if found is not None and found.upload else writer.upload
            text = json.dumps(_note(self._bucket, writer, upload)).encode()
            with contextlib.suppress(RevisionConflict):
                headers: dict[str, str] = {Header.ROLLUP: MSG_ROLLUP_SUBJECT}
                await _stored(self._bus, subject, text, expect=sequence, headers=headers)
                return upload == writer.upload
        raise Unavailable(f"object {name} could not be stored: other writers were first; try again.")


class _Writer:
    """The chunks of one upload, under a subject of their own."""

    def __init__(self, bus: Bus, bucket: str) -> None:
        self._bus = bus
        self._bucket = bucket
        self.upload = uuid.uuid4().hex
        self.size = self.chunks = 0
        self._digest = hashlib.sha256()
        self._waiting = bytearray()
        self._sequence = 0

    @property
    def name(self) -> str:
        return self._digest.hexdigest()

    async def add(self, part: bytes) -> None:
        view = memoryview(part)
        while len(view):
            room = CHUNK_BYTES - len(self._waiting)
            self._waiting += view[:room]
            view = view[room:]
            if len(self._waiting) == CHUNK_BYTES:
                await self._send()

    async def close(self) -> None:
        if self._waiting:
            await self._send()

    async def _send(self) -> None:
        """Store one chunk exactly once: a repeat after a lost answer conflicts with the first."""
        chunk = bytes(self._waiting)
        self._waiting.clear()
        subject = subjects.object_chunks(self._bucket, self.upload)
        try:
            self._sequence = await _stored(self._bus, subject, chunk, expect=self._sequence)
        except RevisionConflict:
            async with about_object(f"did not show {subject}"):
                raw = await self._bus.js.get_last_msg(object_stream(self._bucket), subject)
            if raw.data != chunk or raw.seq is None or raw.seq <= self._sequence:
                raise Unavailable(f"a chunk on {subject} was lost; try again.") from None
            self._sequence = raw.seq
        self._digest.update(chunk)
        self.size += len(chunk)
        self.chunks += 1


def _note(bucket: str, writer: _Writer, upload: str) -> dict[str, object]:
    digest = base64.urlsafe_b64encode(bytes.fromhex(writer.name)).decode()
    info = ObjectInfo(
        name=writer.name,
        bucket=bucket,
        nuid=upload,
        size=writer.size,
        chunks=writer.chunks,
        digest=f"SHA-256={digest}",
        options=ObjectMetaOptions(max_chunk_size=CHUNK_BYTES),
    )
    return info.as_dict()


async def _stored(bus: Bus, subject: str, data: bytes, *, expect: int, headers: dict[str, str] | None = None) -> int:
    try:
        return await bus.publish(subject, data, headers=headers, expect_sequence=expect)
    except Rejected as error:
        if error.code in _FULL:
            raise StoreFull(
                "the store of artifacts is full: remove old runs, let FASTFLOW_ARTIFACTS_DAYS be fewer, or make it "
                "larger with `fastflow bus ensure --artifacts-bytes`.",
                code=error.code,
            ) from error
        raise
