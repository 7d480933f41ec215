"""Requests to one gateway: answers, errors, and streams that resume. This module does not know routes."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from fastflow_api.errors import ApiError, BadRequest, NotFound, TooMany, Unreachable, error_of
from fastflow_api.sse import Event, EventReader
from fastflow_api.transport import Failed, ServerAnswer, Transport, Unsendable, basic_authorization, check_headers

T = TypeVar("T")

TIMEOUT_S: Final = 30.0
"""Timeout for an answer. A start may take 10 s: the server waits that long for a decision."""
SILENCE_S: Final = 45.0
"""A stream that is silent for longer is lost: the server sends something every 15 s."""
PAUSE_S: Final = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Pauses between attempts to resume a stream. The last one repeats."""
PATIENCE_S: Final = 120.0
"""How long to retry a stream before raising the error."""
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Connection:
    """Sends requests to one gateway. ``Client`` makes it."""

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
            raise ValueError(f"{url!r} is not an address; write it as http://host:port or https://host.")
        self.url = url.rstrip("/")
        authorization = f"Bearer {token}" if token else basic_authorization(parts)
        self._headers = {"User-Agent": "fastflow-api", **(headers or {})}
        if authorization:
            self._headers["Authorization"] = authorization
        check_headers(self._headers)
        self._timeout_s = timeout_s
        self._prefix = quote(parts.path.rstrip("/"), safe="/%")
        # Proxies from the environment must not apply to this machine itself, and packing would only cost time there.
        is_remote = parts.hostname not in _LOOPBACK
        if is_remote and "accept-encoding" not in map(str.lower, self._headers):
            self._headers["Accept-Encoding"] = "gzip"
        self._transport = Transport(parts, tls=tls, connect_s=timeout_s, proxies=is_remote)

    async def close(self) -> None:
        """Close all connections. The next request opens new ones."""
        await self._transport.close()

    async def json(self, method: str, path: str, kind: type[T], **request: Any) -> T:
        """Send a request and decode the answer as *kind*. Raises ``ApiError``."""
        found: T = decoded(await self.raw(method, path, **request), kind)
        return found

    async def raw(self, method: str, path: str, **request: Any) -> bytes:
        """Send a request and return the answer's body. Raises ``ApiError``."""
        async with self._answer(method, path, **request) as answer:
            return await answer.read()

    async def one_of(self, method: str, path: str, kinds: Mapping[int, Any], **request: Any) -> Any:
        """Send a request and decode the answer as the kind for its status. Raises ``ApiError``."""
        async with self._answer(method, path, **request) as answer:
            return decoded(await answer.read(), kinds[answer.status])

    async def pieces(self, path: str) -> AsyncGenerator[bytes]:
        """Yield the body of a long answer as it arrives. Raises ``ApiError``."""
        async with self._answer("GET", path, timeout_s=None) as answer:
            async for piece in answer.pieces():
                yield piece

    async def follow(self, path: str, *, after: str | None = None) -> AsyncGenerator[Event]:
        """Yield the events of a stream after the one with the id *after*, up to and including ``end``.

        A broken connection is opened again and resumes after the last event.

        Raises:
            ApiError: Another attempt would not help, or nothing has answered for ``PATIENCE_S``.
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
        """Yield the events that each chunk completes; an empty list for a keep-alive."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": after} if after else {})
        reader = EventReader()
        async with self._answer("GET", path, headers=headers, timeout_s=None) as answer:
            async for piece in answer.pieces():
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
    ) -> AsyncIterator[ServerAnswer]:
        """Send a request and yield the response.

        Args:
            method: The HTTP method.
            path: The path, with its leading slash.
            query: The query; values of None are left out.
            headers: More headers.
            body: Sent as JSON.
            data: Sent as it is.
            timeout_s: None: the answer may take any time.
            accept: Statuses of 300 or more that are answers too.

        Raises:
            ApiError: The server refuses, or does not answer.
        """
        given = {**self._headers, **(headers or {})}
        if body is not None:
            data, given["Content-Type"] = _encoded(body), "application/json"
        sent = urlencode(
            {name: str(value) for name, value in (query or {}).items() if value is not None}, quote_via=quote
        )
        target = self._prefix + path + (f"?{sent}" if sent else "")
        silence_s = SILENCE_S if timeout_s is None else None
        try:
            async with (
                asyncio.timeout(None if timeout_s is None else max(timeout_s, self._timeout_s)),
                self._transport.request(method, target, given, data, silence_s=silence_s) as answer,
            ):
                if answer.status >= 300 and answer.status not in accept:
                    raise await _refused(answer)
                yield answer
        except TimeoutError as error:
            raise Unreachable(f"{self.url} did not answer in time; try again.") from error
        except Unsendable as error:
            raise BadRequest(str(error)) from None
        except Failed as error:
            raise Unreachable(f"{self.url} cannot be reached: {error}.") from error


def decoded(body: bytes, kind: Any) -> Any:
    """Decode *body* as *kind*. Raises ``ApiError`` if it is something else."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise ApiError(
            f"this version of fastflow_api does not understand the answer ({error}); check that the address is that of "
            "a Fast-Flow, and that it is as new as this client."
        ) from error


def _encoded(body: Any) -> bytes:
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError as error:
        raise BadRequest("a string is not valid UTF-8: it has a lone surrogate; send it as UTF-8.") from error


def segment(text: str) -> str:
    """*text* as one segment of a path. Raises ``NotFound`` if it cannot be one."""
    if text in ("", ".", ".."):
        raise NotFound(f"there is nothing called {text!r}.", status=404)
    return quote(text, safe="")


async def _refused(answer: ServerAnswer) -> ApiError:
    body = await answer.read()
    try:
        detail = msgspec.json.decode(body, type=dict[str, Any])["detail"]
    except (msgspec.DecodeError, KeyError):
        detail = f"the answer was {answer.status} {answer.reason}; is this the address of a Fast-Flow?"
    return error_of(answer.status, str(detail), retry_after=answer.headers.get("retry-after"))
