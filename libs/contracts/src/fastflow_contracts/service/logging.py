"""TODO."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime


def set_up_logging(*, log_json: bool = False, log_level: str = "INFO") -> None:
    """One handler on stderr: lines for people, or JSON objects with ts, level, event, logger."""
    handler = logging.StreamHandler(sys.stderr)
    if log_json:
        handler.setFormatter(_JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=log_level.upper(), handlers=[handler], force=True)
    logging.getLogger("nats").setLevel(logging.ERROR)


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
