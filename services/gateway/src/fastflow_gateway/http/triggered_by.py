"""Who starts a run with the token: a person or a program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from fastflow_contracts.runs.run import TriggeredBy

_NAME: Final = "Fastflow-Triggered-By"
HEADER: Final[Mapping[str, str]] = {_NAME: "`manual`: a person starts the run; otherwise a program: `api`."}


def triggered_by(request: web.Request) -> TriggeredBy:
    """The value for the run's record."""
    return "manual" if request.headers.get(_NAME, "").strip().lower() == "manual" else "api"
