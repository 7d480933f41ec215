"""Loggers for every module of ours: an event name and ids, on top of the standard library's ``logging``.

``log = get_logger(__name__)``, then ``log.info("sandbox removed", run=run_id, reason="cancelled")``. Handlers and
formats are set up by ``service.logging``; without that, events go wherever the program that imports us sends its logs.
"""

from __future__ import annotations

import logging
from typing import cast

import structlog


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger called *name*. Its keywords become attributes of the log record.

    They must not be called like one of the record's own: ``name``, ``args``, ``msg``, ``module``, ``process``, …
    """
    logger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[structlog.stdlib.filter_by_level, structlog.stdlib.render_to_log_kwargs],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    return cast("structlog.stdlib.BoundLogger", logger)
