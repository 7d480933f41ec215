"""Waits for the bus at the start of a service, as long as it takes, and says what it waits for. I/O only.

A bus that is away, is starting or lacks its streams comes back, or somebody brings it. Only what a person must change
ends the wait: refused credentials, a certificate that is not trusted, a seed that cannot be read.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from fastflow_contracts.bus.access.nkeys import BadSeed
from fastflow_contracts.bus.access.tls import PLAIN, Tls
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.errors import Unavailable
from fastflow_contracts.bus.permissions import User, inbox
from fastflow_contracts.bus.streams import WrongTopology, verify
from fastflow_contracts.errors import FastFlowError, Fatal
from fastflow_contracts.log import get_logger

log = get_logger(__name__)

PAUSES_S = (0.5, 1.0, 2.0, 5.0)
"""Pauses between two looks. The last one applies to all further looks."""
REMIND_S = 60.0
"""How often a service says again what it waits for."""


@asynccontextmanager
async def bus_ready(url: str, *, user: User, name: str = "", seed: str = "", tls: Tls = PLAIN) -> AsyncIterator[Bus]:
    """Connect to the bus and wait for its streams, without a limit.

    Args:
        url: Address of the bus.
        user: Who connects.
        name: Name of the connection; empty: the user's, with host and process.
        seed: NKEY of *user*; empty: the address contains the credentials.
        tls: Certificates to trust and to show.

    Raises:
        BusRefused: The server refuses the credentials or a certificate.
        FastFlowError: A certificate, key or seed cannot be used.
    """
    wait = _Wait()
    async with AsyncExitStack() as stack:
        while True:
            opening = connect(
                url, name=name or f"{user.value}-{process_identity()}", seed=seed, inbox=inbox(user), tls=tls
            )
            try:
                bus = await stack.enter_async_context(opening)
                break
            except Unavailable as error:
                if isinstance(error, Fatal):
                    raise
                await wait.pause(error)
        while True:
            try:
                await verify(bus.js)
                break
            except (WrongTopology, Unavailable) as error:
                await wait.pause(error)
        yield bus


class _Wait:
    """Pauses that grow, and one log line a minute."""

    def __init__(self) -> None:
        self._looks = 0
        self._said_at: float | None = None

    async def pause(self, reason: FastFlowError) -> None:
        at = asyncio.get_running_loop().time()
        if self._said_at is None or at - self._said_at >= REMIND_S:
            self._said_at = at
            log.warning("start delayed", error=str(reason))
        await asyncio.sleep(PAUSES_S[min(self._looks, len(PAUSES_S) - 1)])
        self._looks += 1


def seed_in(credentials: str) -> str:
    """Read the NKEY seed in a file; empty without a file. Raises ``BadSeed``."""
    if not credentials:
        return ""
    try:
        return Path(credentials).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadSeed(f"the credentials {credentials} cannot be read: {error}.") from None


def process_identity() -> str:
    """Return host and pid, for connection names and logs."""
    return f"{os.uname().nodename}-{os.getpid()}"
