"""The ports that ``fastflow up`` listens on: taken or checked before anything starts. I/O."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import AsyncIterator, Sequence

from fastflow.errors import BadUsage
from fastflow_gateway.app import open_sockets


@contextlib.asynccontextmanager
async def taken_port(host: str, port: int) -> AsyncIterator[tuple[int, Sequence[socket.socket]]]:
    """Listen on *host* and *port* until the end; yield the port and the sockets.

    A port that is only looked at may be gone before it is used: an outgoing connection gets any free one.

    Args:
        host: The address.
        port: The port; 0 = any free one.

    Raises:
        BadUsage: The address cannot be used.
    """
    if ":" in host and not _has_ipv6():
        raise BadUsage(f"cannot listen on {host}: this machine has no IPv6; choose an IPv4 address with --host.")
    with contextlib.ExitStack() as stack:
        try:
            sockets = [stack.enter_context(each) for each in await open_sockets(host, port)]
        except OSError as error:
            raise _cannot_listen(host, port, error, "--port or --host") from None
        yield sockets[0].getsockname()[1], sockets


def check_port(host: str, port: int, *, options: str) -> None:
    """Raise ``BadUsage`` if a port that another program is to open cannot be used.

    Args:
        host: An IPv4 address.
        port: The port.
        options: Which options choose another one.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise _cannot_listen(host, port, error, options) from None


def _cannot_listen(host: str, port: int, error: OSError, options: str) -> BadUsage:
    where = f"{host} port {port}" if port else host
    return BadUsage(f"cannot listen on {where} ({_reason(error)}); choose another with {options}.")


def _reason(error: OSError) -> str:
    """The system's words; asyncio and ``create_server`` add the address to them."""
    if isinstance(error, socket.gaierror) or not error.errno:
        return error.strerror or str(error)
    return os.strerror(error.errno)


def _has_ipv6() -> bool:
    """Whether ``::1`` works. A kernel without IPv6 addresses still accepts ``::``, but no client can connect."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
