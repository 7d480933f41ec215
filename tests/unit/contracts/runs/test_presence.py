"""When a runner counts as gone."""

from __future__ import annotations

from msgspec.structs import replace

from fastflow_contracts.runs.presence import is_gone
from tests.support.records import a_presence

SHOWN = replace(a_presence("one"), lease_s=30)


def test_a_runner_is_gone_after_a_whole_lease_of_silence() -> None:
    assert not is_gone(SHOWN, silent_s=30)
    assert is_gone(SHOWN, silent_s=30.1)


def test_a_runner_that_reported_its_end_is_gone_at_once() -> None:
    assert is_gone(replace(SHOWN, gone=True), silent_s=0)


def test_a_runner_without_a_readable_presence_has_the_lease_of_the_observer() -> None:
    assert not is_gone(None, silent_s=5, lease_s=5)
    assert is_gone(None, silent_s=5.1, lease_s=5)
