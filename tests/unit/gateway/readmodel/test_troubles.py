"""Which records of degraded parts count."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from fastflow_contracts.bus.bucket import Change
from fastflow_contracts.bus.subjects import ServiceRef, parse_service_key, service_key
from fastflow_contracts.codec import Malformed
from fastflow_contracts.names import BadToken
from fastflow_contracts.service.troubles import FRESH_S, PART_CHARACTERS_MAX, PARTS_MAX, ServiceTroubles, check_troubles
from fastflow_gateway.readmodel.troubles import Troubles
from tests.support.records import T0

ONE, TWO = ServiceRef("scheduler", "1" * 32), ServiceRef("syncer", "2" * 32)


def a_record(name: ServiceRef, *parts: str) -> ServiceTroubles:
    return ServiceTroubles(service=name.service, id=name.id, host="h", parts=parts, at=T0)


def test_a_process_counts_until_it_is_well_or_silent() -> None:
    """Its own record ends it, or no record for a while: a service that is gone cannot say that it is well."""
    known = Troubles()
    for number, name in enumerate((TWO, ONE)):
        known.put(Change(name, a_record(name, "a part failed"), number + 1, T0 + timedelta(seconds=number)))
    assert [record.service for record in known.at(T0)] == ["scheduler", "syncer"]
    assert [record.service for record in known.at(T0 + timedelta(seconds=FRESH_S + 0.5))] == ["scheduler"]
    known.put(Change(ONE, a_record(ONE), 3, T0))
    assert [record.service for record in known.at(T0)] == ["syncer"]
    known.put(Change(TWO, None, 4, T0))
    assert known.at(T0) == []


@pytest.mark.parametrize(
    "odd",
    [
        {"id": "3" * 32},
        {"service": "syncer"},
        {"parts": ("x",) * (PARTS_MAX + 1)},
        {"parts": ("x" * (PART_CHARACTERS_MAX + 1),)},
    ],
)
def test_a_record_that_no_service_writes_is_malformed(odd: dict[str, object]) -> None:
    """Another's, or one that would fill a page."""
    check_troubles(ONE, a_record(ONE, "x"))
    with pytest.raises(Malformed):
        check_troubles(ONE, replace(a_record(ONE, "x"), **odd))


@pytest.mark.parametrize("key", ["service.x.y", "service.runner." + "1" * 32, "service.scheduler.1", "runner.x"])
def test_a_key_of_no_process_is_refused(key: str) -> None:
    assert parse_service_key(service_key(ONE)) == ONE
    with pytest.raises(BadToken):
        parse_service_key(key)
