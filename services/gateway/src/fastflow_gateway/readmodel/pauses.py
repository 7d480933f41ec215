"""What is paused, as the model knows it. A data structure: no I/O."""

from __future__ import annotations

from fastflow_contracts.pipelines.pauses import NOT_PAUSED, PauseSet


class KnownPauses:
    """The newest version of the pauses. ``put`` every version; older ones than the known one are ignored."""

    def __init__(self) -> None:
        self.now: PauseSet = NOT_PAUSED
        self._revision = 0

    def put(self, pauses: PauseSet, revision: int) -> None:
        if revision > self._revision:
            self.now, self._revision = pauses, revision

    def clear(self) -> None:
        self.now, self._revision = NOT_PAUSED, 0
