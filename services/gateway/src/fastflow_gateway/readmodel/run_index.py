"""All known runs, newest first: filters, pages, totals. A data structure: no I/O, no clock.

Runs are kept encoded: about a kilobyte each, half of what objects take; a read decodes the few it needs. Bounded:
beyond ``RUNS_MAX`` the oldest run that is over is forgotten. It still counts in the totals, and the bus still finds it
by its id.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice, product
from typing import Final, NamedTuple, TypeAlias

import msgspec

from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.ids import BadRunId, RunId, check_run_id
from fastflow_contracts.runs.run import RUN, RunRecord, RunStatus, TriggeredBy
from fastflow_gateway.readmodel.positions import Position, Positions
from fastflow_gateway.views.run_counts import RunCounts

RUNS_MAX: Final = 100_000
"""About 100 MB."""

OVER: Final = (RunStatus.SUCCESS, RunStatus.FAILED, RunStatus.INTERRUPTED)
_Group: TypeAlias = tuple[str | None, RunStatus | None, TriggeredBy | None]
"""A pipeline, a status and what triggered; None = any."""


class BadCursor(FastFlowError):
    """The text is not a cursor from a page of runs."""


class KnownRun(NamedTuple):
    """The newest known version of a run, and the revision of its record."""

    run: RunRecord
    revision: int


class _Row(msgspec.Struct, frozen=True, gc=False):
    """An encoded ``KnownRun`` beside what decides whether a version is newer, and its groups.

    Without ``gc``: the garbage collector would have to visit every row.
    """

    revision: int
    status: RunStatus
    encoded: bytes

    @property
    def run(self) -> RunRecord:
        return RUN.decode(self.encoded)


class RunFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs; None = any. Both dates are inclusive and compared with ``created_at``."""

    pipeline: str | None = None
    status: RunStatus | None = None
    triggered_by: TriggeredBy | None = None
    since: datetime | None = None
    until: datetime | None = None


class RunIndex:
    """All known runs. ``put`` every version, oldest first; older versions than the known one are ignored."""

    def __init__(self, *, runs_max: int = RUNS_MAX) -> None:
        self._runs_max = runs_max
        self._rows: dict[RunId, _Row] = {}
        self._orders: defaultdict[_Group, Positions] = defaultdict(Positions)
        """Every run is in the groups of each choice of its pipeline, its status and its trigger. So no question looks
        at runs that it does not ask for, and a change costs the same however many runs are active."""
        self._children: defaultdict[RunId, Positions] = defaultdict(Positions)
        self._counts: dict[str, RunCounts] = defaultdict(RunCounts)
        self._by_version: dict[tuple[str, str], dict[RunStatus, int]] = {}
        """By pipeline and bundle."""

    def put(self, run: RunRecord, revision: int) -> bool:
        """Store a version of a run. Returns whether it is newer than the known one."""
        previous = self._rows.get(run.id)
        if previous is not None and previous.revision >= revision:
            return False
        # First what may fail on an invalid record, so that nothing is half stored.
        row, position = _Row(revision, run.status, RUN.encode(run)), _position(run)
        old = previous.run if previous is not None else None
        if old is not None and _fixed(old) != _fixed(run):
            self.remove(run.id)  # no version of a run changes them, but anyone with the bus may write one that does
            previous = old = None
        self._count(run)
        if old is None:
            for group in _groups(run, None):
                self._orders[group].add(position)
            if run.order.parent_run_id is not None:
                self._children[run.order.parent_run_id].add(position)
        else:
            self._count(old, times=-1)
        if previous is None or previous.status is not run.status:
            for group in _groups(run, run.status):
                self._orders[group].add(position)
            if previous is not None:
                self._drop(position, _groups(run, previous.status))
        self._rows[run.id] = row
        if len(self._rows) > self._runs_max:
            self._forget_oldest()
        return True

    def remove(self, run_id: RunId) -> None:
        """Remove a run whose record is deleted."""
        known = self.get(run_id)
        if known is not None:
            self._count(known.run, times=-1)
            self._forget(known.run)

    def get(self, run_id: RunId) -> KnownRun | None:
        row = self._rows.get(run_id)
        return None if row is None else KnownRun(row.run, row.revision)

    def ids_beginning(self, prefix: str) -> list[RunId]:
        """Ids of runs that begin with *prefix*, sorted."""
        return sorted(run_id for run_id in self._rows if run_id.startswith(prefix))

    def page(self, query: RunFilter, *, limit: int, cursor: str | None = None) -> tuple[list[RunRecord], str | None]:
        """At most *limit* runs, newest first, and the cursor of the next page; None on the last page."""
        found: list[RunRecord] = []
        for run in self._newest_first(query, cursor):
            if len(found) == limit:
                return found, _cursor(_position(found[-1]))
            found.append(run)
        return found, None

    def ids_matching(self, query: RunFilter) -> list[RunId]:
        """The ids of all runs that match, oldest first. It decodes none of them."""
        return list(self._ids_newest_first(query, None))[::-1]

    def latest(self, pipeline: str, number: int) -> list[RunRecord]:
        """The newest *number* runs of one pipeline, newest first."""
        return [self._rows[run_id].run for _, run_id in islice(self._order(pipeline).newest_first(), number)]

    def children(self, parent: RunId, number: int) -> list[RunRecord]:
        """The first *number* runs that *parent* started, oldest first."""
        known = self._children.get(parent, Positions())
        return [self._rows[run_id].run for _, run_id in islice(known.oldest_first(), number)]

    def count(self, status: RunStatus) -> int:
        """How many known runs have this status."""
        return len(self._order(status=status))

    def counts(self, pipeline: str) -> RunCounts:
        """The totals of a pipeline: a live view, not a copy."""
        return self._counts.get(pipeline) or RunCounts()

    def counts_of_version(self, pipeline: str, bundle: str) -> dict[RunStatus, int]:
        """How many runs of one version there were, by status; a status without runs may be missing."""
        return dict(self._by_version.get((pipeline, bundle), {}))

    def all_counts(self) -> dict[str, RunCounts]:
        """Totals by pipeline, for all that ever had a run."""
        return dict(self._counts)

    def __len__(self) -> int:
        return len(self._rows)

    def _newest_first(self, query: RunFilter, cursor: str | None) -> Iterator[RunRecord]:
        return (self._rows[run_id].run for run_id in self._ids_newest_first(query, cursor))

    def _ids_newest_first(self, query: RunFilter, cursor: str | None) -> Iterator[RunId]:
        at_least = None if query.since is None else (_microseconds(query.since), RunId(""))
        ends = [] if query.until is None else [(_microseconds(query.until), RunId("~"))]
        if cursor is not None:
            ends.append(_parse_cursor(cursor))
        order = self._order(query.pipeline, query.status, query.triggered_by)
        for _, run_id in order.newest_first(at_least=at_least, below=min(ends, default=None)):
            yield run_id

    def _order(
        self, pipeline: str | None = None, status: RunStatus | None = None, triggered_by: TriggeredBy | None = None
    ) -> Positions:
        """The positions of all runs of a group."""
        return self._orders.get((pipeline, status, triggered_by)) or Positions()

    def _count(self, run: RunRecord, *, times: int = 1) -> None:
        self._counts[run.pipeline].count(run, times=times)
        of_version = self._by_version.setdefault((run.pipeline, run.order.bundle), {})
        of_version[run.status] = of_version.get(run.status, 0) + times
        if not any(of_version.values()):
            del self._by_version[run.pipeline, run.order.bundle]

    def _forget_oldest(self) -> None:
        heads = [order.oldest for status in OVER if (order := self._order(status=status))]
        if heads:
            self._forget(self._rows[min(heads)[1]].run)

    def _forget(self, run: RunRecord) -> None:
        status = self._rows.pop(run.id).status
        self._drop(_position(run), (*_groups(run, None), *_groups(run, status)))
        parent = run.order.parent_run_id
        if parent is not None:
            siblings = self._children[parent]
            siblings.remove(_position(run))
            if not siblings:
                del self._children[parent]

    def _drop(self, position: Position, groups: Iterable[_Group]) -> None:
        for group in groups:
            order = self._orders[group]
            order.remove(position)
            if not order:
                del self._orders[group]


def _groups(run: RunRecord, status: RunStatus | None) -> Iterator[_Group]:
    """The groups of *run* among those with this *status*."""
    return product((None, run.pipeline), (status,), (None, run.order.triggered_by))


def _fixed(run: RunRecord) -> tuple[object, ...]:
    """What no version of a run changes, and groups depend on."""
    return run.pipeline, run.created_at, run.order.triggered_by, run.order.parent_run_id


def _position(run: RunRecord) -> Position:
    return _microseconds(run.created_at), run.id


def _microseconds(at: datetime) -> int:
    # Not timestamp(): a float cannot tell neighbouring microseconds apart, and a cursor must be exact.
    since = at.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _cursor(position: Position) -> str:
    return f"{position[0]}-{position[1]}"


def _parse_cursor(text: str) -> Position:
    match = re.fullmatch(r"(-?[0-9]{1,18})-(.{36})", text)
    try:
        if match:
            return int(match[1]), check_run_id(match[2])
    except BadRunId:
        pass
    raise BadCursor("cursor is not the next_cursor of a page of runs; leave it out for the newest runs.")
