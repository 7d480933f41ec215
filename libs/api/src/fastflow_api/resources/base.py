"""What all groups of methods share."""

from __future__ import annotations

from fastflow_api.connection import Connection


class Resource:
    """A group of methods that ask over one connection."""

    _connection: Connection
