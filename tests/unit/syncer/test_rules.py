"""What a look at a folder means for its pipeline's record, and what is remembered of syncs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.folder.bundle import File, Refusal
from fastflow_contracts.pipelines.folder.examine import Found, FoundVersion, examine
from fastflow_contracts.pipelines.folder.selection import Folder, plan, skipped
from fastflow_contracts.pipelines.format.manifest import Notice, Problem
from fastflow_contracts.pipelines.format.spec import PipelineSpec
from fastflow_contracts.pipelines.records import (
    PIPELINE,
    SYNC_STATUS,
    PipelineChangeRecord,
    PipelineRecord,
    SyncReportRecord,
    SyncStatusRecord,
)
from fastflow_contracts.service.settings import BadSettings, load
from fastflow_syncer import history
from fastflow_syncer.record import after_look, after_removal, is_newer
from fastflow_syncer.retire import KEPT_S, retirable, unused
from fastflow_syncer.settings import SyncerSettings
from fastflow_syncer.sources.source import Commit
from fastflow_syncer.sources.tree import BadListing, parse_listing

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
    """Another bundle is another version, live since now."""
    change = after_look(_added(), _good("b"), TWO, T1)
    assert change.action == "updated"
    assert change.record is not None
    assert change.record.live is not None
    assert (change.record.live.bundle, change.record.live.commit, change.record.live.live_since) == ("b", TWO.hash, T1)


def test_the_same_code_read_differently_keeps_its_commit() -> None:
    """When only our reading of the metadata changed, the version is still the one of its commit."""
    change = after_look(_added(), _good(spec=PipelineSpec(description="new")), TWO, T1)
    assert change.record is not None
    assert change.record.live is not None
    assert (change.record.live.spec.description, change.record.live.commit) == ("new", ONE.hash)
    assert change.record.live.live_since == T0


def test_a_bad_version_leaves_the_last_good_one_live() -> None:
    """It is shown with its problems and its commit; saying so twice is not a change."""
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
    """Removal takes the live version away, once; the folder's return is an addition."""
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
def test_any_sequence_of_looks(steps: list[tuple[str, Found | None]]) -> None:
    """After any history: the record says what the last look said, a live version is always a good one that was
    seen, doing a step again changes nothing, and the wire keeps all of it."""
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
    """What was seen before the record was written is not written over it, unless that clock is off."""
    record = _added()
    assert is_newer(record, T0 - timedelta(seconds=1), T1)
    assert not is_newer(record, T0, T1)
    assert not is_newer(record, T1, T1)
    assert not is_newer(record, T0 - timedelta(hours=2), T0 - timedelta(hours=1))
    assert not is_newer(None, T0, T1)


def test_examining_a_good_folder_packs_it() -> None:
    """The bundle's name is in the version."""
    examined = examine("etl", Folder({"main.py": File(b"x"), "requirements.txt": File(b"")}), is_known=False)
    assert examined is not None
    assert examined.bundle is not None
    assert examined.found.version is not None
    assert examined.found.version.bundle == examined.bundle.sha256
    assert examined.found.version.has_requirements


@pytest.mark.parametrize("files", [{}, {"README.md": b""}, {"lib/main.py": b""}])
def test_a_folder_without_an_entry_is_no_pipeline(files: dict[str, bytes]) -> None:
    """Whatever else it holds, and whatever is wrong with that."""
    folder = Folder({path: File(data) for path, data in files.items()})
    assert examine("etl", folder, is_known=True) is None
    refused = msgspec.structs.replace(folder, refusals=(Refusal("passwd", "is a link"),))
    assert examine("etl", refused, is_known=False) is None


def test_refusals_become_problems_and_never_a_bundle() -> None:
    """A folder with a link is a pipeline with a problem that names it."""
    examined = examine("etl", Folder({"main.py": File(b"")}, (Refusal("a/b", "is a link"),)), is_known=False)
    assert examined is not None
    assert examined.bundle is None
    assert [str(problem) for problem in examined.found.problems] == ["a/b: is a link"]


@pytest.mark.parametrize(("path", "is_known"), [("main.py", False), ("", True), ("data", True)])
def test_what_cannot_be_read_is_not_taken_for_gone(path: str, is_known: bool) -> None:
    """A known pipeline, or a folder whose entry is a link, is listed with problems though nothing could be read."""
    examined = examine("etl", Folder({}, (Refusal(path, "is a link"),)), is_known=is_known)
    assert examined is not None
    assert len(examined.found.problems) == 1


def test_a_name_that_is_none_is_listed_and_not_live() -> None:
    """The reason is among the problems."""
    examined = examine("no spaces", Folder({"main.py": File(b"")}), is_known=False)
    assert examined is not None
    assert (examined.bundle, examined.found.version, examined.found.name) == (None, None, "no spaces")
    assert "rename" in str(examined.found.problems[0])


def _report(minute: int, **changes: object) -> SyncReportRecord:
    at = T0 + timedelta(minutes=minute)
    report = SyncReportRecord(source="s", started_at=at, finished_at=at, ok=True)
    return msgspec.structs.replace(report, **changes)


def test_the_status_knows_the_last_and_the_last_good_report() -> None:
    """A failure becomes the last one and leaves the good one."""
    good = history.with_report(None, _report(0))
    bad = history.with_report(good, _report(1, ok=False, error="no"))
    assert bad.last.error == "no"
    assert bad.live == good.last
    assert [report.ok for report in bad.history] == [False, True]


def test_the_history_is_news_only_and_bounded() -> None:
    """Sixty syncs that say the same are one entry; a flood of changes fits into one value."""
    status: SyncStatusRecord | None = None
    for minute in range(60):
        status = history.with_report(status, _report(minute))
    assert status is not None
    assert len(status.history) == 1
    assert status.history[0].started_at == T0 + timedelta(minutes=59)
    changes = tuple(
        PipelineChangeRecord(pipeline=f"{'p' * 60}{n}", action=("updated", "unchanged")[n % 2], detail="ü" * 9_999)
        for n in range(5_000)
    )
    for minute in range(60):
        status = history.with_report(status, _report(minute, changes=changes[minute * 2 :]))
    assert 10 < len(status.history) <= history.HISTORY_MAX
    assert all(change.action == "updated" for change in status.last.changes)
    assert len(SYNC_STATUS.encode(status)) <= history.STATUS_BYTES_MAX


def test_a_bundle_goes_only_when_it_is_old_and_unused_twice() -> None:
    """Young, used, or unused for the first time: it stays."""
    at = T0 + timedelta(seconds=2 * KEPT_S)
    uploaded = {"old": T0, "used": T0, "young": at - timedelta(seconds=KEPT_S - 1)}
    assert unused(uploaded, {"used"}, at) == {"old"}
    assert retirable(uploaded, {"used"}, frozenset(), at) == frozenset()
    assert retirable(uploaded, {"used"}, frozenset({"old", "used", "young"}), at) == {"old"}


@pytest.mark.parametrize(
    ("path", "gone"),
    [
        ("main.py", False),
        (".env.example", False),
        ("lib/x.py", False),
        ("data~set/x", False),
        (".dlt/config.toml", False),
        ("app/.streamlit/config.toml", False),
        (".dlt/.sources.swp", True),
        (".venv/bin/python", True),
        (".fastflow/admin-token", True),
        ("a/__pycache__/x", True),
        ("a/.git/config", True),
        (".git", True),
        ("main.py~", True),
        (".main.py.swp", True),
        ("#main.py#", True),
        (".#main.py", True),
        ("x.pyc", True),
        (".DS_Store", True),
    ],
)
def test_what_stays_behind(path: str, gone: bool) -> None:
    """Caches, environments and what editors leave; everything else travels."""
    assert skipped(path) is gone


def test_a_refused_folder_is_read_only_as_far_as_it_tells_something() -> None:
    """Its metadata and entry, small ones, from the top; nothing else."""
    sizes = {"main.py": 9, "pipeline.json": 9, "etl.json": 2_000_000, "lib/x.json": 9, "data.csv": 9}
    planned = plan(sizes, (Refusal("passwd", "is a link"),))
    assert planned.paths == ("main.py", "pipeline.json")
    assert plan(sizes, ()).paths == tuple(sorted(sizes))


def test_listings() -> None:
    """Both forms of ls-tree are read, whatever the names are; anything else is an error."""
    long = (
        b"100644 blob " + b"a" * 40 + b"      12\ttab\tand\nline\x00160000 commit " + b"b" * 40 + b"       -\tsub\xff\0"
    )
    first, second = parse_listing(long)
    assert (first.path, first.kind, first.size_bytes, first.executable) == ("tab\tand\nline", "file", 12, False)
    assert (second.path, second.kind, second.size_bytes) == ("sub\udcff", "submodule", 0)
    (folder,) = parse_listing(b"040000 tree " + b"c" * 40 + b"\tetl\0")
    assert (folder.kind, folder.oid) == ("folder", "c" * 40)
    assert parse_listing(b"") == []
    for broken in (b"fatal: what\0", b"100644 blob\tx\0", b"x\0"):
        with pytest.raises(BadListing):
            parse_listing(broken)


def test_settings_keep_their_names() -> None:
    """The variables people know, secrets also from files; a subfolder may not leave the root."""
    settings = load(
        SyncerSettings,
        {
            "GIT_REPO_URL": "https://e.org/r.git",
            "GIT_BRANCH": "live",
            "GIT_SYNC_INTERVAL": "30",
            "PIPELINES_SUBDIR": "/a/b/",
        },
    )
    assert (settings.git_branch, settings.git_sync_interval_s, settings.subdir) == ("live", 30.0, "a/b")
    with pytest.raises(BadSettings, match="PIPELINES_SUBDIR"):
        _ = SyncerSettings(pipelines_subdir="../up").subdir
    assert SyncerSettings(pipelines_dir="/p", pipelines_subdir="x").root.as_posix() == "/p/x"


def test_notices_alone_are_written_too() -> None:
    """A notice is news even where the version is the same."""
    change = after_look(_added(), msgspec.structs.replace(_good(), notices=(Notice(text="rename it"),)), TWO, T1)
    assert change.action == "updated"
    assert change.record is not None
    assert change.record.notices
