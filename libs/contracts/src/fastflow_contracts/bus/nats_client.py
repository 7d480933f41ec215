"""nats-py's client with its faults fixed. No domain code; the bus is in ``client``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any, TypeVar

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from fastflow_contracts.bus.access import nkeys
from fastflow_contracts.bus.errors import Rejected
from fastflow_contracts.bus.subjects import SUBJECT_BYTES_MAX

T = TypeVar("T")

LOOK_S = 5.0
"""Pause between two looks whether the connection works."""
LOOKS = 4
"""Failed looks in a row until the server is asked whether it answers others. A reconnection takes less."""
ANSWER_S = 5
"""How long an answer may take."""
NO_RESPONDERS = "503"
KNOWN_BYTES_MAX = 64
"""Longest name of a header to remember."""


class NatsClient(Client):
    """A client. *seed*: the NKEY that authenticates it, "" = none. *tls_only*: refuse servers without TLS."""

    def __init__(self, seed: str, *, tls_only: bool) -> None:
        super().__init__()
        self._seed = seed
        self._tls_only = tls_only
        self._requests = 0
        self._answers_prefix = ""
        """Of the subjects of all answers; empty: they are not subscribed yet."""
        self._hearing: dict[int, Callable[[Msg], None]] = {}
        """What receives the messages of a subscription at once, by its id."""
        if seed:
            # The client itself supports only the `nkeys` package; see our `nkeys`.
            self._public_nkey = nkeys.public_key(seed)

    def sign(self, nonce: str) -> bytes:
        return nkeys.sign(self._seed, nonce)

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        """As inherited, but leave a server that does not use TLS before it gets our secrets."""
        if initial_connection and self._tls_only and not info.get("tls_required"):
            raise nats.errors.Error("it does not offer TLS, which these settings require")
        await super()._process_info(info, initial_connection)

    async def _process_connect_init(self) -> None:
        """As inherited, but a greeting that no server sends is an error like a server that is away: tried again."""
        try:
            await super()._process_connect_init()
        except (OSError, nats.errors.Error):
            raise
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            raise nats.errors.Error(f"what answers is not a NATS server: {error}") from error

    async def connect(self, *args: Any, **kwargs: Any) -> None:
        """As inherited, but no cancellation is lost: see ``_kept``."""
        await _kept(super().connect(*args, **kwargs))

    async def flush(self, timeout: int = ANSWER_S) -> None:
        """As inherited, but no cancellation is lost: see ``_kept``."""
        await _kept(super().flush(timeout))

    async def _flush_pending(self, force_flush: bool = False) -> Any:
        """As inherited, but no cancellation is lost: the original ignores one while much waits to be sent."""
        return await _kept(super()._flush_pending(force_flush))

    async def close(self) -> None:
        """As inherited, but the last connection is closed, too, if it was made after the client had been closed by a
        server that refused it.
        """
        await super().close()
        if self._transport is not None:
            self._transport.close()  # type: ignore[no-untyped-call]

    async def publish(self, subject: str, *args: Any, **kwargs: Any) -> None:
        """As inherited, but refuse a long subject: the server would close this connection.

        Raises:
            Rejected: *subject* has more than ``SUBJECT_BYTES_MAX`` bytes.
        """
        if len(subject.encode()) > SUBJECT_BYTES_MAX:
            raise Rejected(f"{subject[:80]}… has more than {SUBJECT_BYTES_MAX:,} bytes; use shorter names.")
        await super().publish(subject, *args, **kwargs)

    def _build_message(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
    ) -> Msg:
        """As inherited, but read subjects that are not UTF-8: the original stops reading the connection then."""
        return Msg(
            _client=self,
            subject=subject.decode("utf-8", "replace"),
            reply=reply.decode("utf-8", "replace"),
            data=data,
            headers=headers,
            _sid=sid,
        )

    async def _process_headers(self, headers: bytes) -> dict[str, str] | None:
        """As inherited, but headers that cannot be read are none: the original stops reading the connection then."""
        try:
            found: dict[str, str] | None = await super()._process_headers(headers)
        except (ValueError, LookupError):
            return None
        return found

    @staticmethod
    def _parse_header_lines(raw: bytes) -> dict[str, str]:
        """As inherited, but faster: the original looks at each character of each name, which was a fifth of what a
        busy scheduler did.
        """
        return header_lines(raw)

    async def hear(self, subject: str, receive: Callable[[Msg], None]) -> Subscription:
        """As ``subscribe``, but *receive* gets each message at once, not through a queue and another task.

        It must be quick: nothing else is read meanwhile. Its errors go where those of other callbacks go.
        """
        sid = self._sid + 1
        self._hearing[sid] = receive
        try:
            return await self.subscribe(subject)
        except BaseException:
            self._hearing.pop(sid, None)
            raise

    def _remove_sub(self, sid: int, max_msgs: int = 0) -> None:
        super()._remove_sub(sid, max_msgs)
        self._hearing.pop(sid, None)

    async def request(
        self,
        subject: str,
        payload: bytes = b"",
        timeout: float = ANSWER_S,
        old_style: bool = False,
        headers: dict[str, Any] | None = None,
    ) -> Msg:
        """As inherited, but with a plain timer: the original waits with ``wait_for``, which costs a second future, and
        loses a cancellation (see ``_kept``). *old_style* is ignored.
        """
        if not self._answers_prefix:
            await self._init_request_sub()
        loop = asyncio.get_running_loop()
        self._requests += 1
        token = f"{self._requests:x}"
        answer: asyncio.Future[Msg] = loop.create_future()
        self._resp_map[token] = answer
        timer = loop.call_later(timeout, _give_up, answer)
        try:
            await self.publish(subject, payload, reply=f"{self._answers_prefix}{token}", headers=headers)
            message = await answer
        finally:
            timer.cancel()
            self._resp_map.pop(token, None)
        if message.headers and message.headers.get("Status") == NO_RESPONDERS:
            raise nats.errors.NoRespondersError
        return message

    async def _init_request_sub(self) -> None:
        self._answers_prefix = f"{self.new_inbox()}."
        await self.hear(f"{self._answers_prefix}*", self._answer)

    def _answer(self, message: Msg) -> None:
        answer = self._resp_map.get(message.subject.removeprefix(self._answers_prefix))
        if answer is not None and not answer.done():
            answer.set_result(message)

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        """As inherited, but what is heard at once takes no queue and no task."""
        if (receive := self._hearing.get(sid)) is None:
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        found = await self._process_headers(headers)
        try:
            receive(self._build_message(sid, subject, reply, data, found))
        except Exception as error:  # the original stops reading the connection then
            await self._error_cb(error)

    async def until_stuck(self) -> None:
        """Return when this client cannot talk to a server that answers others.

        The library ends a task of its own for good at an error that it does not expect, such as half a line of a server
        that dies. From then on the client is neither connected nor closed.
        """
        failures = 0
        while failures < LOOKS or not await self._server_answers():
            await asyncio.sleep(LOOK_S)
            failures = 0 if await self._talks() else failures + 1

    async def _talks(self) -> bool:
        if not self.is_connected:
            return False
        try:
            await self.flush(timeout=ANSWER_S)
        except (nats.errors.Error, TimeoutError):
            return False
        return True

    async def _server_answers(self) -> bool:
        """Whether a server of ours greets a new connection."""
        for server in list(self._server_pool):
            try:
                async with asyncio.timeout(ANSWER_S):
                    reader, writer = await asyncio.open_connection(server.uri.hostname, server.uri.port)
                    try:
                        if (await reader.read(4)).startswith(b"INFO"):
                            return True
                    finally:
                        writer.close()
            except (OSError, TimeoutError):
                continue
        return False

    async def _process_pong(self) -> None:
        """As inherited, but drop an answer that no task awaits; the original stops reading the connection then."""
        if self._pongs and self._pongs[0].done():
            self._pongs.pop(0)
        else:
            await super()._process_pong()

    async def _connect_to_server(self, s: Any) -> None:
        """As inherited, but close a connection whose handshake failed: otherwise every try at a server that accepts and
        stays silent leaves a socket open. A cancelled task does not connect again: if the cancellation got lost (see
        ``_kept``), it would continue without end.
        """
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise asyncio.CancelledError
        if self._transport is not None:
            self._transport.close()  # type: ignore[no-untyped-call]
        await super()._connect_to_server(s)


def header_lines(raw: bytes) -> dict[str, str]:
    """Return the headers in *raw*, as a publisher wrote them. Of a name that comes twice the last value counts."""
    found: dict[str, str] = {}
    for line in raw.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if colon and (key := (_known_name if len(name) <= KNOWN_BYTES_MAX else _name)(name)) is not None:
            found[key] = value.strip().decode("utf-8", "replace")
    return found


def _give_up(answer: asyncio.Future[Msg]) -> None:
    if not answer.done():
        answer.set_exception(nats.errors.TimeoutError())


def _name(raw: bytes) -> str | None:
    """Return the name of a header; None: that is none."""
    if not raw.isascii():
        return None
    name = raw.strip().decode()
    return name if not name or name.split() == [name] else None  # no space within


_known_name = lru_cache(maxsize=256)(_name)
"""The same few names come again and again."""


async def _kept(step: Awaitable[T]) -> T:
    """Return the result of *step*, unless the task was cancelled meanwhile. Before Python 3.12 ``wait_for``, which the
    client uses, loses a cancellation that coincides with the end of its wait; a service would then never stop.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    outcome = await step
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError
    return outcome
