"""A typed client for the HTTP API of one installation."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from fastflow_api.connection import TIMEOUT_S, Connection
from fastflow_api.resources.installation import Installation
from fastflow_api.resources.operations import Operations
from fastflow_api.resources.output import Outputs
from fastflow_api.resources.pipelines import Pipelines
from fastflow_api.resources.runs import Runs
from fastflow_api.resources.schedules import Schedules
from fastflow_api.resources.simulations import Simulations
from fastflow_api.resources.skips import RefusedStarts
from fastflow_api.resources.starts import Starts


class Client(Pipelines, Starts, Runs, Outputs, Schedules, Simulations, RefusedStarts, Operations, Installation):
    """A client for one installation, with one method for each route of its API, plus ``wait`` and ``all_runs``.

    Use it with ``async with``, or call ``close`` at the end. Both work in a notebook. The client opens connections at
    the first request, and any number of tasks of one event loop may share it.

    Every method raises ``ApiError``: ``Unreachable`` if nothing answers, ``NotSignedIn`` if the token is wrong, and the
    errors in its own documentation.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Make a client. It sends no request yet.

        Args:
            url: The dashboard's address, such as ``http://127.0.0.1:8000``.
            token: The installation's token. None: only routes that need no token work.
            timeout_s: How long an answer may take, in seconds. Streams have no time limit.
            headers: Sent with every request, for example for a proxy in front of the gateway.
            tls: For an ``https`` address whose certificate the system does not trust.

        Raises:
            ValueError: *url* is not an http or https address, or the token or a header cannot be sent.
        """
        self._connection = Connection(url, token, timeout_s=timeout_s, headers=headers, tls=tls)

    @property
    def url(self) -> str:
        """The address, without a trailing slash."""
        return self._connection.url

    async def close(self) -> None:
        """Close all connections."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
