"""Logging to standard error, to a file and with a traceback."""

import logging
import logging.config

logging.config.dictConfig(
    {
        "version": 1,
        "formatters": {"short": {"format": "%(levelname)s %(name)s %(message)s"}},
        "handlers": {
            "console": {"class": "logging.StreamHandler", "formatter": "short"},
            "file": {"class": "logging.FileHandler", "filename": "run.log", "formatter": "short", "level": "ERROR"},
        },
        "root": {"level": "INFO", "handlers": ["console", "file"]},
    }
)
log = logging.getLogger("shop.orders")
log.debug("hidden")
log.info("read %d rows", 3)
log.warning("äöü")
try:
    {}["missing"]
except KeyError as error:
    log.error("failed: %r", error)
