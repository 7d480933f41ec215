"""nats-py's client with what it does wrong put right. Nothing of ours lives here; the typed bus is ``wire``'s."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from fastflow_contracts.bus import nkeys

T = TypeVar("T")


class MendedClient(Client):
    """*seed*: the NKEY that proves who this is, "" = none. *tls_only*: speak to nobody in the open."""

    def __init__(self, seed: str, *, tls_only: bool) -> None:
        super().__init__()
        self._seed = seed
        self._tls_only = tls_only
        if seed:
            # The client would take it from the `nkeys` package alone; see `nkey`.
            self._public_nkey = nkeys.public_key(seed)

    def sign(self, nonce: str) -> bytes:
        return nkeys.sign(self._seed, nonce)

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        """As inherited, but a server that would have our secrets in the open is left before it gets them."""
        if initial_connection and self._tls_only and not info.get("tls_required"):
            raise nats.errors.Error("it does not ask for TLS, which is wanted here")
        await super()._process_info(info, initial_connection)

    async def connect(self, *args: Any, **kwargs: Any) -> None:
        """As inherited, but no cancellation is lost: see ``_kept``."""
        await _kept(super().connect(*args, **kwargs))

    async def close(self) -> None:
        """As inherited, but the last connection is closed, too, if it was made after the client had been closed by a
        server that refused it.
        """
        await super().close()
        if self._transport is not None:
            self._transport.close()  # type: ignore[no-untyped-call]

    async def request(self, *args: Any, **kwargs: Any) -> Msg:
        """As inherited, but no cancellation is lost: see ``_kept``."""
        return await _kept(super().request(*args, **kwargs))

    async def _process_pong(self) -> None:
        """As inherited, but an answer to one who waits no more is dropped, where it ended the reading of this
        connection.
        """
        if self._pongs and self._pongs[0].done():
            self._pongs.pop(0)
        else:
            await super()._process_pong()

    async def _connect_to_server(self, s: Any) -> None:
        """As inherited, but a connection whose handshake failed is closed: else the next one only takes its place, and
        as long as a server accepts and says nothing, every try leaves a socket open. And a task that was cancelled
        connects no more: where that was lost on the way (see ``_kept``) it would go on for ever.
        """
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise asyncio.CancelledError
        if self._transport is not None:
            self._transport.close()  # type: ignore[no-untyped-call]
        await super()._connect_to_server(s)


async def _kept(step: Awaitable[T]) -> T:
    """What *step* comes to, unless the task was cancelled meanwhile. Before Python 3.12 ``wait_for``, with which the
    client waits, loses a cancellation that meets the end of what it waits for; then a service would go on for ever.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    outcome = await step
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError
    return outcome
