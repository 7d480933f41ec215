"""Open, watch and close the connection to the bus."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import nats.js.errors

from fastflow_contracts.bus.access.address import login_of, redacted
from fastflow_contracts.bus.access.tls import PLAIN, Tls, complaint, is_mistrust
from fastflow_contracts.bus.client import ANSWER_S, Bus
from fastflow_contracts.bus.errors import BusRefused, Unavailable
from fastflow_contracts.bus.nats_client import NatsClient
from fastflow_contracts.bus.subjects import INBOX
from fastflow_contracts.log import get_logger

log = get_logger(__name__)

REFUSED = "authorization violation"
"""The error text of a server for wrong credentials."""

CONNECT_S = 10.0
PING_S = 3
"""Between two looks whether the server still answers. After three without an answer the client goes to another one."""


@contextlib.asynccontextmanager
async def connect(
    url: str,
    *,
    name: str,
    seed: str = "",
    inbox: str = INBOX,
    tls: Tls = PLAIN,
    connect_s: float = CONNECT_S,
) -> AsyncIterator[Bus]:
    """Open a connection that reconnects without end. Leaving the context flushes and closes it.

    Errors after the start are logged, each only once while it stays the same.

    Args:
        url: ``nats://[user:password@]host:port`` or ``tls://…``, several separated by commas. User and password are
            percent-encoded.
        name: Name of the connection on the server.
        seed: NKEY that authenticates this client instead of a password.
        inbox: Prefix of the subjects for answers (``permissions.inbox``).
        tls: Certificates to trust and to show.
        connect_s: How long to try, in seconds.

    Raises:
        Unavailable: No connection within *connect_s*; the text has the last error.
        BusRefused: The same, because of the credentials or a certificate.
        BadSeed: *seed* is not an NKEY.
        BadTls: A certificate or key cannot be used.
    """
    client = NatsClient(seed, tls_only=tls.is_demanded(url))
    bus = Bus(client)
    login = login_of(url)  # a cluster announces more servers: they need the same user
    watch = _ConnectionWatch(bus)
    try:
        async with asyncio.timeout(connect_s):
            await client.connect(
                servers=url.split(","),
                user=login.user if login.password is not None else None,
                password=login.password,
                token=login.user if login.password is None and not seed else None,
                name=name,
                max_reconnect_attempts=-1,
                reconnect_time_wait=0.25,
                connect_timeout=3,
                ping_interval=PING_S,
                max_outstanding_pings=2,
                pending_size=-1,  # a publish without a connection fails at once; it is not replayed much later
                inbox_prefix=inbox,
                tls=tls.context() if tls.is_demanded(url) or tls.certificate else None,
                signature_cb=client.sign if seed else None,
                error_cb=watch.on_error,
                disconnected_cb=watch.on_disconnected,
                reconnected_cb=watch.on_reconnected,
                closed_cb=watch.on_closed,
            )
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):
            await client.close()
        raise
    except (nats.errors.Error, TimeoutError, OSError) as error:
        with contextlib.suppress(Exception):
            await client.close()
        kind = BusRefused if watch.is_refused else Unavailable
        raise kind(_refusal(url, tls, watch, error, connect_s)) from error
    watch.opened()
    guard = asyncio.create_task(_close_if_stuck(client, bus), name="bus-guard")
    try:
        yield bus
    finally:
        guard.cancel()
        watch.is_open = False
        closing = asyncio.create_task(_close(client), name="close-bus")
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            await closing  # a half closed client would reconnect without end
            raise


class _ConnectionWatch:
    """Receives the events of a connection: logs them, and tells the ``Bus``."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._refusal = ""
        self.is_refused = False
        """Whether the credentials or a certificate are why there is no connection."""
        self.is_open = False
        """Whether errors are logged. Those before the connection is open are in ``trouble`` alone."""
        self.trouble: str | None = None
        """The last error since the last connection."""
        self.is_broken = False
        """Whether the last error was that the server closed the connection."""

    def opened(self) -> None:
        """Log errors from now on."""
        self.is_open, self.trouble, self._refusal = True, None, ""

    async def on_error(self, error: Exception) -> None:
        self.is_broken = isinstance(error, BrokenPipeError | ConnectionResetError)
        if "permissions violation" in str(error).lower():
            log.error("bus permission denied", error=str(error))
            return
        before, self.trouble = self.trouble, complaint(error) or str(error) or type(error).__name__
        # A server that refuses us closes the connection at once, and its reason may get lost: one try reports the
        # reason, the next one only a broken pipe.
        if is_mistrust(error) or REFUSED in self.trouble.lower():
            self.is_refused = True
        if complaint(error) or REFUSED in self.trouble.lower():
            self._refusal = self.trouble
        elif self._refusal and not self.is_open:
            self.trouble = self._refusal
        if self.is_open and self.trouble != before:  # while the bus is down, the client reports every try
            log.warning("bus connection failed", error=self.trouble)

    async def on_disconnected(self) -> None:
        if not self._bus.client.is_closed and not self._bus.client.is_draining:
            log.warning("bus connection lost")

    async def on_reconnected(self) -> None:
        self.trouble = None
        log.info("bus connection restored")
        self._bus.generation += 1
        for event in self._bus.wake_on_reconnect:
            event.set()

    async def on_closed(self) -> None:
        self._bus.closed.set()


def _refusal(url: str, tls: Tls, watch: _ConnectionWatch, error: BaseException, connect_s: float) -> str:
    """Say why there is no connection, and what to do."""
    reason = watch.trouble or str(error) or f"silence for {connect_s:g} s"
    if watch.is_broken and tls.is_demanded(url) and not tls.certificate:
        reason += "; it may require a client certificate: FASTFLOW_NATS_CERTIFICATE"
    if REFUSED in reason.lower():
        return f"the NATS server at {redacted(url)} refuses these credentials; check them."
    return f"no NATS server answers at {redacted(url)} ({reason}); start one or check the address and credentials."


async def _close_if_stuck(client: NatsClient, bus: Bus) -> None:
    """Report a connection that works no more as closed, so that its service opens another."""
    await client.until_stuck()
    log.error("bus connection replaced", reason="it is stuck: the server answers others")
    bus.closed.set()


async def _close(client: NatsClient) -> None:
    """Send what is buffered, then close the connection."""
    with contextlib.suppress(nats.errors.Error, TimeoutError):
        async with asyncio.timeout(ANSWER_S):
            await client.flush()
    await client.close()
