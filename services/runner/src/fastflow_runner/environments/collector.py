"""Removes unused environments, and marks those in use in the store. I/O.

``prepare.collect``, inside a preparer, decides what to remove and in which order. It scans the whole store, so it runs
only after something was made. Only runners know when an environment was last used. They write it into the store at
least every ``MARK_S``, so that no runner removes what another runner on the same store uses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Final

import msgspec

from fastflow_contracts.log import get_logger
from fastflow_runner.environments.preparation import Words
from fastflow_runner.environments.preparer import EnvironmentFailed, Preparers
from fastflow_runner.environments.store import EnvironmentKey

log = get_logger(__name__)

MARK_S: Final = 600.0
KEEP_S: Final = 3 * MARK_S
"""An environment used within this time stays, however large the store is; longer than any mark takes to arrive."""
SETTLE_S: Final = 60.0
"""Pause between a preparation and the scan of the store: the runs that waited for it go first."""


class _Collected(msgspec.Struct, frozen=True):
    """What ``prepare.collect`` says in one line."""

    gone: str = ""
    """An environment that was removed."""
    foreign: int = 0
    """A user who must delete its own trees; 0: none."""
    used: int | None = None
    """The bytes that the store takes."""


class Collector:
    """Keeps one store within its budget, on behalf of one runner."""

    def __init__(
        self,
        preparers: Preparers,
        budget_bytes: int,
        *,
        builders: range,
        gone: Callable[[EnvironmentKey], None],
        keep_s: float = KEEP_S,
    ) -> None:
        """
        Args:
            budget_bytes: 0 = any amount; then only unreferenced files are removed.
            builders: user ids of builds.
            gone: called with each environment that was removed.
            keep_s: an environment used within this time stays.
        """
        self._preparers = preparers
        self._budget_bytes = budget_bytes
        self._builders = builders
        self._gone = gone
        self._keep_s = keep_s
        self._used: dict[EnvironmentKey, float] = {}
        self._grown = asyncio.Event()
        self._grown.set()  # by this runner before its restart

    def note_use(self, key: EnvironmentKey) -> None:
        """Note that a run is about to use *key*."""
        self._used[key] = monotonic()

    def note_growth(self) -> None:
        """Note that the store has grown."""
        self._grown.set()

    async def keep(self) -> None:
        """Mark used environments, and collect after each growth, until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(MARK_S):
                    await self._grown.wait()
                    await asyncio.sleep(SETTLE_S)
            if self._used or self._grown.is_set():
                await self.collect()

    async def collect(self) -> None:
        """Mark and collect now. What fails is tried again later."""
        used, self._used = self._used, {}
        measure = self._grown.is_set()
        self._grown.clear()
        now, words = monotonic(), Words()
        marks = "".join(f"{key} {now - at:.3f}\n" for key, at in used.items())
        step = ("collect", f"--budget-bytes={self._budget_bytes}", f"--keep-s={self._keep_s:g}")
        try:
            code = await self._preparers.step(words, *(step if measure else ("mark",)), given=marks.encode())
            if code:
                raise EnvironmentFailed(words.last())
        except EnvironmentFailed as error:
            log.warning("unused environments not collected", error=str(error))
            self._used = {**used, **self._used}
            return
        for line in words.lines:
            try:
                await self._act_on(msgspec.json.decode(line, type=_Collected))
            except (msgspec.MsgspecError, EnvironmentFailed) as error:
                log.warning("collector line ignored", line=line, error=str(error))

    async def _act_on(self, collected: _Collected) -> None:
        """One line of a collector."""
        if collected.gone:
            log.info("environment removed", environment=collected.gone)
            self._gone(EnvironmentKey(collected.gone))
        if collected.foreign in self._builders:
            await self._preparers.step(Words(), "remove", user=collected.foreign)
        if collected.used is not None:
            self._look_at(collected.used)

    def _look_at(self, size_bytes: int) -> None:
        if self._budget_bytes and size_bytes > self._budget_bytes:
            # All of them are in use.
            log.warning("environment budget exceeded", size_bytes=size_bytes, budget_bytes=self._budget_bytes)
