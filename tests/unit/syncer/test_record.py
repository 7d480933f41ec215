"""What a look at a folder changes in its pipeline's record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.folder.examine import Found, FoundVersion
from fastflow_contracts.pipelines.format.manifest import Notice, Problem
from fastflow_contracts.pipelines.format.spec import PipelineSpec
from fastflow_contracts.pipelines.records import (
    PIPELINE,
    PipelineRecord,
)
from fastflow_syncer.record import after_look, after_removal, is_newer
from fastflow_syncer.sources.source import Commit

T0 = datetime(2026, 1, 1, tzinfo=UTC)

T1 = T0 + timedelta(minutes=1)

ETL = PipelineName("etl")

ONE = Commit("1" * 40, T0, "one")

TWO = Commit("2" * 40, T0, "two")

BAD = Problem(field="timeout", value='"x"', accepted="seconds", line=1)


def _good(bundle: str = "a", spec: PipelineSpec | None = None) -> Found:
    return Found(ETL, FoundVersion(bundle, spec or PipelineSpec(), False), (), ())


def _bad(*problems: Problem) -> Found:
    return Found(ETL, None, problems or (BAD,), ())


def _added() -> PipelineRecord:
    record = after_look(None, _good(), ONE, T0).record
    assert record is not None
    return record


def test_a_new_pipeline_is_added_with_its_commit() -> None:
    """The first good version is live at once and says where it came from."""
    change = after_look(None, _good(), ONE, T0)
    assert change.action == "added"
    assert change.record is not None
    assert change.record.live is not None
    assert (change.record.live.commit, change.record.live.commit_subject) == (ONE.hash, "one")
    assert (change.record.commit, change.record.live.live_since, change.record.seen_at) == (ONE.hash, T0, T0)


def test_the_same_content_in_a_later_commit_changes_nothing() -> None:
    """A version keeps the commit that brought it; nothing is written."""
    assert after_look(_added(), _good(), TWO, T1) == ("unchanged", None)


def test_a_new_version_replaces_the_old_one() -> None:
    """Another bundle is another version, live from now on."""
    change = after_look(_added(), _good("b"), TWO, T1)
    assert change.action == "updated"
    assert change.record is not None
    assert change.record.live is not None
    assert (change.record.live.bundle, change.record.live.commit, change.record.live.live_since) == ("b", TWO.hash, T1)


def test_the_same_code_read_differently_keeps_its_commit() -> None:
    """If only our reading of the metadata changed, the version still belongs to its commit."""
    change = after_look(_added(), _good(spec=PipelineSpec(description="new")), TWO, T1)
    assert change.record is not None
    assert change.record.live is not None
    assert (change.record.live.spec.description, change.record.live.commit) == ("new", ONE.hash)
    assert change.record.live.live_since == T0


def test_a_bad_version_leaves_the_last_good_one_live() -> None:
    """It is shown with its problems and its commit. Seen again, it changes nothing."""
    old = _added()
    change = after_look(old, _bad(), TWO, T1)
    assert change.action == "refused"
    assert change.record is not None
    assert (change.record.live, change.record.problems, change.record.commit) == (old.live, (BAD,), TWO.hash)
    assert after_look(change.record, _bad(), ONE, T1 + timedelta(days=1)) == ("refused", None)
    mended = after_look(change.record, _good(), TWO, T1)
    assert mended.action == "updated"
    assert mended.record is not None
    assert (mended.record.live, mended.record.problems, mended.record.commit) == (old.live, (), ONE.hash)


def test_a_pipeline_that_was_never_good_has_no_version() -> None:
    """It is listed with its problems; its first good version adds it."""
    first = after_look(None, _bad(), ONE, T0)
    assert first.action == "refused"
    assert first.record is not None
    assert (first.record.live, first.record.problems) == (None, (BAD,))
    assert after_look(first.record, _good(), TWO, T1).action == "added"


def test_a_removed_pipeline_cannot_start_and_may_come_back() -> None:
    """Removal takes the live version away, once; a folder that returns is added."""
    change = after_removal(_added(), T1)
    assert change.action == "removed"
    gone = change.record
    assert gone is not None
    assert (gone.live, gone.removed_at, gone.commit) == (None, T1, ONE.hash)
    assert after_removal(gone, T1 + timedelta(days=1)) == ("unchanged", None)
    back = after_look(gone, _good(), ONE, T1)
    assert back.action == "added"
    assert back.record is not None
    assert (back.record.removed_at, back.record.problems) == (None, ())


@given(
    st.lists(
        st.one_of(
            st.sampled_from([_good("a"), _good("b"), _bad(), _bad(BAD, BAD)]).map(lambda found: ("look", found)),
            st.just(("remove", None)),
        ),
        max_size=8,
    )
)
def test_any_sequence_of_looks_leads_to_a_correct_record(steps: list[tuple[str, Found | None]]) -> None:
    """The record says what the last look said, a live version is always a good one that was seen, a repeated step
    changes nothing, and the record survives encoding.
    """
    record: PipelineRecord | None = None
    for number, (_, found) in enumerate(steps):
        at = T0 + timedelta(minutes=number)
        if found is None:
            if record is None:
                continue
            record = after_removal(record, at).record or record
            assert (record.live, record.removed_at is None) == (None, False)
            assert after_removal(record, at).record is None
            continue
        before = record
        record = after_look(record, found, ONE, at).record or record
        assert record is not None
        assert record.removed_at is None
        assert record.problems == found.problems
        if found.version is not None:
            assert record.live is not None
            assert record.live.bundle == found.version.bundle
        elif before is not None:
            assert record.live == before.live
        assert after_look(record, found, TWO, at + timedelta(hours=1)).record is None
        assert PIPELINE.decode(PIPELINE.encode(record)) == record


def test_a_stale_look_does_not_win() -> None:
    """A look from before the record was written does not replace it, unless that clock is wrong."""
    record = _added()
    assert is_newer(record, T0 - timedelta(seconds=1), T1)
    assert not is_newer(record, T0, T1)
    assert not is_newer(record, T1, T1)
    assert not is_newer(record, T0 - timedelta(hours=2), T0 - timedelta(hours=1))
    assert not is_newer(None, T0, T1)


def test_a_new_notice_is_written() -> None:
    """Even if the version is the same."""
    change = after_look(_added(), msgspec.structs.replace(_good(), notices=(Notice(text="rename it"),)), TWO, T1)
    assert change.action == "updated"
    assert change.record is not None
    assert change.record.notices
