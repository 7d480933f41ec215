"""A typed bucket: records of one kind, each under a key made from its name. I/O only.

A record is read with its revision and written by compare-and-set on it. When it is unclear whether a write was stored,
the record is read back; so it has a ``write_id`` that is new with each write. An unreadable record is logged and
counted (``decoding``) and never stops the reading of others:

* ``get`` raises ``Unreadable``, for callers that must not treat it as a missing record;
* ``load`` returns None with a revision, for callers that replace it;
* ``items`` leaves it out, and ``follow`` lists it apart from the changes.
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
from fastflow_contracts.bus.direct import StoredMessage
from fastflow_contracts.bus.errors import RevisionConflict
from fastflow_contracts.bus.feed import Batch, feed, once
from fastflow_contracts.bus.streams import bucket_stream
from fastflow_contracts.bus.subjects import value_key, value_subject
from fastflow_contracts.bus.together import GroupCommit, GroupGet
from fastflow_contracts.codec import Codec
from fastflow_contracts.errors import FastFlowError

N = TypeVar("N")
"""What names a record: a pipeline's name, a ``RunRef``, a ``JobRef``."""
T = TypeVar("T")

CHANGES_MAX = 8
"""Rounds of load, decide, compare-and-set. A round is lost when another writer wins."""


class Record(NamedTuple, Generic[N, T]):
    """One stored record. The next write expects ``revision``."""

    name: N
    value: T
    revision: int
    stored_at: datetime | None
    """Time by the clock of the bus."""


class Loaded(NamedTuple, Generic[T]):
    """What a write replaces. Without a value, revision 0 means no record, any other revision an unreadable one."""

    value: T | None
    revision: int


class Change(NamedTuple, Generic[N, T]):
    """A record was written, or deleted if ``value`` is None."""

    name: N
    value: T | None
    revision: int
    stored_at: datetime


class Unread(NamedTuple, Generic[N]):
    """An unreadable value, or an invalid key if ``name`` is None."""

    name: N | None
    key: str
    revision: int
    is_deleted: bool = False
    """An invalid key, whose value was deleted."""


class Changes(NamedTuple, Generic[N, T]):
    """Some changes. ``caught_up``: the stream had nothing more when the last one was sent."""

    changes: list[Change[N, T]]
    unread: list[Unread[N]]
    caught_up: bool
    restarted: bool
    """Reading starts again with these changes: discard the earlier ones."""


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
        check: Callable[[N, T], None] = lambda _, __: None,
        together: bool = False,
    ) -> None:
        """Describe the records.

        Args:
            bus: The bus that stores them.
            bucket: Name of the bucket.
            codec: Codec of the values.
            keys: The filter that matches all their keys and no others.
            key_of: Returns the key for a name.
            name_in: Returns the name in a key; raises a ``FastFlowError`` for an invalid key.
            check: Raises a ``FastFlowError`` for a value that has the right types and makes no sense under this name:
                it is unreadable.
            together: Reads of single records at the same time share a request, and so do writes (``together``).
        """
        self.bus = bus
        self.bucket = bucket
        self.codec = codec
        self.keys = keys
        self._key_of = key_of
        self._name_in = name_in
        self._check = check
        self._reads = GroupGet(bus, bucket) if together else None
        self._writes = GroupCommit(bus, bucket) if together else None
        self._has_write_id = "write_id" in getattr(codec.message, "__struct_fields__", ())

    async def get(self, name: N, *, is_exact: bool = False) -> Record[N, T] | None:
        """Read one record.

        Args:
            name: Name of the record.
            is_exact: Ask the leading server, for a decision that rests on the value alone: see ``Bus.get``.

        Returns:
            The record, or None if there is none.

        Raises:
            Unreadable: The record cannot be read.
            BusError: The bus does not answer.
        """
        entry = await self._entry(name, is_exact=is_exact)
        return None if entry is None else self._record(name, entry)

    async def find(self, keys: str) -> Record[N, T] | None:
        """Read the newest record whose key matches the filter *keys*. Returns and raises as ``get``."""
        entry = await self.bus.get(self.bucket, keys)
        return None if entry is None else self._record(self._name_in(entry.key), entry)

    async def load(self, name: N, *, is_exact: bool = False) -> Loaded[T]:
        """Read what a write replaces. An unreadable record has a revision but no value. Raises ``BusError``."""
        entry = await self._entry(name, is_exact=is_exact)
        if entry is None:
            return Loaded(None, 0)
        return Loaded(self._decoded(name, entry.value, self._where(entry.key)), entry.revision)

    async def put(self, name: N, value: T, *, expect: int | None) -> int:
        """Write one record and return its revision.

        Args:
            name: Name of the record.
            value: The new value; ``put`` sets its ``write_id``.
            expect: The revision it replaces; 0: the record must not exist; None: no check.

        Raises:
            RevisionConflict: Another writer was first.
            BusError: As ``Bus.commit``.
        """
        write = self.write(name, value, expect=expect)
        try:
            return await self._put(write)
        except RevisionConflict:
            # A record that was deleted does not exist, but the mark of that has a revision.
            deleted = await self._deletion(name) if expect == 0 else None
            if deleted is None:
                raise
            return await self._put(write._replace(expect=deleted))

    def write(self, name: N, value: T, *, expect: int | None) -> Put:
        """Build the write that ``put`` does, for a batch. See ``put``."""
        return Put(self._key_of(name), self.codec.encode(self._signed(value)), expect)

    async def change(
        self,
        name: N,
        decide: Callable[[T | None], T | None],
        *,
        changes_max: int = CHANGES_MAX,
        keep_unreadable: bool = False,
    ) -> Loaded[T]:
        """Replace a record by the result of *decide*. Try again when another writer was first.

        Args:
            name: Name of the record.
            decide: Takes the stored value, None if the record is missing or unreadable. Returns the value to write,
                None to leave the record as it is.
            changes_max: Number of tries.
            keep_unreadable: Do not replace an unreadable record.

        Returns:
            What is stored now.

        Raises:
            RevisionConflict: Another writer was first in every try.
            Unreadable: The record cannot be read, with *keep_unreadable*.
            BusError: As ``put``.
        """
        for _ in range(changes_max):
            known = await self.load(name)
            if keep_unreadable and known.value is None and known.revision:
                raise self._unreadable(self._key_of(name), known.revision)
            wanted = decide(known.value)
            if wanted is None:
                return known
            try:
                return Loaded(wanted, await self.put(name, wanted, expect=known.revision))
            except RevisionConflict:
                continue
        raise RevisionConflict(f"other writers keep changing {self._where(self._key_of(name))}; try again.")

    async def delete(self, name: N, *, expect: int | None = None) -> None:
        """Mark a record as deleted. *expect* as in ``put``. Raises as ``put``."""
        await self.bus.delete(self.bucket, self._key_of(name), expect=expect)

    async def items(self, keys: str = "") -> list[Record[N, T]]:
        """Return every record, or those whose keys match the filter *keys*, without unreadable ones.

        Waits for the bus without a limit: set a timeout.
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

    def once(self, keys: str = "") -> AsyncGenerator[Changes[N, T], None]:
        """As ``follow``, but end after the stored records. For more records than fit into memory."""
        return self._changes(once(self.bus, bucket_stream(self.bucket), self._filter(keys)))

    def follow(self, keys: str = "", *, after: int | None = None) -> AsyncGenerator[Changes[N, T], None]:
        """Yield every record as it is now, in no order, then every change, in stream order, without end: see ``feed``.

        Args:
            keys: A filter that matches some of the keys; empty: all.
            after: Yield every change with a greater revision instead, old ones included.

        Yields:
            Changes. The first batch may be empty.
        """
        return self._changes(feed(self.bus, bucket_stream(self.bucket), self._filter(keys), after=after))

    async def _put(self, write: Put) -> int:
        if self._writes is not None:
            return await self._writes.put(write)
        return (await self.bus.commit(self.bucket, (write,)))[0]

    async def _deletion(self, name: N) -> int | None:
        """The revision of the mark that a record was deleted; None: there is no such mark."""
        newest = await self.bus.newest(bucket_stream(self.bucket), value_subject(self.bucket, self._key_of(name)))
        return newest.sequence if newest is not None and "KV-Operation" in newest.headers else None

    async def _entry(self, name: N, *, is_exact: bool) -> Entry | None:
        key = self._key_of(name)
        if self._reads is not None and not is_exact:
            return await self._reads.get(key)
        return await self.bus.get(self.bucket, key, is_exact=is_exact)

    def _filter(self, keys: str) -> str:
        return value_subject(self.bucket, keys or self.keys)

    async def _changes(self, batches: AsyncGenerator[Batch, None]) -> AsyncGenerator[Changes[N, T], None]:
        async with aclosing(batches):
            async for batch in batches:
                changes: list[Change[N, T]] = []
                unread: list[Unread[N]] = []
                for message in batch.messages:
                    read = self._read(message)
                    changes.append(read) if isinstance(read, Change) else unread.append(read)
                yield Changes(changes, unread, batch.caught_up, batch.restarted)

    def _read(self, message: StoredMessage) -> Change[N, T] | Unread[N]:
        key = value_key(self.bucket, message.subject)
        is_deleted = not message.data and message.header("KV-Operation") is not None
        try:
            name = self._name_in(key)
        except FastFlowError as error:
            if not is_deleted:
                note_unreadable(self.codec.name, self._where(key), error)
            return Unread(None, key, message.sequence, is_deleted)
        if is_deleted:
            return Change(name, None, message.sequence, message.stored_at)
        value = self._decoded(name, message.data, message.subject)
        if value is None:
            return Unread(name, key, message.sequence)
        return Change(name, value, message.sequence, message.stored_at)

    def _record(self, name: N, entry: Entry) -> Record[N, T]:
        value = self._decoded(name, entry.value, self._where(entry.key))
        if value is None:
            raise self._unreadable(entry.key, entry.revision)
        return Record(name, value, entry.revision, entry.stored_at)

    def _decoded(self, name: N, data: bytes, where: str) -> T | None:
        """Decode and check a value, or log and count it as unreadable."""
        value = decoded(self.codec, data, where=where)
        if value is None:
            return None
        try:
            self._check(name, value)
        except FastFlowError as error:
            note_unreadable(self.codec.name, where, error)
            return None
        return value

    def _unreadable(self, key: str, revision: int) -> Unreadable:
        return Unreadable(f"{self._where(key)} holds no {self.codec.name}.", revision=revision)

    def _where(self, key: str) -> str:
        return f"{self.bucket}/{key}"

    def _signed(self, value: T) -> T:
        if not self._has_write_id:
            return value
        signed: Any = msgspec.structs.replace(value, write_id=uuid.uuid4().hex)  # type: ignore[type-var]
        return signed  # type: ignore[no-any-return]
