"""How a process writes its log: lines for people, or JSON. What is logged comes from ``log.get_logger``."""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.typing import EventDict, WrappedLogger

TS_KEY = "ts"


def set_up_logging(*, log_json: bool = False, log_level: str = "INFO") -> None:
    """Send everything to stderr, that of other libraries too.

    Args:
        log_json: one JSON object a line with ``ts``, ``level``, ``event``, ``logger``, and the event's ids; else text.
        log_level: a name of ``logging``; what is below it is dropped.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(log_json=log_json))
    logging.basicConfig(level=log_level.upper(), handlers=[handler], force=True)
    logging.getLogger("nats").setLevel(logging.ERROR)


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
    """``12:00:00 WARNING logger: event key=value key='two words'``, then the traceback if there is one."""
    stamp, level, logger = event.pop(TS_KEY), str(event.pop("level")).upper(), event.pop("logger")
    text, traceback = event.pop("event"), event.pop("exception", None)
    ids = "".join(f" {key}={_value(value)}" for key, value in event.items())
    line = f"{stamp} {level:<7} {logger}: {text}{ids}"
    return f"{line}\n{traceback}" if traceback else line


def _value(value: object) -> str:
    text = str(value)
    return repr(text) if not text or any(letter.isspace() or letter in "'\"=" for letter in text) else text
