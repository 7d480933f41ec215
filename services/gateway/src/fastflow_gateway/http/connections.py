"""The open connections: how many there may be, and which of them must go. No I/O of its own.

A connection *waits* while its client has to act: nothing was sent, a head or a body is not complete, an answer is not
read, or the last request was answered. A new connection never stands behind such ones: where there is no room, the one
that has waited for longest is closed. So silent and slow clients lock nobody out.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final, Protocol

from aiohttp import web

from fastflow_gateway.security.client_address import ClientAddresses, one_client

SEND_S: Final = 60.0
"""A client that reads nothing of its answer for this long is dropped."""
SWEEP_S: Final = 1.0
"""Time between two looks at all connections."""


class OpenConnection(Protocol):
    """What the limits ask of a connection."""

    client: str
    """Who counts it; empty: a proxy of ours, which brings many clients."""

    def check(self, now_s: float) -> None:
        """Close the connection if the client took too long."""

    def drop(self) -> None:
        """Close the connection."""


class Connections:
    """All open connections.

    Args:
        most: How many may be open.
        most_per_client: How many of them one client address may have.
        addresses: Knows our proxies, whose connections count only in total.
        header_s: Seconds that the head of a request may take.
    """

    def __init__(
        self,
        *,
        most: int,
        most_per_client: int,
        addresses: ClientAddresses,
        header_s: float,
    ) -> None:
        self.header_s = header_s
        self._most = most
        self._most_per_client = most_per_client
        self._addresses = addresses
        self._open: set[OpenConnection] = set()
        self._of: defaultdict[str, set[OpenConnection]] = defaultdict(set)
        self._waiting: dict[OpenConnection, None] = {}
        """In the order in which they began to wait."""
        self._waiting_of: defaultdict[str, dict[OpenConnection, None]] = defaultdict(dict)

    def __len__(self) -> int:
        return len(self._open)

    def client(self, remote: str) -> str:
        """Who counts the connections from the address *remote*; empty for our proxies."""
        return "" if self._addresses.is_proxy(remote) else one_client(remote)

    def admit(self, client: str) -> bool:
        """Make room for one more connection of *client*. Returns whether there is room now."""
        if client and len(self._of.get(client, ())) >= self._most_per_client:
            return self._drop_oldest(self._waiting_of.get(client, {}))
        return len(self._open) < self._most or self.drop_one()

    def drop_one(self) -> bool:
        """Close the connection that has waited for longest. Returns whether there was one."""
        return self._drop_oldest(self._waiting)

    def opened(self, connection: OpenConnection) -> None:
        """Count a new connection, which waits for its first request."""
        self._open.add(connection)
        self._of[connection.client].add(connection)
        self.waits(connection)

    def waits(self, connection: OpenConnection) -> None:
        """The client has to act."""
        if connection in self._open and connection not in self._waiting:
            self._waiting[connection] = self._waiting_of[connection.client][connection] = None

    def works(self, connection: OpenConnection) -> None:
        """The gateway has to act."""
        self._waiting.pop(connection, None)
        if (of_client := self._waiting_of.get(connection.client)) is not None:
            of_client.pop(connection, None)
            if not of_client:
                del self._waiting_of[connection.client]

    def closed(self, connection: OpenConnection) -> None:
        """The connection is closed."""
        self.works(connection)
        self._open.discard(connection)
        if (of_client := self._of.get(connection.client)) is not None:
            of_client.discard(connection)
            if not of_client:
                del self._of[connection.client]

    def check(self, now_s: float) -> None:
        """Close every connection whose client took too long."""
        for each in tuple(self._open):
            each.check(now_s)

    def _drop_oldest(self, waiting: dict[OpenConnection, None]) -> bool:
        if not waiting:
            return False
        oldest = next(iter(waiting))
        self.closed(oldest)  # at once: the transport says it only later
        oldest.drop()
        return True


CONNECTIONS = web.AppKey("CONNECTIONS", Connections)
