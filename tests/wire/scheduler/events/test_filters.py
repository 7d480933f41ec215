"""Filters on messages as senders write them: numbers of either kind, names of headers, odd texts, missing fields."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fastflow_contracts.bus.client import Bus
from tests.support.chains import all_skips
from tests.wire.scheduler.events.test_triggers import deploy, events_of, make_stream, publish, schedulers, until_done

__all__ = ["schedulers"]

UUID = "7e577e57-7e57-7e57-7e57-7e577e577e57"


@pytest.mark.parametrize(
    ("when", "wanted", "other"),
    [
        ("event.n > 30", [{"n": 31}, {"n": 30.5}], [{"n": 30}, {"n": 29.5}]),
        ("event.n > 30.0", [{"n": 31}, {"n": 30.5}], [{"n": 30}, {"n": 30.0}]),
        ("event.n == 1", [{"n": 1}, {"n": 1.0}], [{"n": 2}, {"n": "1"}, {"n": True}, {"n": None}]),
        (f"event.id == '{UUID}'", [{"id": UUID}], [{"id": UUID.replace("-", "_")}]),
        ("has(event.a) && has(event.a.b) && event.a.b in ['x', 'y']", [{"a": {"b": "x"}}], [{}, {"a": {}}]),
        ("'x-y' in event && event['x-y'].startsWith('/')", [{"x-y": "/dryrun"}], [{}, {"x-y": "dryrun"}]),
        ("size(event.of) > 1", [{"of": [1, 2]}, {"of": "ab"}], [{"of": []}]),
        ("event.big == 9007199254740993", [{"big": 9007199254740993}], [{"big": 9007199254740992}]),
    ],
    ids=["int", "float", "equal", "hyphens", "missing", "member", "size", "large"],
)
async def test_a_filter_means_what_it_says(
    schedulers: Bus, when: str, wanted: list[dict[str, Any]], other: list[dict[str, Any]]
) -> None:
    bus = schedulers
    await make_stream(bus)
    await deploy(bus, when=when)
    await until_done(bus, await publish(bus, *wanted, *other))
    found = [json.loads(event or b"") for event in await events_of(bus)]
    assert sorted(map(json.dumps, found)) == sorted(map(json.dumps, wanted))
    assert await all_skips(bus) == []


async def test_a_filter_sees_headers_in_lower_case_with_hyphens(schedulers: Bus) -> None:
    bus = schedulers
    await make_stream(bus)
    await deploy(bus, when="headers['x-codeup-event'] in ['Push Hook'] && headers['nats-subject'] == 'orders.eu'")
    for name, value, subject in (
        ("X-Codeup-Event", "Push Hook", "orders.eu"),
        ("X-Codeup-Event", "Push Hook", "orders.us"),
        ("x-codeup-event", "Push Hook", "orders.eu"),
        ("X-Codeup-Event", "Merge Hook", "orders.eu"),
    ):
        acknowledged = await bus.js.publish(subject, b"{}", headers={name: value})
    await until_done(bus, acknowledged.seq)
    assert await events_of(bus) == [b"{}", b"{}"]
