"""Wakes handlers that wait for a change. A data structure: no I/O."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterator

from fastflow_contracts.ids import RunId


class Watchers:
    """Events that a change sets: of one run, or of anything that pages show."""

    def __init__(self) -> None:
        self._of_run: defaultdict[RunId, set[asyncio.Event]] = defaultdict(set)
        self._of_all: set[asyncio.Event] = set()

    @contextlib.contextmanager
    def of_run(self, run_id: RunId, wake: asyncio.Event | None = None) -> Iterator[asyncio.Event]:
        """Yield an event that every change of the run sets. Clear it, look, then wait: no change is missed."""
        wake = wake or asyncio.Event()
        self._of_run[run_id].add(wake)
        try:
            yield wake
        finally:
            self._of_run[run_id].discard(wake)
            if not self._of_run[run_id]:
                del self._of_run[run_id]

    @contextlib.contextmanager
    def of_all(self, wake: asyncio.Event) -> Iterator[None]:
        """Set *wake* at every change of what pages show."""
        self._of_all.add(wake)
        try:
            yield
        finally:
            self._of_all.discard(wake)

    def run_changed(self, run_id: RunId) -> None:
        """Wake everyone who waits for this run."""
        for wake in self._of_run.get(run_id, ()):
            wake.set()

    def anything_changed(self) -> None:
        """Wake everyone who waits for any change."""
        for wake in self._of_all:
            wake.set()
