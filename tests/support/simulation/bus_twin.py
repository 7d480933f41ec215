"""The parts of the bus that run records need, in memory: buckets with compare-and-set, and queues that redeliver.

Every call stops before and after its effect: there its caller may be killed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import coroutine
from typing import Any, Generic, Protocol, TypeVar

from fastflow_contracts.bus.client import Entry, Put
from fastflow_contracts.bus.errors import RevisionConflict

REDELIVERED_S = 30.0
"""Time from the death of a message's consumer to its redelivery."""


class Due(Protocol):
    """An instant, which may move."""

    @property
    def at(self) -> datetime: ...


@coroutine
def step(until: Due | None = None) -> Generator[Due | None, None, None]:
    """Let others go first, and wait until then."""
    yield until


class BusTwin:
    """*on_write* receives every value with its revision, *on_publish* every message, in order.

    *outstanding* returns the subjects of the work stream.
    """

    def __init__(
        self,
        on_write: Callable[[str, bytes, int], None],
        on_publish: Callable[[str, bytes, str | None], None],
        outstanding: Callable[[], set[str]],
    ) -> None:
        self.buckets: dict[tuple[str, str], tuple[bytes, int]] = {}
        self._by_id: dict[str, str] = {}
        self._on_write = on_write
        self._on_publish = on_publish
        self._outstanding = outstanding
        self._newest: dict[str, str] = {}
        self.revision = 0
        """The newest one."""

    async def get(self, bucket: str, key: str, *, is_exact: bool = False) -> Entry | None:
        await step()
        if key.endswith(".*"):  # the runs of a pipeline
            key = self._newest.get(key, key)
        elif "*" in key:  # a run's id, of any pipeline
            key = self._by_id.get(key.rpartition(".")[2], key)
        value, revision = self.buckets.get((bucket, key), (b"", 0))
        return Entry(key, value, revision) if revision else None

    async def commit(self, bucket: str, puts: Sequence[Put]) -> list[int]:
        await step()
        for put in puts:
            if put.expect is not None and self.buckets.get((bucket, put.key), (b"", 0))[1] != put.expect:
                raise RevisionConflict("another writer was first")
        revisions = [self.write(bucket, put.key, put.value) for put in puts]
        await step()
        return revisions

    async def put(self, bucket: str, key: str, value: bytes, *, expect: int | None = None) -> int:
        return (await self.commit(bucket, (Put(key, value, expect),)))[0]

    async def newest(self, stream: str, subject: str) -> None:
        """Asked for the mark of a deleted record only: none is deleted here."""
        await step()

    bytes_max = 4 * 1024 * 1024

    async def publish(self, subject: str, data: bytes, *, message_id: str | None = None, **_: Any) -> int:
        await step()
        self._on_publish(subject, data, message_id)
        await step()
        return 0

    async def subjects_in(self, stream: str, matching: str) -> set[str]:
        await step()
        found = self._outstanding()
        await step()
        return found

    def write(self, bucket: str, key: str, value: bytes) -> int:
        """Write immediately, over any current value."""
        self.revision += 1
        self.buckets[bucket, key] = value, self.revision
        if key.startswith("run."):
            pipeline, _, run_id = key.rpartition(".")
            self._by_id[run_id] = self._newest[f"{pipeline}.*"] = key
        self._on_write(key, value, self.revision)
        return self.revision


T = TypeVar("T")


@dataclass
class _Message(Generic[T]):
    at: datetime
    payload: T
    owner: object | None = None


@dataclass
class Queue(Generic[T]):
    """A durable consumer that several share. Unacknowledged messages come again."""

    _messages: list[_Message[T]] = field(default_factory=list)

    def put(self, payload: T, now: datetime) -> None:
        self._messages.append(_Message(now, payload))

    def next_instant(self) -> datetime | None:
        if not self._messages:  # the usual case
            return None
        return min([message.at for message in self._messages if message.owner is None], default=None)

    def take(self, owner: object, now: datetime) -> _Message[T] | None:
        """Take the oldest message that no consumer has."""
        for message in self._messages:
            if message.owner is None and message.at <= now:
                message.owner = owner
                return message
        return None

    def ack(self, message: _Message[T]) -> None:
        self._messages.remove(message)

    def give_back(self, owner: object, now: datetime) -> None:
        """Return the messages of *owner*, which is dead."""
        for message in self._messages:
            if message.owner is owner:
                message.owner, message.at = None, now + timedelta(seconds=REDELIVERED_S)

    def __len__(self) -> int:
        return len(self._messages)
