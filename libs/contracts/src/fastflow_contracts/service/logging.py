"""Log output of a process: text lines for people, or JSON. Modules log with ``log.get_logger``."""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.typing import EventDict, WrappedLogger

TS_KEY = "ts"


def set_up_logging(*, log_json: bool = False, log_level: str = "INFO") -> None:
    """Send all logs to stderr, including those of other libraries.

    Args:
        log_json: One JSON object per line with ``ts``, ``level``, ``event``, ``logger`` and the event's ids; else text.
        log_level: A level name of ``logging``. Lower levels are dropped.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(log_json=log_json))
    logging.basicConfig(level=log_level.upper(), handlers=[handler], force=True)
    logging.getLogger("nats").setLevel(logging.ERROR)
    # No line shows these, and to find them takes longer than to write the line.
    logging._srcfile = None
    logging.logThreads = logging.logMultiprocessing = logging.logProcesses = False


def _formatter(*, log_json: bool) -> structlog.stdlib.ProcessorFormatter:
    stamp = structlog.processors.TimeStamper(fmt="iso" if log_json else "%H:%M:%S", utc=log_json, key=TS_KEY)
    exception = structlog.processors.ExceptionRenderer()
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.ExtraAdder(),
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            stamp,
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            exception,
            structlog.processors.JSONRenderer(ensure_ascii=False, default=str) if log_json else _for_people,
        ],
    )


def _for_people(_: WrappedLogger, __: str, event: EventDict) -> str:
    """Render ``12:00:00 WARNING logger: event key=value key='two words'``, and the traceback if there is one."""
    stamp, level, logger = event.pop(TS_KEY), str(event.pop("level")).upper(), event.pop("logger")
    text, traceback = event.pop("event"), event.pop("exception", None)
    ids = "".join(f" {key}={_value(value)}" for key, value in event.items())
    line = f"{stamp} {level:<7} {logger}: {text}{ids}"
    return f"{line}\n{traceback}" if traceback else line


def _value(value: object) -> str:
    text = str(value)
    return repr(text) if not text or any(letter.isspace() or letter in "'\"=" for letter in text) else text
