"""One connection to the bus: publish, ask, get and write bytes, on top of nats-py. I/O only, without domain rules.

Beyond nats-py it guarantees: headers are copied, never mutated; a write whose answer is lost is read back before it is
repeated; a conflict, a refusal and a missing answer are different exceptions; every wait has a limit. Other modules do
the rest: ``bucket`` typed records, ``objects`` objects, ``pull`` consuming, ``feed`` following.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import StreamInfo

from fastflow_contracts.bus.answers import Unanswered, attempts, stored_sequence, translated
from fastflow_contracts.bus.errors import NotStored, Rejected, RevisionConflict, TooLarge, Unavailable
from fastflow_contracts.bus.nats_client import NatsClient
from fastflow_contracts.bus.streams import PAYLOAD_BYTES_MAX, bucket_stream, stream_of
from fastflow_contracts.bus.subjects import value_key, value_subject

ANSWER_S = 5.0
READ_S = (1.0, 1.0, 3.0)
"""How long a read waits for an answer before it asks again, and gives up. Of several servers the one that is asked may
have stopped; the next request may reach another one.
"""
"""After this long a request to the bus counts as unanswered."""
WRITE_S = 30.0
"""How long a write is repeated before the bus counts as unavailable."""
HEADERS_BYTES_MAX = 1024
"""Room for the headers of a write to a bucket. They count as part of the message."""


class Entry(NamedTuple):
    """One stored value of a bucket. The next write expects ``revision``."""

    key: str
    value: bytes
    revision: int
    stored_at: datetime | None = None


class Newest(NamedTuple):
    """The newest message on one subject of a stream."""

    data: bytes
    headers: dict[str, str]
    sequence: int
    stored_at: datetime


class Put(NamedTuple):
    """One write of a batch. ``expect``: the revision it replaces; 0: the key must not exist; None: no check."""

    key: str
    value: bytes
    expect: int | None = None
    is_lasting: bool = False
    """Its bucket removes values by age, and not this one."""


class Bus:
    """One connection. Open it with ``connect``."""

    def __init__(self, client: NatsClient) -> None:
        self.client = client
        self.js: JetStreamContext = client.jetstream(timeout=ANSWER_S)
        self.closed = asyncio.Event()
        """Set when the connection is closed permanently: the process must end."""
        self.generation = 0
        """Grows with every reconnect. Requests of an older generation are lost."""
        self.wake_on_reconnect: set[asyncio.Event] = set()
        """Events of tasks that wait for an answer; they are set on every reconnect."""

    @property
    def is_connected(self) -> bool:
        return bool(self.client.is_connected)

    @property
    def bytes_max(self) -> int:
        """Most bytes of a message, headers included."""
        return min(PAYLOAD_BYTES_MAX, self.client.max_payload)

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
        """Store a message in its stream, and repeat without an answer for *patience_s*.

        A repeat may store the message twice, unless *message_id* or *expect_sequence* is given.

        Args:
            subject: Subject of the message.
            data: Its payload.
            headers: Its headers.
            message_id: Id by which the bus drops a second copy.
            expect_sequence: Sequence of the last message on this same subject; 0: there is none.
            patience_s: How long to repeat, in seconds.

        Returns:
            The sequence of the message.

        Raises:
            RevisionConflict: *expect_sequence* is not the last one.
            Rejected: The bus refuses the message.
            Unavailable: The bus does not answer.
        """
        wanted = dict(headers or {})
        if message_id is not None:
            wanted["Nats-Msg-Id"] = message_id
        if expect_sequence is not None:
            wanted["Nats-Expected-Last-Subject-Sequence"] = str(expect_sequence)
        async for _ in attempts(patience_s, f"storing a message on {subject}", explain=partial(self._explain, subject)):
            with contextlib.suppress(Unanswered):
                return await self.store_once(subject, data, wanted)
        raise AssertionError("unreachable")

    async def tell(self, subject: str, data: bytes) -> None:
        """Publish a message that is not stored. It is delivered at most once. Raises ``Unavailable``."""
        try:
            await self.client.publish(subject, data)
        except nats.errors.Error as error:
            raise Unavailable(f"the bus did not take a message on {subject}: {error}.") from error

    async def ask(self, subject: str, data: bytes, *, timeout_s: float = ANSWER_S) -> bytes:
        """Send a core request and return the answer.

        Raises:
            Rejected: No service listens on *subject*.
            Unavailable: No answer came within *timeout_s*.
        """
        try:
            return bytes((await self.client.request(subject, data, timeout=timeout_s)).data)
        except nats.errors.NoRespondersError as error:
            raise Rejected(f"no service listens on {subject}; is the service that answers it running?") from error
        except (nats.errors.Error, TimeoutError) as error:
            raise Unavailable(f"no answer on {subject} within {timeout_s:g} s.") from error

    async def get(self, bucket: str, key: str, *, is_exact: bool = False) -> Entry | None:
        """Return the newest value under *key*, or None. *key* may contain wildcards: then the newest match.

        Any server with the bucket may answer, even one that is slightly behind. That is enough when a later write
        checks the revision. With *is_exact* the leading server answers, for a decision that rests on the value alone.

        Raises:
            Rejected: The bus refuses the request.
            Unavailable: The bus does not answer.
        """
        subject = value_subject(bucket, key)
        if is_exact or "*" in key or ">" in key:
            return await self._get_from_leader(bucket, subject)
        found = await self.newest(bucket_stream(bucket), subject)
        if found is None or "KV-Operation" in found.headers:
            return None
        return Entry(key, found.data, found.sequence, found.stored_at)

    async def newest(self, stream: str, subject: str) -> Newest | None:
        """Return the newest message on *subject*, which has no wildcards, or None. Raises as ``get``."""
        message = await self._read(f"$JS.API.DIRECT.GET.{stream}.{subject}", subject)
        headers = dict(message.headers or {})
        if headers.get("Status") == "404":
            return None
        if "Nats-Sequence" not in headers:
            raise Rejected(f"the bus refused to read {subject}: {headers.get('Description', 'no reason given')}.")
        return Newest(
            bytes(message.data),
            headers,
            int(headers["Nats-Sequence"]),
            datetime.fromisoformat(headers["Nats-Time-Stamp"]),
        )

    async def _read(self, request: str, subject: str) -> Msg:
        """Return the answer to *request*. Raises ``Unavailable``."""
        silence: Exception | None = None
        for timeout_s in READ_S:
            try:
                return await self.client.request(request, b"", timeout=timeout_s)
            except (nats.errors.TimeoutError, TimeoutError) as error:
                silence = error
            except nats.errors.Error as error:
                silence = error
                break
        raise Unavailable(f"the bus did not answer while reading {subject}.") from silence

    async def take(self, stream: str, sequence: int) -> bool:
        """Remove one message from *stream*. Of several that try, one succeeds.

        Returns:
            Whether it was there.

        Raises:
            Unavailable: The bus does not answer: the message may be removed nevertheless.
        """
        try:
            return bool(await self.js.delete_msg(stream, sequence))
        except nats.js.errors.ServiceUnavailableError as error:
            raise Unavailable(f"the bus did not remove message {sequence} of {stream}.") from error
        except nats.js.errors.APIError:
            return False
        except (nats.errors.Error, TimeoutError) as error:
            raise Unavailable(f"the bus did not remove message {sequence} of {stream}.") from error

    async def last_sequence(self, stream: str) -> int:
        """Return the sequence of the newest message that *stream* ever had; 0 if it never had one."""
        return int((await self.stream(stream)).state.last_seq)

    async def copies(self, stream: str) -> int:
        """Return how many servers keep *stream*."""
        return (await self.stream(stream)).config.num_replicas or 1

    async def stream(self, stream: str) -> StreamInfo:
        """Return configuration and state of *stream*. Raises ``Unavailable``."""
        try:
            return await self.js.stream_info(stream)
        except (nats.errors.Error, TimeoutError) as error:
            raise Unavailable(f"the bus did not answer about stream {stream}.") from error

    async def subjects_in(self, stream: str, matching: str) -> set[str]:
        """Return the subjects that match *matching* and have messages in *stream*. Raises ``Unavailable``."""
        try:
            info = await self.js.stream_info(stream, subjects_filter=matching)
        except (nats.errors.Error, TimeoutError) as error:
            raise Unavailable(f"the bus did not answer about the messages in stream {stream}.") from error
        return set(info.state.subjects or {})

    async def put(self, bucket: str, key: str, value: bytes, *, expect: int | None = None) -> int:
        """Write one value and return its revision. *expect* as in ``Put``. Raises as ``commit``."""
        return (await self.commit(bucket, (Put(key, value, expect),)))[0]

    async def commit(self, bucket: str, puts: Sequence[Put], *, patience_s: float = WRITE_S) -> list[int]:
        """Write all of *puts* or none, and return their revisions.

        After an unanswered write the first value is read back. The write is ours if the bytes are equal, so every
        value that is changed by compare-and-set must contain something random.

        Raises:
            RevisionConflict: Another writer was first.
            TooLarge: A value does not fit into a message.
            Rejected: The bus refuses the write.
            Unavailable: The bus does not answer.
        """
        # Checked here: the bus would only call a batch incomplete, and it closes the connection beyond its own limit.
        most = self.bytes_max - HEADERS_BYTES_MAX
        for put in puts:
            if len(put.value) > most:
                raise TooLarge(f"{bucket}/{put.key} has {len(put.value):,} bytes; at most {most:,} fit into a message.")
        uncertain = False
        explain = partial(self._explain, value_subject(bucket, puts[0].key))
        async for _ in attempts(patience_s, f"writing {bucket}/{puts[0].key}", explain=explain):
            try:
                last = await self._commit_once(bucket, puts)
            except Unanswered:
                uncertain = True
            except RevisionConflict:
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
        """Remove every value of *key* up to and including revision *until*, permanently. Raises ``Unavailable``."""
        try:
            await self.js.purge_stream(bucket_stream(bucket), seq=until + 1, subject=value_subject(bucket, key))
        except (nats.errors.Error, TimeoutError) as error:
            raise Unavailable(f"the bus did not answer while {bucket}/{key} was removed.") from error

    async def acknowledged(self, stream: str, consumer: str) -> int:
        """Return the sequence up to which *consumer* has acknowledged all of *stream*. Raises ``Unavailable``."""
        try:
            floor = (await self.js.consumer_info(stream, consumer)).ack_floor
        except (nats.errors.Error, TimeoutError) as error:
            raise Unavailable(f"the bus did not answer about consumer {consumer} of {stream}.") from error
        return floor.stream_seq if floor else 0

    async def _explain(self, subject: str, error: Unavailable) -> Unavailable:
        """Return ``NotStored`` if the server answers, but not to what the stream of *subject* must store."""
        name = stream_of(subject)
        if name is None or not self.is_connected:
            return error
        info = await self.stream(name)
        if info.cluster is not None and info.cluster.leader is None:
            return error
        return NotStored(
            f"{name} stores nothing although the bus answers: its disk is full, or was. Make room, then restart "
            "nats-server: it does not write to such a stream again before."
        )

    async def _get_from_leader(self, bucket: str, subject: str) -> Entry | None:
        try:
            raw = await self.js.get_last_msg(bucket_stream(bucket), subject)
        except nats.js.errors.NotFoundError:
            return None
        except (nats.errors.Error, TimeoutError) as error:
            raise Unavailable(f"the bus did not answer while reading {subject}.") from error
        if raw.headers and "KV-Operation" in raw.headers:
            return None
        assert raw.subject is not None
        assert raw.seq is not None
        return Entry(value_key(bucket, raw.subject), raw.data or b"", raw.seq, raw.time)

    async def _commit_once(self, bucket: str, puts: Sequence[Put]) -> int:
        batch = uuid.uuid4().hex
        for number, put in enumerate(puts, start=1):
            headers = {} if put.expect is None else {"Nats-Expected-Last-Subject-Sequence": str(put.expect)}
            if put.is_lasting:
                headers["Nats-TTL"] = "never"
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
                raise translated(error, subject) from error
        raise AssertionError("an empty batch")

    async def store_once(self, subject: str, data: bytes, headers: dict[str, str]) -> int:
        """Store one message, without repeats. Only for ``bus``. Raises ``Unanswered``, and as ``publish``."""
        try:
            answer = await self.client.request(subject, data, timeout=ANSWER_S, headers=dict(headers) or None)
        except (nats.errors.Error, TimeoutError) as error:
            raise translated(error, subject) from error
        return stored_sequence(answer.data, subject)


def header(message: Msg, name: str) -> str | None:
    """Return a header, ignoring case: NATS keeps the case that the publisher used."""
    wanted = name.lower()
    return next((value for key, value in (message.headers or {}).items() if key.lower() == wanted), None)
