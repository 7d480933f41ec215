"""What an installation gives to runs of pipelines that set no limits, and what a pipeline may demand. Pure.

A syncer refuses a version that demands more. A scheduler applies the policy to each run, so it also holds for versions
from before.
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from fastflow_contracts.bus import patterns

N = TypeVar("N", int, float)


class LimitPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Defaults and maxima; None: there is none. A timeout of 0 is no timeout."""

    cpu_default: float | None = None
    """Cores."""
    memory_default: int | None = None
    """Bytes."""
    timeout_default: float = 0.0
    """Seconds."""
    cpu_max: float | None = None
    memory_max: int | None = None
    timeout_max: float | None = None
    trigger_subjects: tuple[str, ...] = ()
    """Subjects on which messages may start runs; none: all that are not our own."""

    def subject_fault(self, subject: str) -> str | None:
        """Return which subjects a trigger may have, unless *subject* is one of them."""
        if not self.trigger_subjects or any(patterns.covers(each, subject) for each in self.trigger_subjects):
            return None
        return f"a subject below {', '.join(self.trigger_subjects)} here (FASTFLOW_TRIGGER_SUBJECTS)"

    def cpu(self, own: float | None) -> float | None:
        """Return the CPU limit in cores of a run whose pipeline sets *own*."""
        return _bounded(self.cpu_default if own is None else own, self.cpu_max)

    def memory(self, own: int | None) -> int | None:
        """Return the memory limit in bytes of a run whose pipeline sets *own*."""
        return _bounded(self.memory_default if own is None else own, self.memory_max)

    def timeout(self, own: float | None) -> float:
        """Return the timeout in seconds of an attempt whose pipeline sets *own*; 0: none."""
        return _bounded((self.timeout_default if own is None else own) or None, self.timeout_max) or 0.0


NO_POLICY: Final = LimitPolicy()
"""Neither defaults nor maxima."""


def _bounded(value: N | None, most: N | None) -> N | None:
    if value is None or most is None:
        return most if value is None else value
    return min(value, most)
