"""The log of requests that are hardly HTTP, without what was sent: it may hold a key. Rules; nothing else logs here."""

from __future__ import annotations

import logging

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError


class _Discreet(logging.Filter):
    """The parser's errors quote the line that they could not read; only their kind is kept."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError | web.RequestPayloadError):
            record.msg, record.args = "a request that is no HTTP was refused: %s", (type(error).__name__,)
            record.exc_info = record.exc_text = None
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


def protocol_logger() -> logging.Logger:
    """For aiohttp's server."""
    log = logging.getLogger(__name__)
    if not any(isinstance(each, _Discreet) for each in log.filters):
        log.addFilter(_Discreet())
    return log
