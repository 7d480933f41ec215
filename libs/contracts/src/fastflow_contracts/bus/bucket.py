"""A typed bucket: records of one kind, each under a key that is made of its name. I/O only.

A record is read with its revision, and written by compare-and-set on it. Where nobody can tell whether a write was
stored, it is read back: so every record carries a ``write_id``, which is new with each write. What cannot be read is
logged and counted (``decoding``) and never ends the reading of others:

* ``get`` raises ``Unreadable``, for those who must not act as if there was no record;
* ``load`` gives None with a revision, for those who replace it;
* ``items`` leaves it out, and ``follow`` hands it on apart from the changes.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from fastflow_contracts.bus.client import Bus, Entry, Put
from fastflow_contracts.bus.decoding import Unreadable, decoded, note_unreadable
from fastflow_contracts.bus.errors import Conflict
from fastflow_contracts.bus.feed import feed
from fastflow_contracts.bus.pull import Message
from fastflow_contracts.bus.streams import bucket_stream
from fastflow_contracts.bus.subjects import value_key, value_subject
from fastflow_contracts.codec import Codec
from fastflow_contracts.errors import FastFlowError

N = TypeVar("N")
"""What names a record: a pipeline's name, a ``RunRef``, a ``JobRef``."""
T = TypeVar("T")

CHANGES_MAX = 8
"""Rounds of load, decide, compare-and-set; each lost one means that another writer won."""


class Record(NamedTuple, Generic[N, T]):
    """One record as it is stored. ``revision``: what the next write must expect."""

    name: N
    value: T
    revision: int
    stored_at: datetime | None
    """By the bus's clock."""


class Loaded(NamedTuple, Generic[T]):
    """What a write replaces. Without a value: 0 where there is no record, else the one there cannot be read."""

    value: T | None
    revision: int


class Change(NamedTuple, Generic[N, T]):
    """A record was written, or deleted: then ``value`` is None."""

    name: N
    value: T | None
    revision: int
    stored_at: datetime


class Unread(NamedTuple, Generic[N]):
    """A stored value that cannot be read, or a key that names nothing: then ``name`` is None."""

    name: N | None
    key: str
    revision: int


class Changes(NamedTuple, Generic[N, T]):
    """Some changes in stream order. ``caught_up``: there was nothing more when the last one was sent."""

    changes: list[Change[N, T]]
    unread: list[Unread[N]]
    caught_up: bool
    restarted: bool
    """The reading begins anew with these: forget what it said before."""


class Bucket(Generic[N, T]):
    """The records of one kind in one bucket of one bus."""

    def __init__(
        self,
        bus: Bus,
        bucket: str,
        codec: Codec[T],
        *,
        keys: str,
        key_of: Callable[[N], str],
        name_in: Callable[[str], N],
    ) -> None:
        """Describe the records.

        Args:
            bus: Where they are.
            bucket: Its name.
            codec: What a value is.
            keys: The filter that matches all their keys and no others.
            key_of: The key of a record's name.
            name_in: The name in a key; raises a ``FastFlowError`` when it holds none.
        """
        self.bus = bus
        self.bucket = bucket
        self.codec = codec
        self.keys = keys
        self._key_of = key_of
        self._name_in = name_in
        self._has_write_id = "write_id" in getattr(codec.message, "__struct_fields__", ())

    async def get(self, name: N, *, is_exact: bool = False) -> Record[N, T] | None:
        """Read one record.

        Args:
            name: Of the record.
            is_exact: Ask the server that leads, for what is decided by the value alone: see ``Bus.get``.

        Returns:
            The record, None if there is none.

        Raises:
            Unreadable: It cannot be read.
            BusError: The bus does not answer.
        """
        entry = await self.bus.get(self.bucket, self._key_of(name), is_exact=is_exact)
        return None if entry is None else self._record(name, entry)

    async def find(self, keys: str) -> Record[N, T] | None:
        """Read the newest record whose key matches the filter *keys*. Returns and raises as ``get``."""
        entry = await self.bus.get(self.bucket, keys)
        return None if entry is None else self._record(self._name_in(entry.key), entry)

    async def load(self, name: N, *, is_exact: bool = False) -> Loaded[T]:
        """Read what a write is to replace; one that cannot be read has a revision and no value. Raises ``BusError``."""
        entry = await self.bus.get(self.bucket, self._key_of(name), is_exact=is_exact)
        if entry is None:
            return Loaded(None, 0)
        return Loaded(decoded(self.codec, entry.value, where=self._where(entry.key)), entry.revision)

    async def put(self, name: N, value: T, *, expect: int | None) -> int:
        """Write one record and return its revision.

        Args:
            name: Of the record.
            value: Its ``write_id`` is set here.
            expect: The revision that it replaces; 0: there must be none; None: whatever is there.

        Raises:
            Conflict: Another one was written first.
            BusError: As ``Bus.commit``.
        """
        key, data, _ = self.write(name, value, expect=expect)
        return await self.bus.put(self.bucket, key, data, expect=expect)

    def write(self, name: N, value: T, *, expect: int | None) -> Put:
        """The write that ``put`` does, for a batch of several. See ``put``."""
        return Put(self._key_of(name), self.codec.encode(self._signed(value)), expect)

    async def change(
        self, name: N, decide: Callable[[T | None], T | None], *, changes_max: int = CHANGES_MAX
    ) -> Loaded[T]:
        """Replace a record by what *decide* makes of it, again each time when another writer was first.

        Args:
            name: Of the record.
            decide: Gets the value that is stored; None where there is none, or none that can be read. Returns the
                value to write; None: leave it.
            changes_max: How many races may be lost.

        Returns:
            What is stored now.

        Raises:
            Conflict: Every race was lost.
            BusError: As ``put``.
        """
        for _ in range(changes_max):
            known = await self.load(name)
            wanted = decide(known.value)
            if wanted is None:
                return known
            try:
                return Loaded(wanted, await self.put(name, wanted, expect=known.revision))
            except Conflict:
                continue
        raise Conflict(f"others keep writing {self._where(self._key_of(name))}; try again.")

    async def delete(self, name: N, *, expect: int | None = None) -> None:
        """Mark a record as deleted. *expect* as in ``put``. Raises as ``put``."""
        await self.bus.delete(self.bucket, self._key_of(name), expect=expect)

    async def items(self, keys: str = "") -> list[Record[N, T]]:
        """Every record, or those whose keys match the filter *keys*. What cannot be read is left out.

        Waits for the bus as long as that takes: set a bound.
        """
        found: dict[N, Record[N, T]] = {}
        async with aclosing(self.once(keys)) as batches:
            async for batch in batches:
                if batch.restarted:
                    found.clear()
                for name, value, revision, stored_at in batch.changes:
                    if value is None:
                        found.pop(name, None)
                    else:
                        found[name] = Record(name, value, revision, stored_at)
        return list(found.values())

    async def once(self, keys: str = "") -> AsyncGenerator[Changes[N, T], None]:
        """As ``follow``, but it ends with what was stored: for more than fits into memory."""
        async with aclosing(self.follow(keys)) as batches:
            async for batch in batches:
                yield batch
                if batch.caught_up:
                    return

    async def follow(self, keys: str = "", *, after: int | None = None) -> AsyncGenerator[Changes[N, T], None]:
        """Every record as it is now, then every change, for ever: see ``feed``.

        Args:
            keys: A filter that matches fewer keys than all.
            after: Instead, every change whose revision is greater, old ones included.

        Yields:
            Changes in stream order. The first ones may be empty.
        """
        subject = value_subject(self.bucket, keys or self.keys)
        async with aclosing(feed(self.bus, bucket_stream(self.bucket), subject, after=after)) as batches:
            async for batch in batches:
                changes: list[Change[N, T]] = []
                unread: list[Unread[N]] = []
                for message in batch.messages:
                    read = self._read(message)
                    changes.append(read) if isinstance(read, Change) else unread.append(read)
                yield Changes(changes, unread, batch.caught_up, batch.restarted)

    def _read(self, message: Message) -> Change[N, T] | Unread[N]:
        key = value_key(self.bucket, message.subject)
        try:
            name = self._name_in(key)
        except FastFlowError as error:
            note_unreadable(f"key of a {self.codec.name}", self._where(key), error)
            return Unread(None, key, message.sequence)
        if not message.data:
            return Change(name, None, message.sequence, message.stored_at)
        value = decoded(self.codec, message.data, where=self._where(key))
        if value is None:
            return Unread(name, key, message.sequence)
        return Change(name, value, message.sequence, message.stored_at)

    def _record(self, name: N, entry: Entry) -> Record[N, T]:
        value = decoded(self.codec, entry.value, where=self._where(entry.key))
        if value is None:
            raise Unreadable(f"{self._where(entry.key)} holds no {self.codec.name}.", revision=entry.revision)
        return Record(name, value, entry.revision, entry.stored_at)

    def _where(self, key: str) -> str:
        return f"{self.bucket}/{key}"

    def _signed(self, value: T) -> T:
        if not self._has_write_id:
            return value
        signed: Any = msgspec.structs.replace(value, write_id=uuid.uuid4().hex)  # type: ignore[type-var]
        return signed  # type: ignore[no-any-return]
