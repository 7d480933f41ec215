"""Which version is live after pushes, pins, and rollbacks, in any order."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fastflow_contracts.bus.subjects import VersionRef, parse_version_key, version_key
from fastflow_contracts.codec import Malformed
from fastflow_contracts.ids import RunId
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.spec import PipelineSpec
from fastflow_contracts.pipelines.records import Pin, PipelineRecord, Trial, Version, VersionRecord
from fastflow_contracts.pipelines.versions import (
    check_version,
    deployed,
    has_failed,
    newest_bundle,
    pinned,
    rolled_back,
    unpinned,
    version_id,
)
from tests.support.records import T0, at

ETL: Final = PipelineName("etl")
EMPTY: Final = PipelineRecord(name=ETL, seen_at=T0)
SPEC: Final = PipelineSpec(rollback_after=1)


def a_version(bundle: str, seconds: float = 0, commit: str | None = None) -> Version:
    return Version(bundle=bundle, spec=SPEC, live_since=at(seconds), commit=commit)


def pin_of(bundle: str, seconds: float = 50) -> Pin:
    return Pin(bundle=bundle, at=at(seconds), by="api")


def fail(record: PipelineRecord, to: str) -> PipelineRecord:
    """Roll back, as after a failed trial."""
    tried = replace(record, trial=Trial(failed=(RunId("r"),)))
    assert has_failed(tried)
    return rolled_back(tried, a_version(to), at(99))


def live(record: PipelineRecord) -> str:
    assert record.live is not None
    return record.live.bundle


def test_what_is_pushed_becomes_live() -> None:
    """And begins without a trial."""
    record = replace(deployed(EMPTY, a_version("a")), trial=Trial(is_passed=True))
    record = deployed(record, a_version("b", 1))
    assert (live(record), record.held_back, record.trial) == ("b", "", None)


def test_the_same_code_keeps_its_commit_and_its_time() -> None:
    """Also when a later release reads its metadata in another way."""
    first = deployed(EMPTY, a_version("a", 0, "one"))
    again = deployed(first, replace(a_version("a", 9, "two"), python=">=3.12"))
    assert again.live == replace(a_version("a", 0, "one"), python=">=3.12")


def test_a_pin_holds_back_what_is_pushed() -> None:
    """The pinned version stays live, whatever comes, and its schedules count from the pin."""
    record = pinned(deployed(deployed(EMPTY, a_version("a")), a_version("b")), a_version("a"), pin_of("a"))
    assert (live(record), record.held_back) == ("a", "b")
    assert record.live == a_version("a", 50)
    record = deployed(record, a_version("c"))
    assert (live(record), record.held_back) == ("a", "c")


def test_without_the_pin_the_newest_version_is_live() -> None:
    """The one that mends what was broken, not the one that was live before the pin."""
    record = pinned(deployed(deployed(EMPTY, a_version("a")), a_version("b")), a_version("a"), pin_of("a"))
    record = unpinned(deployed(record, a_version("c")), a_version("c"), at(60))
    assert (record.live, record.held_back, record.pin) == (a_version("c", 60), "", None)


def test_a_newest_version_that_is_not_kept_waits_for_the_next_sync() -> None:
    """The pin goes all the same."""
    record = pinned(deployed(deployed(EMPTY, a_version("a")), a_version("b")), a_version("a"), pin_of("a"))
    record = unpinned(record, None, at(60))
    assert (live(record), record.held_back, record.pin) == ("a", "b", None)
    assert live(deployed(record, a_version("b", 70))) == "b"


def test_pinning_the_live_version_changes_nothing_else() -> None:
    """No run counts anew, and later versions are held back."""
    record = pinned(deployed(EMPTY, a_version("a", 3)), a_version("a"), pin_of("a"))
    assert (record.live, record.held_back) == (a_version("a", 3), "")
    assert deployed(record, a_version("b")).held_back == "b"


def test_a_pushed_revert_to_the_pinned_code_is_the_newest_version() -> None:
    """Nothing is held back then."""
    record = pinned(deployed(deployed(EMPTY, a_version("a")), a_version("b")), a_version("a"), pin_of("a"))
    assert deployed(record, a_version("a")).held_back == ""


def test_a_version_that_was_rolled_back_is_not_taken_again() -> None:
    """However often it is seen; another one is, and then also the first again."""
    record = fail(deployed(deployed(EMPTY, a_version("a")), a_version("b")), "a")
    assert (live(record), record.held_back) == ("a", "b")
    for _ in range(3):
        record = deployed(record, a_version("b", 200))
    assert (record.live, record.held_back) == (a_version("a", 99), "b")
    record = deployed(record, a_version("c"))
    assert (live(record), record.held_back, record.rolled_back) == ("c", "", None)
    assert live(deployed(record, a_version("b"))) == "b"


def test_people_may_take_a_version_that_was_rolled_back() -> None:
    """By a pin; without it, it stays live."""
    record = fail(deployed(deployed(EMPTY, a_version("a")), a_version("b")), "a")
    record = pinned(record, a_version("b"), pin_of("b"))
    assert (live(record), record.held_back, record.rolled_back) == ("b", "", None)
    assert live(unpinned(record, None, at(60))) == "b"


def test_removing_a_pin_does_not_take_a_version_that_was_rolled_back() -> None:
    """Its failures are still true."""
    record = fail(deployed(deployed(EMPTY, a_version("a")), a_version("b")), "a")
    record = unpinned(pinned(record, a_version("a"), pin_of("a")), a_version("b"), at(60))
    assert (live(record), record.held_back) == ("a", "b")


@given(st.lists(st.tuples(st.sampled_from(["push", "pin", "unpin", "fail"]), st.sampled_from("abc")), max_size=20))
def test_in_any_order_the_record_says_why_its_version_is_live(steps: list[tuple[str, str]]) -> None:
    """A pinned version is live; else it is the newest one, unless that was rolled back and another was not pushed."""
    record, newest, bad = deployed(EMPTY, a_version("a")), "a", ""
    for step, bundle in steps:
        match step:
            case "push":
                record, newest = deployed(record, a_version(bundle)), bundle
                bad = bad if bad == bundle else ""
            case "pin":
                record = pinned(record, a_version(bundle), pin_of(bundle))
                bad = "" if bad == bundle else bad
            case "unpin":
                record = unpinned(record, a_version(record.held_back) if record.held_back else None, at(60))
            case "fail" if record.pin is None and not record.held_back and live(record) != bundle:
                record, bad = fail(record, bundle), live(record)
        assert newest_bundle(record) == newest
        assert record.rolled_back is None or record.rolled_back.bundle == bad
        if record.pin is not None:
            assert live(record) == record.pin.bundle
        else:
            assert (live(record) == newest) == (bad != newest)
        assert (record.held_back == "") == (live(record) == newest)


def test_a_stored_version_belongs_to_its_key() -> None:
    """A key says the pipeline and the beginning of the hash."""
    ref = VersionRef(PipelineName("a.b"), version_id("f" * 64))
    assert parse_version_key(version_key(ref)) == ref
    record = VersionRecord(pipeline=ref.pipeline, version=a_version("f" * 64), deployed_at=T0)
    check_version(ref, record)
    for other in (VersionRef(ETL, ref.version), VersionRef(ref.pipeline, "0" * 12)):
        with pytest.raises(Malformed):
            check_version(other, record)
