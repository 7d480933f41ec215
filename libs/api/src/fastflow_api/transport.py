"""HTTP/1.1 to one server: connections that are kept, proxies, time limits. I/O; h11 knows the protocol."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import re
import ssl
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from typing import Final, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

import h11

IDLE_S: Final = 15.0
"""A connection that was idle for longer is not used again: the server may be closing it."""
READ_BYTES: Final = 256 * 1024
HEADERS_BYTES_MAX: Final = 64 * 1024
UNPACKED_BYTES_MAX: Final = 512 * 1024 * 1024
"""Most that a compressed answer may have when it is read as a whole. A few kilobytes can unpack to gigabytes."""


class Failed(Exception):
    """There is no answer: the server cannot be reached, broke off, or speaks something else than HTTP."""


class Unsendable(ValueError):
    """A header has characters that HTTP does not allow."""


def check_headers(headers: Mapping[str, str]) -> None:
    """Raise ``Unsendable`` if one of *headers* cannot be sent."""
    for name, value in headers.items():
        try:
            h11.Request(method="GET", target="/", headers=[("Host", "any"), (name, value)])
        except (h11.LocalProtocolError, UnicodeEncodeError):
            raise Unsendable(f"the header {name} has characters that HTTP does not allow; send it without.") from None


class Origin(NamedTuple):
    """A server: what to connect to."""

    host: str
    port: int
    is_tls: bool

    @classmethod
    def of(cls, parts: SplitResult) -> Origin:
        """Return the server of a URL. Raises ``ValueError`` if it names none."""
        is_tls = parts.scheme == "https"
        host = parts.hostname or ""
        # As a certificate and a Host header spell it.
        return cls(host if ":" in host else host.encode("idna").decode(), parts.port or (443 if is_tls else 80), is_tls)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.is_tls else 80) else f"{host}:{self.port}"

    @property
    def with_port(self) -> str:
        """Host and port, as ``CONNECT`` names them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class ServerAnswer:
    """An answer whose body is still to be read."""

    def __init__(self, wire: _Wire, head: h11.Response, silence_s: float | None) -> None:
        self.status: int = head.status_code
        self.reason: str = head.reason.decode("latin-1")
        self.headers: Mapping[str, str] = {name.decode(): value.decode("latin-1") for name, value in head.headers}
        """Names are in lower case."""
        self._wire = wire
        self._silence_s = silence_s

    async def read(self) -> bytes:
        """Return the whole body, unpacked. Raises ``Failed``, ``TimeoutError``."""
        pieces, size, is_packed = [], 0, "content-encoding" in self.headers
        async with aclosing(self.pieces()) as arriving:
            async for piece in arriving:
                pieces.append(piece)
                size += len(piece)
                if is_packed and size > UNPACKED_BYTES_MAX:
                    raise Failed(f"its answer unpacks to more than {UNPACKED_BYTES_MAX // 1024**2} MiB")
        return b"".join(pieces)

    async def pieces(self) -> AsyncGenerator[bytes]:
        """Yield the body as it arrives, unpacked, in parts of bounded size. Raises ``Failed``, ``TimeoutError``."""
        coding = self.headers.get("content-encoding", "identity").strip().lower()
        if coding not in ("identity", "gzip", "x-gzip"):
            raise Failed(f"its answer is packed as {coding[:40]!r}, which nobody asked for")
        unpacking = zlib.decompressobj(16 + zlib.MAX_WBITS) if coding != "identity" else None
        has_body = False
        while isinstance(event := await self._wire.next_event(self._silence_s), h11.Data):
            has_body = True
            if unpacking is None:
                yield bytes(event.data)
                continue
            for piece in _unpacked(unpacking, bytes(event.data)):
                yield piece
        if unpacking is not None and has_body and not unpacking.eof:
            raise Failed("it broke off")


class Transport:
    """Sends requests to one server."""

    def __init__(self, url: SplitResult, *, tls: ssl.SSLContext | None, connect_s: float, proxies: bool) -> None:
        """Prepare; nothing is opened yet.

        Args:
            url: The server's address.
            tls: None: a context with the system's certificates.
            connect_s: How long opening a connection may take, in seconds.
            proxies: Whether the environment's proxies apply.

        Raises:
            ValueError: The host or the port is not valid.
        """
        self._origin = Origin.of(url)
        self._tls = tls
        self._connect_s = connect_s
        self._proxies = proxies
        self._idle: list[tuple[float, _Wire]] = []

    async def close(self) -> None:
        """Close all idle connections. The next request opens a new one."""
        idle, self._idle = self._idle, []
        for _, wire in idle:
            wire.close()
        await asyncio.sleep(0)  # A connection is closed in the loop's next round.

    @contextlib.asynccontextmanager
    async def request(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None, *, silence_s: float | None
    ) -> AsyncIterator[ServerAnswer]:
        """Send a request and yield the answer.

        Args:
            method: The HTTP method.
            target: Path and query, quoted.
            headers: Without ``Host`` and ``Content-Length``.
            body: None: the request has none.
            silence_s: How long the server may say nothing, in seconds; None: without end.

        Raises:
            Failed: There is no answer.
            TimeoutError: The connection took too long, or the server was silent for too long.
            Unsendable: A header has characters that HTTP does not allow.
        """
        wire = self._from_idle() or await self._opened()
        try:
            try:
                head = await wire.ask(self._head(wire, method, target, headers, body), body, silence_s)
            except Failed:
                # The server may have closed a kept connection just now. What may be repeated is sent once more.
                if not wire.was_used or (method != "GET" and "Idempotency-Key" not in headers):
                    raise
                wire.close()
                wire = await self._opened()
                head = await wire.ask(self._head(wire, method, target, headers, body), body, silence_s)
            yield ServerAnswer(wire, head, silence_s)
        finally:
            if wire.make_ready():
                self._idle.append((asyncio.get_running_loop().time(), wire))
            else:
                wire.close()

    def _head(
        self, wire: _Wire, method: str, target: str, headers: Mapping[str, str], body: bytes | None
    ) -> h11.Request:
        sized = {"Content-Length": str(len(body or b""))} if body is not None or method != "GET" else {}
        check_headers(headers)
        all_headers = {"Host": str(self._origin), **headers, **wire.headers, **sized}
        return h11.Request(method=method, target=wire.prefix + target, headers=list(all_headers.items()))

    def _from_idle(self) -> _Wire | None:
        now = asyncio.get_running_loop().time()
        while self._idle:
            since, wire = self._idle.pop()
            if now - since < IDLE_S and wire.is_open():
                return wire
            wire.close()
        return None

    async def _opened(self) -> _Wire:
        async with asyncio.timeout(self._connect_s):
            proxy = _proxy(self._origin) if self._proxies else None
            if proxy is None:
                return await _Wire.open(self._origin, self._tls)
            wire = await _Wire.open(Origin.of(proxy), None)
            authorization = basic_authorization(proxy)
            wire.headers = {"Proxy-Authorization": authorization} if authorization else {}
            if not self._origin.is_tls:
                wire.prefix = f"http://{self._origin}"
                return wire
            try:
                return await wire.tunnel(self._origin, self._tls)
            except BaseException:
                wire.close()
                raise


class _Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEADERS_BYTES_MAX)
        self.was_used = False
        self.prefix = ""
        """Comes before the target: a proxy wants to know the server."""
        self.headers: Mapping[str, str] = {}
        """Headers for a proxy."""

    @classmethod
    async def open(cls, to: Origin, tls: ssl.SSLContext | None) -> _Wire:
        with _failures():
            return cls(
                *await asyncio.open_connection(
                    to.host,
                    to.port,
                    ssl=(tls or ssl.create_default_context()) if to.is_tls else None,
                    limit=READ_BYTES,
                    happy_eyeballs_delay=0.25,
                )
            )

    async def tunnel(self, to: Origin, tls: ssl.SSLContext | None) -> _Wire:
        """Ask the proxy for a connection to *to*, and begin TLS on it."""
        named = to.with_port
        asking = h11.Request(method="CONNECT", target=named, headers=list({"Host": named, **self.headers}.items()))
        head = await self.ask(asking, None, None)
        if not 200 <= head.status_code < 300:
            raise Failed(f"the proxy answers {head.status_code} {head.reason.decode('latin-1')}".rstrip())
        with _failures():
            await self._writer.start_tls(tls or ssl.create_default_context(), server_hostname=to.host)
        return _Wire(self._reader, self._writer)

    async def ask(self, head: h11.Request, body: bytes | None, silence_s: float | None) -> h11.Response:
        """Send a request and return the head of its answer."""
        events = [head, *([h11.Data(data=body)] if body else []), h11.EndOfMessage()]
        self._writer.write(b"".join(self._h11.send(event) or b"" for event in events))
        # A server may answer, and close, before it has read everything: its answer counts.
        with contextlib.suppress(OSError):
            await self._writer.drain()
        while not isinstance(event := await self.next_event(silence_s), h11.Response):
            if not isinstance(event, h11.InformationalResponse):
                raise Failed("it broke off")
        return event

    async def next_event(self, silence_s: float | None) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Return what the server says next. Raises ``Failed``, ``TimeoutError``."""
        data = None
        while True:
            with _failures("it broke off" if data == b"" else None):
                if (event := self._h11.next_event()) is not h11.NEED_DATA:
                    return event
                async with asyncio.timeout(silence_s):
                    data = await self._reader.read(READ_BYTES)
                self._h11.receive_data(data)

    def is_open(self) -> bool:
        """Whether the server has not closed the connection, as far as is known."""
        return not (self._reader.at_eof() or self._writer.is_closing())

    def make_ready(self) -> bool:
        """Get ready for the next request. Return False if the last answer does not allow one on this connection."""
        is_over = self._h11.our_state is self._h11.their_state is h11.DONE
        if not is_over or self._h11.trailing_data[0] or not self.is_open():
            return False
        self._h11.start_next_cycle()
        self.was_used = True
        return True

    def close(self) -> None:
        """Close it, whatever its state."""
        with contextlib.suppress(Exception):
            self._writer.close()


def _unpacked(unpacking: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    """Unpack *data*, a part of a body, into pieces of at most ``READ_BYTES``. Raises ``Failed``."""
    while data:
        try:
            piece = unpacking.decompress(data, READ_BYTES)
        except zlib.error as error:
            raise Failed(f"its answer is not valid gzip ({error})") from error
        if unpacking.unused_data:
            raise Failed("its answer is not valid gzip (it goes on after its end)")
        if piece:
            yield piece
        data = unpacking.unconsumed_tail


@contextlib.contextmanager
def _failures(words: str | None = None) -> Iterator[None]:
    """Raise everything that can go wrong on a connection as ``Failed``, but ``TimeoutError`` as it is.

    Args:
        words: Said if what arrived is no HTTP.
    """
    try:
        yield
    except TimeoutError:
        raise
    except (OSError, ValueError) as error:
        raise Failed(_words(error)) from error
    except h11.RemoteProtocolError as error:
        raise Failed(words or f"its answer is not HTTP ({error})") from error


def _words(error: OSError | ValueError) -> str:
    """The words of the operating system if it has any. With several addresses the last one's error counts."""
    if numbers := re.findall(r"\[Errno (\d+)\]", str(error)):
        return os.strerror(int(numbers[-1]))
    return " ".join((getattr(error, "strerror", None) or str(error)).split()).rstrip(".") or type(error).__name__


def _proxy(to: Origin) -> SplitResult | None:
    """The proxy that the environment names for a server."""
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

    proxies = getproxies_environment()
    named = proxies.get("https" if to.is_tls else "http") or proxies.get("all")
    if not named or proxy_bypass_environment(to.with_port, proxies):
        return None
    proxy = urlsplit(named if "://" in named else f"http://{named}")
    if proxy.scheme not in ("http", "https") or not proxy.hostname:
        raise Failed(
            f"the environment names a {proxy.scheme} proxy, and only http and https proxies are supported; name "
            f"{to.host} in NO_PROXY to go without"
        )
    return proxy


def basic_authorization(url: SplitResult) -> str | None:
    """Return the value of an ``Authorization`` header for the user and password in a URL. None: it has none."""
    if url.username is None:
        return None
    pair = f"{unquote(url.username)}:{unquote(url.password or '')}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"
