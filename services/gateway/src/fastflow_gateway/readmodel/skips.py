"""The newest skips (starts that were refused): all of them, by pipeline, and by the run whose end asked for them.

A data structure: no I/O. A pipeline with skips all day does not push out those of another pipeline or of a run from
their pages; from the list of all, the oldest leave first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from itertools import dropwhile
from typing import Final

import msgspec
from cachetools import LRUCache
from msgspec.structs import replace

from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.ids import RunId
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.messages import SkipRecord
from fastflow_contracts.runs.run import TriggeredBy

EACH_MAX: Final = 20
"""Skips kept for one pipeline, and for one run."""
PLACES_MAX: Final = 2_000
"""Pipelines and runs that are kept; beyond that the least recently used is forgotten."""
SKIPS_MAX: Final = 20_000
"""Skips that are listed; beyond that the oldest is on the bus only."""


class BadSkipCursor(FastFlowError):
    """The text is not a cursor from a page of skips."""


class SkipFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which skips to list; None matches all."""

    pipeline: str | None = None
    reason: str | None = None
    """A part of the reason, in any case."""
    triggered_by: TriggeredBy | None = None
    is_open: bool | None = None
    """True: not redriven yet."""

    def matches(self, skip: SkipRecord) -> bool:
        return (
            (self.pipeline is None or skip.pipeline == self.pipeline)
            and (self.reason is None or self.reason.lower() in skip.reason.lower())
            and (self.triggered_by is None or skip.triggered_by == self.triggered_by)
            and (self.is_open is None or self.is_open == (skip.redriven_as is None))
        )


class Skips:
    """The newest skips. ``put`` every entry, oldest first; one with a known id replaces that."""

    def __init__(self) -> None:
        self._all: OrderedDict[str, SkipRecord] = OrderedDict()
        self._open: set[str] = set()
        self._places: LRUCache[tuple[str, str], OrderedDict[str, SkipRecord]] = LRUCache(PLACES_MAX)
        self._unnamed = 0

    def put(self, skip: SkipRecord) -> None:
        key = skip.id
        if key is None:  # of an older version
            self._unnamed += 1
            key = RunId(f"unnamed-{self._unnamed}")
        is_new = key not in self._all
        if forgotten := _note(self._all, key, skip, most=SKIPS_MAX):
            self._open.discard(forgotten)
        if skip.redriven_as is None:
            self._open.add(key)
        else:
            self._open.discard(key)
        self._note(("pipeline", skip.pipeline), key, skip, is_new=is_new)
        if skip.parent_run_id is not None:
            self._note(("run", skip.parent_run_id), key, skip, is_new=is_new)

    def started(self, run_id: RunId) -> None:
        """Note that there is a run with the id of a skip: its sender repeated it."""
        skip = self._all.get(run_id)
        if skip is not None and skip.redriven_as is None:
            self.put(replace(skip, redriven_as=run_id))

    def get(self, skip_id: RunId) -> SkipRecord | None:
        """The skip with this id, which is also that of the run it would have been."""
        return self._all.get(skip_id)

    @property
    def open(self) -> int:
        """How many listed skips are not redriven."""
        return len(self._open)

    def listed(self, wanted: SkipFilter) -> Iterator[SkipRecord]:
        """The skips that match, newest first."""
        return filter(wanted.matches, reversed(self._all.values()))

    def page(self, wanted: SkipFilter, *, limit: int, cursor: str | None = None) -> tuple[list[SkipRecord], str | None]:
        """At most *limit* skips, newest first, and the cursor of the next page; None on the last page.

        Raises ``BadSkipCursor``.
        """
        if cursor is not None and cursor not in self._all:
            raise BadSkipCursor("cursor is not the next_cursor of a page of skips, or too old; leave it out.")
        keys: Iterator[str] = reversed(self._all)
        if cursor is not None:
            keys = dropwhile(lambda key: key != cursor, keys)
            next(keys)
        found: list[SkipRecord] = []
        last: str | None = None
        for key in keys:
            if wanted.matches(self._all[key]):
                if len(found) == limit:
                    return found, last
                found.append(self._all[key])
                last = key
        return found, None

    def pipelines(self) -> set[str]:
        """The names of all pipelines with skips."""
        return {skip.pipeline for skip in self._all.values()}

    def of(self, pipeline: PipelineName, number: int) -> list[SkipRecord]:
        """The newest *number* skips of *pipeline*, newest first."""
        return self._newest(("pipeline", pipeline), number)

    def after(self, run_id: RunId, number: int) -> list[SkipRecord]:
        """The newest *number* skips that the end of this run asked for, newest first."""
        return self._newest(("run", run_id), number)

    def clear(self) -> None:
        self._all.clear()
        self._open.clear()
        self._places.clear()

    def _newest(self, place: tuple[str, str], number: int) -> list[SkipRecord]:
        return list(reversed(self._places.get(place, OrderedDict()).values()))[:number]

    def _note(self, place: tuple[str, str], key: str, skip: SkipRecord, *, is_new: bool) -> None:
        kept = self._places.setdefault(place, OrderedDict())
        if is_new or key in kept:  # an older one that is redriven does not come back as the newest
            _note(kept, key, skip, most=EACH_MAX)


def _note(kept: OrderedDict[str, SkipRecord], key: str, skip: SkipRecord, *, most: int) -> str | None:
    """Add *skip*. Returns the key of the oldest if that had to leave."""
    kept[key] = skip  # one that is there keeps its place
    return kept.popitem(last=False)[0] if len(kept) > most else None
