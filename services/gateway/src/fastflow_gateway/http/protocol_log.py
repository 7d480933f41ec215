"""The log of input that is not valid HTTP, without the input itself: it may contain a key."""

from __future__ import annotations

import logging

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError


class _WithoutInput(logging.Filter):
    """Keeps only the type of a parser error: its text quotes the input."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError | web.RequestPayloadError):
            record.msg, record.args = "invalid HTTP refused", ()
            record.__dict__["error"] = type(error).__name__
            record.exc_info = record.exc_text = None
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


def protocol_logger() -> logging.Logger:
    """The logger for aiohttp's server."""
    log = logging.getLogger(__name__)
    if not any(isinstance(each, _WithoutInput) for each in log.filters):
        log.addFilter(_WithoutInput())
    return log
