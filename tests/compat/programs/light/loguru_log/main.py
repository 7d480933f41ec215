"""loguru to standard error and to a file, with a caught error."""

import sys

from loguru import logger

logger.remove()
logger.add(sys.stderr, format="{level} {message}", level="INFO")
logger.add("run.log", format="{level} {name} {message}", serialize=False)
logger.debug("only in the file")
logger.bind(row=3).warning("row {} is {}", 3, "grün")
logger.opt(raw=True).info("raw\n")
with logger.catch(message="failed", level="INFO", onerror=lambda error: print(repr(error))):
    pass
