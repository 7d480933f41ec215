"""What the pump observed of one attempt besides its output. Data only; ``attempts.outcome`` evaluates it."""

from __future__ import annotations

from datetime import datetime

import msgspec


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen while the attempt ran."""

    started_at: datetime | None = None
    last_error_line: str = ""
    """Last non-empty line on stderr, masked: usually the exception."""
    timeout_s: float = 0.0
    memory_bytes_limit: int | None = None
    """The pipeline's own."""
    memory_bytes_max: int | None = None
    """The most that its runner gives to one sandbox."""
    memory_bytes_peak: int | None = None
    cpu_cores_peak: float | None = None
    warnings: tuple[str, ...] = ()
    log_sequence: int = 0
    cell_sequence: int = 0
    has_no_result: bool = False
    """A notebook ended because the value of its tagged cell cannot be the result of the run."""
