"""The connection to the bus: how it is opened, what it says while it is down, how it is closed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import nats.js.errors

from fastflow_contracts.bus.client import ANSWER_S, Bus
from fastflow_contracts.bus.errors import Unavailable
from fastflow_contracts.bus.nats_client import MendedClient
from fastflow_contracts.bus.subjects import INBOX
from fastflow_contracts.bus.tls import PLAIN, Tls, complaint

log = logging.getLogger(__name__)

REFUSED = "authorization violation"
"""A server's words for wrong credentials."""

CONNECT_S = 10.0


def redacted(url: str) -> str:
    """*url*, or several separated by commas, without credentials, for logs and messages."""
    return ",".join(re.sub(r"(^|//)[^/]*@", r"\1", each) for each in url.split(","))


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
    """A connection that reconnects for ever; leaving the context flushes and closes it.

    *url*: ``nats://[user:password@]host:port`` or ``tls://…``, several separated by commas. *seed*: the NKEY that
    proves who this is, instead of a password. *inbox*: prefix of the subjects on which answers come
    (``permissions.inbox``). Raises ``Unavailable`` after *connect_s* with the last trouble there was, ``nkey.BadSeed``,
    ``tls.BadTls``. Later trouble is logged, and not again while it stays the same.
    """
    client = MendedClient(seed, tls_only=tls.is_demanded(url))
    bus = Bus(client)
    named = urlsplit(url.partition(",")[0])  # a cluster tells of servers that are not named: they want this, too
    is_open = False
    trouble: str | None = None
    refusal = ""
    has_hung_up = False

    async def on_error(error: Exception) -> None:
        nonlocal trouble, refusal, has_hung_up
        has_hung_up = isinstance(error, BrokenPipeError | ConnectionResetError)
        if "permissions violation" in str(error).lower():
            log.error("the bus denies: %s", error)
            return
        before, trouble = trouble, complaint(error) or str(error) or type(error).__name__
        # A server that refuses us hangs up at once, and its reason may be lost with the connection: one try tells it,
        # the next one only that the pipe is broken.
        if complaint(error) or REFUSED in trouble.lower():
            refusal = trouble
        elif refusal and not is_open:
            trouble = refusal
        if is_open and trouble != before:  # while it is down, the client tells of every try
            log.warning("bus trouble: %s", trouble)

    async def on_disconnected() -> None:
        if not client.is_closed and not client.is_draining:
            log.warning("bus connection lost; reconnecting")

    async def on_reconnected() -> None:
        nonlocal trouble
        trouble = None
        log.info("bus connection is back")
        bus.generation += 1
        for event in bus.wake_on_reconnect:
            event.set()

    async def on_closed() -> None:
        bus.closed.set()

    try:
        async with asyncio.timeout(connect_s):
            await client.connect(
                servers=url.split(","),
                user=named.username if named.password else None,
                password=named.password,
                name=name,
                max_reconnect_attempts=-1,
                reconnect_time_wait=0.25,
                connect_timeout=3,
                ping_interval=5,
                max_outstanding_pings=2,
                pending_size=-1,  # while disconnected a publish fails at once instead of being replayed much later
                inbox_prefix=inbox,
                tls=tls.context() if tls.is_demanded(url) or tls.certificate else None,
                signature_cb=client.sign if seed else None,
                error_cb=on_error,
                disconnected_cb=on_disconnected,
                reconnected_cb=on_reconnected,
                closed_cb=on_closed,
            )
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):
            await client.close()
        raise
    except (nats.errors.Error, TimeoutError, OSError) as error:
        with contextlib.suppress(Exception):
            await client.close()
        reason = trouble or str(error) or f"silence for {connect_s:g} s"
        if has_hung_up and tls.is_demanded(url) and not tls.certificate:
            reason += "; perhaps it wants a certificate of ours: FASTFLOW_NATS_CERTIFICATE"
        if REFUSED in reason.lower():
            raise Unavailable(f"the NATS server at {redacted(url)} refuses these credentials; check them.") from error
        raise Unavailable(
            f"no NATS server answers at {redacted(url)} ({reason}); start one or check the address and credentials."
        ) from error
    is_open, trouble, refusal = True, None, ""
    try:
        yield bus
    finally:
        is_open = False
        closing = asyncio.create_task(_close(client), name="close-bus")
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            await closing  # half closed, it would connect again for ever
            raise


async def _close(client: MendedClient) -> None:
    """Send what is still to be sent, then end the connection."""
    with contextlib.suppress(nats.errors.Error, TimeoutError):
        async with asyncio.timeout(ANSWER_S):
            await client.flush()
    await client.close()
