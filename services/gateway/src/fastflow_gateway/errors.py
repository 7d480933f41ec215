"""What ends a request with an answer of its own. Nothing else may live here."""

from __future__ import annotations

from collections.abc import Mapping

from fastflow_contracts.errors import FastFlowError


class RequestRefused(FastFlowError):
    """The request is not done; becomes an answer of this status with the message as its ``detail``."""

    def __init__(self, status: int, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = dict(headers or {})


def no_pipeline(name: str) -> RequestRefused:
    """The refusal for a pipeline that does not exist."""
    return RequestRefused(404, f"there is no pipeline {name[:80]!r}; GET /api/pipelines lists those there are.")


class Busy(FastFlowError):
    """There are too many followers already."""
