"""The base of all groups of methods."""

from __future__ import annotations

from fastflow_api.connection import Connection


class Resource:
    """A group of methods that share one connection."""

    _connection: Connection
