"""One connection to the bus: publish, ask, get and write bytes, on top of nats-py. I/O only; it knows no rule of ours.

What it promises over the bare client: headers are copied, not mutated; a write whose answer got lost is read back
before it is repeated; a conflict is one exception; trouble is another, and silence is neither; nothing waits without
a bound. Typed records are ``bucket``'s, objects ``objects``'s, consuming is ``pull``'s, following ``feed``'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import StreamInfo

from fastflow_contracts.bus.errors import Conflict, Rejected, TooLarge, Unavailable
from fastflow_contracts.bus.streams import PAYLOAD_BYTES_MAX, bucket_stream
from fastflow_contracts.bus.subjects import value_key, value_subject

ANSWER_S = 5.0
"""How long one request to the bus may take before it counts as unanswered."""
WRITE_S = 30.0
"""How long a write is repeated before the caller is told that the bus is not there."""
PAUSE_S = (0.05, 0.1, 0.25, 0.5, 1.0)
"""Between repeats; the last one stays."""
HEADERS_BYTES_MAX = 1024
"""Of a write to a bucket. They count as part of the message."""
_WRONG_LAST_SEQUENCE = {10071, 10164}
_TOO_LARGE = 10054


class Entry(NamedTuple):
    """One stored value of a bucket. ``revision`` is the expected one for the next write."""

    key: str
    value: bytes
    revision: int
    stored_at: datetime | None = None


class Put(NamedTuple):
    """One write of a batch. ``expect``: the revision it replaces, 0 = must not exist, None = whatever is there."""

    key: str
    value: bytes
    expect: int | None = None


class Bus:
    """One connection. Use ``connect``."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.js: JetStreamContext = client.jetstream(timeout=ANSWER_S)
        self.closed = asyncio.Event()
        """Set when the connection is gone for good: the process should end."""
        self.generation = 0
        """Grows with every reconnect: requests of an older generation are lost."""
        self.wake_on_reconnect: set[asyncio.Event] = set()
        """Events of those who wait for answers of a lost generation."""

    @property
    def is_connected(self) -> bool:
        return bool(self.client.is_connected)

    async def publish(
        self,
        subject: str,
        data: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        message_id: str | None = None,
        expect_sequence: int | None = None,
        patience_s: float = WRITE_S,
    ) -> int:
        """Store a message in its stream and return its sequence. Repeats on trouble for *patience_s*.

        *expect_sequence*: the sequence of the last message on this very subject, 0 = none. A repeat may store the
        message twice unless it or *message_id* is given. Raises ``Conflict``, ``Rejected``, ``Unavailable``.
        """
        wanted = dict(headers or {})
        if message_id is not None:
            wanted["Nats-Msg-Id"] = message_id
        if expect_sequence is not None:
            wanted["Nats-Expected-Last-Subject-Sequence"] = str(expect_sequence)
        async for _ in attempts(patience_s, f"storing a message on {subject}"):
            with contextlib.suppress(Unanswered):
                return await self.store_once(subject, data, wanted)
        raise AssertionError("unreachable")

    async def tell(self, subject: str, data: bytes) -> None:
        """Publish without storing; at most once."""
        try:
            await self.client.publish(subject, data)
        except nats.errors.Error as error:
            raise Unavailable(f"the bus did not take a message on {subject}: {error}") from error

    async def ask(self, subject: str, data: bytes, *, timeout_s: float = ANSWER_S) -> bytes:
        """Core request and its answer. ``Rejected`` when nobody listens, ``Unavailable`` when nobody answers."""
        try:
            return bytes((await self.client.request(subject, data, timeout=timeout_s)).data)
        except nats.errors.NoRespondersError as error:
            raise Rejected(f"nobody listens on {subject}; is the service that answers it running?") from error
        except (nats.errors.Error, TimeoutError) as error:
            raise Unavailable(f"no answer on {subject} within {timeout_s:g} s") from error

    async def get(self, bucket: str, key: str, *, is_exact: bool = False) -> Entry | None:
        """The newest value under *key*, None if there is none. *key* may hold wildcards: the newest match.

        Any server that keeps the bucket answers, perhaps one that is behind by a moment: enough for what a later write
        will prove. *is_exact*: the one that leads answers, for what is decided by the value alone.
        """
        subject = value_subject(bucket, key)
        if is_exact or "*" in key or ">" in key:
            return await self._get_from_leader(bucket, subject)
        request = f"$JS.API.DIRECT.GET.{bucket_stream(bucket)}.{subject}"
        try:
            message = await self.client.request(request, b"", timeout=ANSWER_S)
        except (nats.errors.Error, TimeoutError) as error:
            raise Unavailable(f"the bus did not answer while reading {bucket}/{key}") from error
        headers = message.headers or {}
        if headers.get("Status") == "404":
            return None
        if "Nats-Sequence" not in headers:
            raise Rejected(f"the bus refused to read {bucket}/{key}: {headers.get('Description', 'no reason given')}")
        if "KV-Operation" in headers:
            return None
        return Entry(
            key,
            bytes(message.data),
            int(headers["Nats-Sequence"]),
            datetime.fromisoformat(headers["Nats-Time-Stamp"]),
        )

    async def last_sequence(self, stream: str) -> int:
        """Sequence of the newest message *stream* ever had; 0 if it never had one."""
        return int((await self.stream(stream)).state.last_seq)

    async def copies(self, stream: str) -> int:
        """How many servers keep *stream*."""
        return (await self.stream(stream)).config.num_replicas or 1

    async def stream(self, stream: str) -> StreamInfo:
        """Configuration and state of *stream*."""
        try:
            return await self.js.stream_info(stream)
        except (nats.errors.Error, TimeoutError) as error:
            raise Unavailable(f"the bus did not answer about stream {stream}") from error

    async def put(self, bucket: str, key: str, value: bytes, *, expect: int | None = None) -> int:
        """Write one value and return its revision. See ``Put.expect``; raises as ``commit``."""
        return (await self.commit(bucket, (Put(key, value, expect),)))[0]

    async def commit(self, bucket: str, puts: Sequence[Put], *, patience_s: float = WRITE_S) -> list[int]:
        """Write all of *puts* or none, and return their revisions.

        After an unanswered write the first value is read back: it is ours if its bytes are, so every value that is
        changed by compare-and-set must carry something random. Raises ``Conflict``, ``Rejected``, ``TooLarge``,
        ``Unavailable``.
        """
        # Not left to the bus: of a batch it would only say that it is incomplete, and beyond its own limit it hangs up.
        most = min(PAYLOAD_BYTES_MAX, self.client.max_payload) - HEADERS_BYTES_MAX
        for put in puts:
            if len(put.value) > most:
                raise TooLarge(f"{bucket}/{put.key} has {len(put.value):,} bytes, of which {most:,} fit a message")
        uncertain = False
        async for _ in attempts(patience_s, f"writing {bucket}/{puts[0].key}"):
            try:
                last = await self._commit_once(bucket, puts)
            except Unanswered:
                uncertain = True
            except Conflict:
                if not uncertain:
                    raise
                stored = await self.get(bucket, puts[0].key)
                if stored is None or stored.value != puts[0].value:
                    raise
                last = stored.revision + len(puts) - 1
                return [last - len(puts) + 1 + index for index in range(len(puts))]
            else:
                return [last - len(puts) + 1 + index for index in range(len(puts))]
        raise AssertionError("unreachable")

    async def delete(self, bucket: str, key: str, *, expect: int | None = None) -> None:
        """Mark *key* as deleted. Raises as ``publish``."""
        subject = value_subject(bucket, key)
        await self.publish(subject, b"", headers={"KV-Operation": "DEL"}, expect_sequence=expect)

    async def purge(self, bucket: str, key: str, *, until: int) -> None:
        """Remove every value of *key* up to revision *until*, for good. Raises ``Unavailable``."""
        try:
            await self.js.purge_stream(bucket_stream(bucket), seq=until + 1, subject=value_subject(bucket, key))
        except (nats.errors.Error, TimeoutError) as error:
            raise Unavailable(f"the bus did not answer while {bucket}/{key} was removed") from error

    async def acknowledged(self, stream: str, consumer: str) -> int:
        """Up to this sequence every message of *stream* was acknowledged to *consumer*. Raises ``Unavailable``."""
        try:
            floor = (await self.js.consumer_info(stream, consumer)).ack_floor
        except (nats.errors.Error, TimeoutError) as error:
            raise Unavailable(f"the bus did not answer about consumer {consumer} of {stream}") from error
        return floor.stream_seq if floor else 0

    async def _get_from_leader(self, bucket: str, subject: str) -> Entry | None:
        try:
            raw = await self.js.get_last_msg(bucket_stream(bucket), subject)
        except nats.js.errors.NotFoundError:
            return None
        except (nats.errors.Error, TimeoutError) as error:
            raise Unavailable(f"the bus did not answer while reading {subject}") from error
        if raw.headers and "KV-Operation" in raw.headers:
            return None
        assert raw.subject is not None
        assert raw.seq is not None
        return Entry(value_key(bucket, raw.subject), raw.data or b"", raw.seq, raw.time)

    async def _commit_once(self, bucket: str, puts: Sequence[Put]) -> int:
        batch = uuid.uuid4().hex
        for number, put in enumerate(puts, start=1):
            headers = {} if put.expect is None else {"Nats-Expected-Last-Subject-Sequence": str(put.expect)}
            if len(puts) > 1:
                headers |= {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)}
            subject = value_subject(bucket, put.key)
            if number == len(puts):
                if len(puts) > 1:
                    headers["Nats-Batch-Commit"] = "1"
                return await self.store_once(subject, put.value, headers)
            try:
                await self.client.publish(subject, put.value, headers=headers)
            except nats.errors.Error as error:
                raise _translated(error, subject) from error
        raise AssertionError("an empty batch")

    async def store_once(self, subject: str, data: bytes, headers: dict[str, str]) -> int:
        """Store one message, without repeating it. Raises ``Unanswered``, and as ``publish``. For ``bus`` alone."""
        try:
            answer = await self.client.request(subject, data, timeout=ANSWER_S, headers=dict(headers) or None)
        except (nats.errors.Error, TimeoutError) as error:
            raise _translated(error, subject) from error
        ack = json.loads(answer.data)
        if "error" in ack:
            problem = ack["error"]
            code = int(problem.get("err_code", 0))
            if code in _WRONG_LAST_SEQUENCE:
                raise Conflict(f"{subject} was written by somebody else first")
            if problem.get("code") == 503 and code != 10077:  # 10077: the stream is full
                raise Unanswered(subject)
            if code == _TOO_LARGE:
                raise TooLarge(f"the message on {subject} is larger than its stream allows", code=code)
            raise Rejected(f"the bus refused {subject}: {problem.get('description')}", code=code)
        return int(ack["seq"])


class Unanswered(Exception):
    """One request had no usable answer; nobody knows whether it took effect."""


def _translated(error: BaseException, subject: str) -> Exception:
    if isinstance(error, nats.errors.MaxPayloadError):
        return TooLarge(f"the message on {subject} is larger than the bus allows")
    if isinstance(error, nats.errors.BadSubjectError | nats.errors.BadHeaderError):
        return Rejected(f"{subject} or its headers cannot be sent: {error}")
    return Unanswered(subject)


async def attempts(patience_s: float, what: str) -> AsyncIterator[int]:
    """Numbers of attempts with growing pauses; raises ``Unavailable`` when *patience_s* is used up."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience_s
    number = 0
    while True:
        yield number
        pause = PAUSE_S[min(number, len(PAUSE_S) - 1)]
        if loop.time() + pause > deadline:
            raise Unavailable(f"the bus did not answer for {patience_s:g} s while {what}")
        await asyncio.sleep(pause)
        number += 1


def header(message: Msg, name: str) -> str | None:
    """A header whatever its case: NATS keeps case, people do not."""
    wanted = name.lower()
    return next((value for key, value in (message.headers or {}).items() if key.lower() == wanted), None)
