"""A message that decodes can be computed with: its numbers and times are bounded, wherever they are in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, Final

import pytest

from fastflow_contracts.codec import Malformed
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.spec import PipelineSpec
from fastflow_contracts.pipelines.records import PIPELINE, PipelineRecord, Version
from fastflow_contracts.schedules.state import SCHEDULE_STATE, settled
from tests.support.corruption import reread
from tests.support.records import T0
from tests.unit.contracts.test_golden import KINDS, MAPS, lines

TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)")
OF_PEOPLE: Final = {"schedule_start", "schedule_end", "run_once_at"}
"""Times that people write: 0001 and 9999 are fine there."""
NUMBERS: Final = (10**30, -(10**30), 1e308, -1e308)
TIMES: Final = ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z")
NAIVE: Final = "2026-01-01T00:00:00"


def places(tree: Any, *above: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the way to each value in *tree*."""
    for place in tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ():
        if place not in MAPS:
            yield (*above, place)
            yield from places(tree[place], *above, place)


def replaced(tree: Any, way: tuple[Any, ...], value: Any) -> bytes:
    changed = deepcopy(tree)
    inner = changed
    for place in way[:-1]:
        inner = inner[place]
    inner[way[-1]] = value
    return json.dumps(changed).encode()


def value_at(tree: Any, way: tuple[Any, ...]) -> Any:
    for place in way:
        tree = tree[place]
    return tree


@pytest.mark.parametrize("kind", KINDS)
def test_no_number_is_too_large_to_compute_with(kind: str) -> None:
    """It would overflow in a sum, in a time, or in the JSON of an answer."""
    for tree in map(json.loads, lines(kind)):
        for way in places(tree):
            if type(value_at(tree, way)) in (int, float):
                for number in NUMBERS:
                    with pytest.raises(Malformed):
                        print(way, KINDS[kind].decode(replaced(tree, way, number)))


@pytest.mark.parametrize("kind", KINDS)
def test_no_time_is_at_the_end_of_the_calendar_or_without_a_zone(kind: str) -> None:
    """Adding a day to it, changing its zone, or comparing it would fail."""
    for tree in map(json.loads, lines(kind)):
        for way in places(tree):
            value = value_at(tree, way)
            if isinstance(value, str) and TIME.fullmatch(value):
                for time in (NAIVE,) if way[-1] in OF_PEOPLE else (NAIVE, *TIMES):
                    with pytest.raises(Malformed):
                        print(way, KINDS[kind].decode(replaced(tree, way, time)))


@pytest.mark.parametrize("time", TIMES)
def test_people_may_write_the_ends_of_the_calendar(time: str) -> None:
    """As "always" and "never" in a pipeline.json. The state of such a schedule can be read again."""
    spec = PipelineSpec(schedule_interval_seconds=60, schedule_start=T0, schedule_end=T0, run_once_at=T0)
    record = PipelineRecord(name=PipelineName("demo"), seen_at=T0, live=Version(bundle="b", spec=spec, live_since=T0))
    tree = json.loads(PIPELINE.encode(record))
    for field in OF_PEOPLE:
        tree["live"]["spec"][field] = time
    live = PIPELINE.decode(json.dumps(tree).encode()).live
    assert live is not None
    for schedule in live.spec.schedule_list():
        state = settled(None, schedule, is_on=True, now=T0)
        assert reread(SCHEDULE_STATE, state) == state
