"""Why a run does not run yet, in words. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple, assert_never

from fastflow_api.formatting import exact
from fastflow_contracts.labels import takes
from fastflow_contracts.pipelines.pauses import NOT_PAUSED, PauseRecord, PauseSet
from fastflow_contracts.runs import run as records
from fastflow_contracts.runs.presence import Presence
from fastflow_contracts.runs.run import Ended, Pending, Running

ENVIRONMENT = "its environment: interpreter and packages are being prepared"
NO_RUNNER = "a runner: none is connected"
DAEMON = "a Docker daemon: those of its runners do not answer"
TAKER = "a runner to take it"
_DUE = ", due in "


class PlaceInLine(NamedTuple):
    """Where a run is among those that share its limit."""

    number: int
    """Among the waiting ones, from 1."""
    waiting: int
    running: int


class Capacity(NamedTuple):
    """How many runs may run at once, and how many do."""

    runners: Sequence[Presence] = ()
    """The runners that are alive."""
    running: int = 0
    running_max: int | None = None
    """MAX_CONCURRENT_RUNS when it was last applied. It may be off since then: no record shows that."""
    pauses: PauseSet = NOT_PAUSED
    place_of: Callable[[records.RunRecord], PlaceInLine | None] = lambda _: None
    """Returns the place of a run that has a limit of its own."""


def waiting_on(record: records.RunRecord, *, capacity: Capacity, now: datetime) -> str | None:
    """Why the run's code does not run yet, in words; None if it runs, or never will."""
    match record.state:
        case Ended():
            return None
        case Running(prepared_at=prepared_at):
            return ENVIRONMENT if prepared_at is None else None
        case Pending() if (pause := held_by(record, capacity.pauses)) is not None:
            what = "the installation" if pause is capacity.pauses.installation else record.pipeline
            return f"the end of a pause: {pause_words(what, pause)}"
        case Pending() as state if state.not_before > now:
            seconds = max(1, round((state.not_before - now).total_seconds()))
            return f"{_what_is_due(record)}{_DUE}{_countdown(seconds)}"
        case Pending():
            return _waiting_on_turn(record, capacity) or _waiting_on_room(record, capacity)
        case _:
            assert_never(record.state)


def held_by(record: records.RunRecord, pauses: PauseSet) -> PauseRecord | None:
    """The pause that keeps the run from beginning; None: there is none, or it has begun."""
    return pauses.of(record.pipeline) if isinstance(record.state, Pending) and not record.attempts else None


def pause_words(what: str, pause: PauseRecord) -> str:
    """``etl was paused at 2026-03-01 12:00:00 UTC by Ada: the database is being moved``."""
    return f"{what} was paused at {exact(pause.at)}{f' by {pause.by}' if pause.by else ''}: {pause.reason}"


def without_time(words: str) -> str:
    """The words of ``waiting_on`` without the time, for pages that count it down themselves."""
    return words.partition(_DUE)[0]


def _what_is_due(record: records.RunRecord) -> str:
    """The next step of a run that waits for its time."""
    if record.attempts:
        number, wanted = len(record.attempts) + 1, record.order.retry_attempts + 1
        return f"attempt {number}" + (f" of {wanted}" if number <= wanted else "")  # more after a conflict of states
    return "its restart" if record.order.triggered_by == "daemon_restart" else "its start"


def _waiting_on_turn(record: records.RunRecord, capacity: Capacity) -> str | None:
    """None: it is its turn, as far as its own limit goes."""
    turn, place = record.order.turn, capacity.place_of(record)
    if turn is None or place is None or place.number <= turn.limit - place.running:
        return None
    key = f" for key {turn.key}" if turn.key else ""
    return f"its turn: {_ordinal(place.number)} of {place.waiting}{key} ({place.running} of {turn.limit} running)"


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _waiting_on_room(record: records.RunRecord, capacity: Capacity) -> str:
    staying = [runner for runner in capacity.runners if not runner.leaving]
    fit = [runner for runner in staying if record.order.kind in runner.kinds]
    if not staying:
        return NO_RUNNER
    if not fit:
        return f"a runner that takes {record.order.kind}s: none is connected"
    wanted = record.order.runs_on
    fit = [runner for runner in fit if takes(wanted, runner.labels, only_labelled=runner.only_labelled)]
    if not fit and not wanted:
        return "a runner that takes runs without labels: none is connected"
    if not fit:
        return _labelled_runner(record, [runner.labels for runner in staying])
    ready = [runner for runner in fit if not runner.paused]
    if not ready:
        return DAEMON
    slots, busy = sum(runner.slots for runner in ready), sum(runner.busy for runner in ready)
    if busy >= slots:
        return f"a free runner slot: {busy} of {slots} are busy"
    # Last: with free slots and as many runs as the limit last allowed, the limit is the reason.
    if capacity.running_max is not None and capacity.running >= capacity.running_max:
        return f"the limit on all runs: {capacity.running} of {capacity.running_max} are running (MAX_CONCURRENT_RUNS)"
    return TAKER


def _labelled_runner(record: records.RunRecord, labels: Sequence[Sequence[str]]) -> str:
    """What a run waits for whose labels no runner has that could take it."""
    wanted = record.order.runs_on
    nowhere = [label for label in wanted if not any(label in each for each in labels)]
    if nowhere:
        return f"a runner with the {_named(nowhere)}: none is connected"
    has_them = "has it" if len(wanted) == 1 else "has all"
    return f"a runner with the {_named(wanted)}: none that takes {record.order.kind}s {has_them}"


def _named(labels: Sequence[str]) -> str:
    """``label gpu``, or ``labels gpu and zone-a``."""
    *others, last = labels
    return f"labels {', '.join(others)} and {last}" if others else f"label {last}"


def _countdown(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
