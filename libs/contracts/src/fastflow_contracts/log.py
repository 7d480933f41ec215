"""Loggers for all our modules: an event name and ids, on top of the standard library's ``logging``.

``log = get_logger(__name__)``, then ``log.info("sandbox removed", run=run_id, reason="cancelled")``.
``service.logging`` sets up handlers and formats. Without it, events go where the importing program sends its logs.
"""

from __future__ import annotations

import logging
from typing import cast

import structlog


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger called *name*. Keywords of a log call become attributes of the log record.

    Never use a name of the record's own attributes as a keyword: ``name``, ``args``, ``msg``, ``module``, ``process``.
    """
    logger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[structlog.stdlib.filter_by_level, structlog.stdlib.render_to_log_kwargs],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    return cast("structlog.stdlib.BoundLogger", logger)
