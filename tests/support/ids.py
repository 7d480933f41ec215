"""Ids of runs that nobody asked for."""

from __future__ import annotations

import uuid

from fastflow_contracts.ids import RunId


def fresh_run_id() -> RunId:
    """An id that no request has."""
    return RunId(str(uuid.uuid4()))
