"""Log lines, samples and the event of a run."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypeAlias

from fastflow_api.shapes.base import Shape

LogStream: TypeAlias = Literal["system", "stdout", "stderr"]
"""``system``: lines from the runner itself, for example from uv."""


class LogLine(Shape, frozen=True, kw_only=True, omit_defaults=True):
    """One line of a log."""

    ts: datetime
    stream: LogStream
    attempt: int
    line: str
    """Without its line break."""
    more: bool = False
    """The line continues in the next event of this stream."""


class PartialLine(Shape, frozen=True, kw_only=True):
    """Text of a line that is not complete yet. The whole line follows as LogLine."""

    ts: datetime
    stream: LogStream
    attempt: int
    start: int
    """How many characters of the line lie before this text, after the last LogLine of the stream."""
    text: str


class Sample(Shape, frozen=True, kw_only=True):
    """CPU and memory use of one attempt at one moment."""

    ts: datetime
    attempt: int
    cpu_cores: float
    memory_bytes: int
    memory_limit_bytes: int | None
    soft_limit_exceeded: bool


class SampleList(Shape, frozen=True, kw_only=True):
    """Samples of all attempts, oldest first."""

    samples: tuple[Sample, ...]


class RunEvent(Shape, frozen=True, kw_only=True):
    """The event that a run was started with: the body of the call or message."""

    event: str | None
    """As text, with the values of variables and parameters hidden; null: it is not UTF-8."""
    event_base64: str | None
    """The bytes of an event that is not UTF-8."""
    event_bytes: int
    """Size of the event, in bytes."""
    event_type: str | None
    """Its media type."""
    headers: dict[str, str]
    """Headers that say which event it is, names in lower case."""
