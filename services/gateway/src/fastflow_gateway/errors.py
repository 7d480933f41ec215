"""Exceptions that end a request with a specific answer, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Mapping

from fastflow_contracts.errors import FastFlowError


class RequestRefused(FastFlowError):
    """The request is refused: the answer has this status, and the message as its ``detail``."""

    def __init__(self, status: int, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = dict(headers or {})


def no_pipeline(name: str) -> RequestRefused:
    """The 404 for a pipeline that does not exist."""
    return RequestRefused(404, f"there is no pipeline {name[:80]!r}; GET /api/pipelines lists all pipelines.")


def no_content(path: str, reason: Exception) -> RequestRefused:
    """The 404 for an artifact that is listed and not stored, or damaged."""
    return RequestRefused(404, f"the content of {path[:80]!r} is not stored any more, or cannot be read: {reason}")


class Busy(FastFlowError):
    """Too many streams are open."""


class CannotListen(FastFlowError):
    """The address cannot be opened."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        reason = os.strerror(error.errno) if error.errno else str(error)
        super().__init__(f"{host}:{port} cannot be opened ({reason}); choose another FASTFLOW_HOST or FASTFLOW_PORT.")
