"""Log lines and samples of a run."""

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
