"""The listening sockets: accepts connections while there is room for them. I/O.

asyncio's own server accepts up to a backlog at once and counts nothing: a burst of connections would take every
descriptor of the process. Here each connection is counted before it is taken, and a reserve of descriptors stays for
the process's own work.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import resource
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from fastflow_contracts.log import get_logger
from fastflow_gateway.http.connections import SWEEP_S, Connections
from fastflow_gateway.http.protocol import refusal, remote_address

log = get_logger(__name__)

BACKLOG: Final = 1024
"""Connections that may wait for acceptance: after a restart every client reconnects at once."""
ANY_IPV6: Final = "::"
RESERVE: Final = 256
"""Descriptors for the process's own work: the bus, files, and under ``fastflow up`` the other services."""
CONNECTIONS_MAX: Final = 4_096
"""Connections where no setting and no limit of the system says less."""
RETRY_S: Final = 0.1
"""Pause after the system refused a connection."""
SAY_S: Final = 10.0
"""Shortest time between two log lines about refused connections."""

_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_FULL: Final = refusal(503, "Service Unavailable", "too many connections are open here; close some, or try again.")


def connections_room(wanted: int) -> int:
    """How many connections there is room for, after the limit of descriptors is raised as far as they need.

    Args:
        wanted: Connections to make room for; 0 = ``CONNECTIONS_MAX``.
    """
    wanted = wanted or CONNECTIONS_MAX
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + RESERVE
    if soft != resource.RLIM_INFINITY and soft < needed:
        raised = needed if hard == resource.RLIM_INFINITY else min(hard, needed)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < needed:
            log.info("connections bounded", descriptors=soft, wanted=wanted)
    room = wanted if soft == resource.RLIM_INFINITY else max(soft - RESERVE, soft // 2)
    return min(wanted, room)


@contextlib.asynccontextmanager
async def listening(
    sockets: Sequence[socket.socket], connections: Connections, protocol: Callable[[], asyncio.Protocol]
) -> AsyncIterator[tuple[str, int]]:
    """Accept connections at *sockets*, which stay open; yield the address and the port of the first one."""
    async with contextlib.AsyncExitStack() as stack:
        group = await stack.enter_async_context(asyncio.TaskGroup())
        tasks = [group.create_task(_accept(each, connections, protocol), name="accept") for each in sockets]
        tasks.append(group.create_task(_sweep(connections), name="sweep"))
        try:
            yield sockets[0].getsockname()[:2]
        finally:
            for each in tasks:
                each.cancel()


async def open_sockets(host: str, port: int) -> list[socket.socket]:
    """Listen at every address of *host*: a connection waits until ``listening`` accepts it.

    Args:
        host: ``::`` means every address, IPv4 too.
        port: 0 = any free one, the same at every address.

    Raises:
        OSError: An address cannot be used.
    """
    if host == ANY_IPV6 and socket.has_dualstack_ipv6():
        made = socket.create_server((ANY_IPV6, port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG)
        made.setblocking(False)
        return [made]
    if host == ANY_IPV6:
        log.warning("ipv4 address not opened", host=host, reason="this system has no sockets for both")
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, (name, _, *scope) in dict.fromkeys(found):
            sockets.append(socket.create_server((name, port, *scope), family=family, backlog=BACKLOG))
            sockets[-1].setblocking(False)
            port = sockets[0].getsockname()[1]
    except OSError:
        for each in sockets:
            each.close()
        raise
    return sockets


async def _accept(listener: socket.socket, connections: Connections, protocol: Callable[[], asyncio.Protocol]) -> None:
    loop, said_at_s = asyncio.get_running_loop(), float("-inf")

    def say(reason: str) -> None:
        nonlocal said_at_s
        if loop.time() - said_at_s > SAY_S:
            said_at_s = loop.time()
            log.warning("connections refused", open=len(connections), reason=reason)

    while True:
        try:
            accepted, peer = await loop.sock_accept(listener)
        except OSError as error:
            if error.errno in _EXHAUSTED:
                say(f"the system gives no more: {error.strerror}")
                connections.drop_one()
                await asyncio.sleep(RETRY_S)
            continue  # else the client left before it was accepted
        if not connections.admit(connections.client(remote_address(peer))):
            say("there is no room")
            _refuse(accepted)
            await asyncio.sleep(0)  # sock_accept gives way to nobody while connections wait
            continue
        try:
            await loop.connect_accepted_socket(protocol, accepted)
        except OSError:
            accepted.close()


def _refuse(accepted: socket.socket) -> None:
    """Say why in one packet, and close."""
    with accepted, contextlib.suppress(OSError):
        accepted.setblocking(False)
        accepted.send(_FULL)


async def _sweep(connections: Connections) -> None:
    while True:
        await asyncio.sleep(SWEEP_S)
        connections.check(asyncio.get_running_loop().time())
