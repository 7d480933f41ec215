"""One connection to one gateway: requests, answers, errors, streams that resume. It knows no route."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec

from fastflow_api.errors import ApiError, BadRequest, NotFound, TooMany, Unreachable, error_of
from fastflow_api.sse import Event, EventReader

T = TypeVar("T")

TIMEOUT_S: Final = 30.0
"""For an answer. A start may take 10 s: the server waits that long for a decision."""
SILENCE_S: Final = 45.0
"""A stream that is silent for longer is lost: the server says something every 15 s."""
PAUSE_S: Final = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Between attempts to go on with a stream; the last one stays."""
PATIENCE_S: Final = 120.0
"""How long a stream is tried again before its reader is told."""
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Connection:
    """Asks one gateway. Made by ``Client``."""

    def __init__(
        self,
        url: str,
        token: str | None,
        *,
        timeout_s: float,
        headers: Mapping[str, str] | None,
        tls: ssl.SSLContext | None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no address; write it as http://host:port or https://host.")
        self.url = url.rstrip("/")
        self._headers = {**(headers or {}), **({"Authorization": f"Bearer {token}"} if token else {})}
        self._timeout_s = timeout_s
        self._tls = tls
        # What the environment says about proxies is not meant for this machine itself.
        self._trust_env = parts.hostname not in _LOOPBACK
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections. The next request opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def json(self, method: str, path: str, kind: type[T], **request: Any) -> T:
        """The answer as a *kind*. Raises ``ApiError``."""
        found: T = decoded(await self.raw(method, path, **request), kind)
        return found

    async def raw(self, method: str, path: str, **request: Any) -> bytes:
        """The answer's body. Raises ``ApiError``."""
        async with self._answer(method, path, **request) as response:
            return await response.read()

    async def one_of(self, method: str, path: str, kinds: Mapping[int, Any], **request: Any) -> Any:
        """The answer as the kind that its status stands for. Raises ``ApiError``."""
        async with self._answer(method, path, **request) as response:
            return decoded(await response.read(), kinds[response.status])

    async def pieces(self, path: str) -> AsyncGenerator[bytes]:
        """The body of a long answer as it arrives. Raises ``ApiError``."""
        async with self._answer("GET", path, timeout_s=None) as response:
            async for piece in response.content.iter_any():
                yield piece

    async def follow(self, path: str, *, after: str | None = None) -> AsyncGenerator[Event]:
        """The events of a stream behind the one with the id *after*, up to ``end``, which is the last one.

        A connection that breaks is opened again and goes on behind the last event that arrived. Raises ``ApiError``
        for what another attempt does not help, and once nothing answered for ``PATIENCE_S``.
        """
        last, failures, loop = after, 0, asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE_S
        while True:
            try:
                async with aclosing(self._events(path, last)) as arriving:
                    async for events in arriving:
                        deadline = loop.time() + PATIENCE_S
                        for event in events:
                            last, failures = event.id or last, 0
                            yield event
                            if event.name == "end":
                                return
            except (Unreachable, TooMany):
                if loop.time() >= deadline:
                    raise
            pause_s = PAUSE_S[min(failures, len(PAUSE_S) - 1)]
            failures += 1
            await asyncio.sleep(pause_s)

    async def _events(self, path: str, after: str | None) -> AsyncGenerator[list[Event]]:
        """What each piece that arrives completes; nothing, if it only says that the stream is alive."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": after} if after else {})
        reader = EventReader()
        async with self._answer("GET", path, headers=headers, timeout_s=None) as response:
            async for piece in response.content.iter_any():
                yield reader.feed(piece)

    @contextlib.asynccontextmanager
    async def _answer(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        data: bytes | None = None,
        timeout_s: float | None = TIMEOUT_S,
        accept: tuple[int, ...] = (),
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """*query*: without those that are None. *timeout_s*: None for an answer of any length. *accept*: statuses from
        400 on that are an answer as well.
        """
        given = {**(headers or {})}
        if body is not None:
            data, given["Content-Type"] = _encoded(body), "application/json"
        timeout = aiohttp.ClientTimeout(
            total=None if timeout_s is None else max(timeout_s, self._timeout_s),
            sock_connect=self._timeout_s,
            sock_read=SILENCE_S if timeout_s is None else None,
        )
        asking = self._http().request(
            method,
            self.url + path,
            params={name: str(value) for name, value in (query or {}).items() if value is not None},
            headers=given,
            data=data,
            timeout=timeout,
            skip_auto_headers=("Content-Type",),
            allow_redirects=False,
        )
        try:
            async with asking as response:
                if response.status >= 300 and response.status not in accept:
                    raise await _refused(response)
                yield response
        except TimeoutError as error:
            raise Unreachable(f"{self.url} did not answer in time; try again.") from error
        except aiohttp.ClientError as error:
            raise Unreachable(f"{self.url} cannot be reached: {_reason(error)}.") from error

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            # No bound on connections: many streams may be open at once.
            connector = aiohttp.TCPConnector(limit=0, ssl=self._tls or True)
            self._session = aiohttp.ClientSession(
                connector=connector, headers=self._headers, trust_env=self._trust_env, read_bufsize=2**20
            )
        return self._session


def decoded(body: bytes, kind: Any) -> Any:
    """*body* as *kind*. Raises ``ApiError`` if it is something else."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise ApiError(
            f"the answer is not what this version of fastflow_api knows ({error}); is this address a Fast-Flow's, and "
            "is it as new as this client?"
        ) from error


def _encoded(body: Any) -> bytes:
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError as error:
        raise BadRequest("a text holds half a surrogate pair, or bytes that are no UTF-8; send it as UTF-8.") from error


def segment(text: str) -> str:
    """*text* as one segment of a path. Raises ``NotFound`` for what can be none."""
    if text in ("", ".", ".."):
        raise NotFound(f"there is nothing called {text!r}.", status=404)
    return quote(text, safe="")


async def _refused(response: aiohttp.ClientResponse) -> ApiError:
    body = await response.read()
    try:
        detail = msgspec.json.decode(body, type=dict[str, Any])["detail"]
    except (msgspec.DecodeError, KeyError):
        detail = f"the answer was {response.status} {response.reason or ''}; is this a Fast-Flow's address?"
    return error_of(response.status, str(detail), retry_after=response.headers.get("Retry-After"))


def _reason(error: aiohttp.ClientError) -> str:
    """The system's own words where there are any."""
    cause = getattr(error, "os_error", None)
    words = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(error)
    return " ".join(words.split()).rstrip(".") or type(error).__name__
