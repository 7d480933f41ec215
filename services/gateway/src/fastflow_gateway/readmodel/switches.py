"""The schedules that people switched off. A data structure: no I/O."""

from __future__ import annotations

from fastflow_contracts.bus.subjects import JobRef


class Switches:
    """Switches by job. ``put`` every version; older versions than the known one are ignored."""

    def __init__(self) -> None:
        self.off: set[JobRef] = set()
        self._revisions: dict[JobRef, int] = {}

    def put(self, job: JobRef, revision: int, *, is_on: bool) -> None:
        if revision <= self._revisions.get(job, 0):
            return
        self._revisions[job] = revision
        if is_on:
            self.off.discard(job)
        else:
            self.off.add(job)

    def clear(self) -> None:
        self.off.clear()
        self._revisions.clear()
