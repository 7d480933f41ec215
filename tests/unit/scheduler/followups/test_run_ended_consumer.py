"""Which changes of runs the run-ended consumer handles."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from fastflow_contracts.runs.run import RUN, Ended, Running, Verdict
from fastflow_scheduler.followups.run_ended_consumer import may_be_an_end
from tests.support.records import T0, a_run


def matters(data: bytes) -> bool:
    return may_be_an_end(cast(Any, SimpleNamespace(data=data)))


@pytest.mark.parametrize("verdict", Verdict)
def test_an_end_matters_whatever_it_is(verdict: Verdict) -> None:
    """Each may start other runs."""
    assert matters(RUN.encode(replace(a_run(), state=Ended(verdict=verdict, at=T0))))


def test_a_run_that_is_not_over_does_not() -> None:
    """Nor a record that was deleted."""
    running = Running(attempt=1, runner="one", epoch=1, claimed_at=T0)
    assert not matters(RUN.encode(a_run()))
    assert not matters(RUN.encode(replace(a_run(), state=running)))
    assert not matters(b"")


@pytest.mark.parametrize("data", [b"no record", b"{}", b'{"state": 7}', b'{"state": {}}', b'{"state": {"type": 1}}'])
def test_what_cannot_be_read_matters(data: bytes) -> None:
    """It is reported and counted where records are read."""
    assert matters(data)
