"""Run ids without a request."""

from __future__ import annotations

import uuid

from fastflow_contracts.ids import RunId


def fresh_run_id() -> RunId:
    """Return an id that no request has."""
    return RunId(str(uuid.uuid4()))
