"""The gateway's pure parts: the history of runs, events and text of logs, sessions, throttling, what is hidden."""

from __future__ import annotations

import json
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from fastflow_contracts.bus.subjects import JobRef
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.logs import STREAMS, Chunk, Piece
from fastflow_contracts.runs.presence import Presence
from fastflow_contracts.runs.run import (
    AttemptRecord,
    Ended,
    Pending,
    RunErrorType,
    Running,
    RunRecord,
    RunStatus,
    Verdict,
)
from fastflow_gateway.http.browsers import local_path
from fastflow_gateway.http.middleware import shown_path
from fastflow_gateway.readmodel.run_index import BadCursor, RunFilter, RunIndex
from fastflow_gateway.readmodel.switches import Switches
from fastflow_gateway.security import sessions
from fastflow_gateway.security.rate_limit import CALLERS_MAX, RateLimit
from fastflow_gateway.security.sessions import SESSION_S, Sessions
from fastflow_gateway.streaming import events
from fastflow_gateway.streaming.events import PlainText, Tail
from fastflow_gateway.views import records
from fastflow_gateway.views.redaction import hide_secrets
from fastflow_gateway.views.waiting import ENVIRONMENT, TAKER, Capacity, waiting_on
from tests.support.logs import log_lines
from tests.support.records import T0, a_presence, a_run, at

RUNS = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 50), st.sampled_from([None, *Verdict])), max_size=40
).map(lambda rows: [_run(*row) for row in rows])


def _run(pipeline: str, created: int, verdict: Verdict | None) -> RunRecord:
    run = a_run(pipeline, created=created)
    return run if verdict is None else replace(run, state=Ended(verdict=verdict, at=at(created + 2)))


def _history(runs: list[RunRecord], **bounds: int) -> RunIndex:
    history = RunIndex(**bounds)
    for revision, run in enumerate(runs, start=1):
        history.put(run, revision)
    return history


@given(RUNS, st.integers(1, 7), st.sampled_from([None, "a", "b"]), st.sampled_from([None, *RunStatus]))
def test_pages_show_every_matching_run_once_newest_first(
    runs: list[RunRecord], limit: int, pipeline: str | None, status: RunStatus | None
) -> None:
    """Whatever the filter and the size of a page."""
    history, seen, cursor = _history(runs), list[RunRecord](), None
    while True:
        page, cursor = history.page(RunFilter(pipeline=pipeline, status=status), limit=limit, cursor=cursor)
        assert len(page) <= limit
        seen += page
        if cursor is None:
            break
    wanted = [r for r in runs if pipeline in (None, r.pipeline) and status in (None, r.status)]
    assert sorted(r.id for r in seen) == sorted(r.id for r in wanted)
    assert all(newer.created_at >= older.created_at for newer, older in pairwise(seen))


@given(RUNS, st.integers(0, 50), st.integers(0, 50))
def test_dates_are_inclusive(runs: list[RunRecord], since: int, until: int) -> None:
    """Both ends of the range belong to it."""
    page, _ = _history(runs).page(RunFilter(since=at(since), until=at(until)), limit=1000)
    assert {r.id for r in page} == {r.id for r in runs if at(since) <= r.created_at <= at(until)}


@given(RUNS, st.integers(1, 10))
def test_totals_outlive_what_is_forgotten(runs: list[RunRecord], runs_max: int) -> None:
    """Beyond the bound the oldest ended runs go; they still count, and no active run is ever forgotten."""
    history = _history(runs, runs_max=runs_max)
    active = [r for r in runs if not r.is_over]
    assert len(history) <= max(runs_max, len(active))
    assert all(history.get(r.id) for r in active)
    for name in "ab":
        counts = history.counts(name)
        of_it = [r for r in runs if r.pipeline == name]
        assert (counts.total, counts.active) == (len(of_it), len([r for r in of_it if not r.is_over]))
        assert counts.successful == len([r for r in of_it if r.status is RunStatus.SUCCESS])


def test_only_news_counts() -> None:
    """An older or repeated version changes nothing; a newer one replaces what was counted; a removed run is gone."""
    history, run = RunIndex(), a_run("demo")
    ended = replace(run, state=Ended(verdict=Verdict.SUCCESS, at=at(4)))
    assert history.put(run, 5)
    assert not history.put(ended, 5)
    assert history.put(ended, 6)
    assert not history.put(run, 4)
    counts = history.counts("demo")
    assert (counts.total, counts.successful, counts.active, counts.success_seconds) == (1, 1, 0, 4.0)
    history.remove(run.id)
    history.remove(run.id)
    assert (history.counts("demo").total, len(history), history.latest("demo", 5)) == (0, 0, [])


@pytest.mark.parametrize(
    "cursor", ["x", "1-x", "-", "1-" + "g" * 36, "9" * 30 + "-00000000-0000-4000-8000-000000000000"]
)
def test_a_foreign_cursor_is_refused(cursor: str) -> None:
    """A cursor is ours or none."""
    with pytest.raises(BadCursor):
        RunIndex().page(RunFilter(), limit=1, cursor=cursor)


PIECES = st.lists(
    st.builds(
        Piece, st.integers(0, 1000), st.integers(0, 2), st.text(st.sampled_from('an\n",%\\\x00\x7f\u2028é'), max_size=8)
    ),
    max_size=6,
)
CHUNKS = st.lists(PIECES, max_size=5).map(
    lambda many: [
        Chunk(at=1_767_225_600.0, lines=tuple(pieces), end=(n, 0), eof=n == len(many) - 1)
        for n, pieces in enumerate(many)
    ]
)


@given(CHUNKS)
@example([Chunk(at=0.0, lines=(Piece(0, 1, '{\n  "a": "x",\n  "b": "\\",\n}\n'),), end=(0, 0))])
@example([Chunk(at=0.0, lines=(Piece(0, 1, 'a\x7fb\n",\n"\x7f\n'),), end=(0, 0))])
def test_events_say_each_line_once_and_know_their_place(chunks: list[Chunk]) -> None:
    """Joined where they say that more follows, the events of each stream are its lines; ids count up without a gap."""
    said: dict[str, list[str]] = {name: [] for name in STREAMS}
    is_open = dict.fromkeys(STREAMS, False)
    for sequence, chunk in enumerate(chunks, start=1):
        told = events.log_events(chunk, sequence, 3)
        *each, end = told.split(b"\n\n")
        assert end == b""
        for index, raw in enumerate(each):
            event_id, name, data = raw.decode().split("\n")
            assert (event_id, name) == (f"id: {sequence}:{index}", "event: log")
            assert events.behind(told, index).startswith(raw)
            line = json.loads(data.removeprefix("data: "))
            assert line["attempt"] == 3
            if is_open[line["stream"]]:
                said[line["stream"]][-1] += line["line"]
            else:
                said[line["stream"]].append(line["line"])
            is_open[line["stream"]] = line.get("more", False)
        assert events.behind(told, len(each)) == events.behind(told, len(each) + 1) == b""
    for name in STREAMS:
        assert said[name] == [line.text for line in log_lines(chunks) if line.stream == name]


def test_the_last_line_of_an_attempt_goes_on_nowhere() -> None:
    """It may lack its end; so may its other stream's. A part before it still says that more follows."""
    pieces = (Piece(0, 1, "one\ntw"), Piece(1, 2, "careful"), Piece(2, 1, "o"))
    for eof, wanted in ((True, [False, True, False, False]), (False, [False, True, True, True])):
        told = events.log_events(Chunk(at=0.0, lines=pieces, end=(7, 7), eof=eof), 1, 1)
        assert [b'"more":true' in event for event in told.split(b"\n\n")[:-1]] == wanted


@given(CHUNKS)
def test_plain_text_is_what_was_written(chunks: list[Chunk]) -> None:
    """With one stream it is that stream to the byte; with several, a line is only ever ended, never changed."""
    one = [Chunk(at=c.at, lines=tuple(Piece(p.ms, 1, p.text) for p in c.lines), end=c.end) for c in chunks]
    reader = PlainText()
    assert "".join(reader.text(chunk, 1) for chunk in one) == "".join(p.text for c in one for p in c.lines)
    reader = PlainText()
    text = "".join(reader.text(chunk, 1) for chunk in chunks)
    assert text.replace("\n", "") == "".join(p.text for c in chunks for p in c.lines).replace("\n", "")


@given(st.lists(st.text("ab\n\r\u2028", max_size=6), max_size=8), st.integers(1, 4))
def test_the_tail_is_the_end_of_the_text(parts: list[str], lines_max: int) -> None:
    """However the text comes in parts, its last lines are its last lines."""
    tail = Tail(lines_max)
    for part in parts:
        tail.add(part)
    *ended, rest = "".join(parts).split("\n")
    whole = [line + "\n" for line in ended] + ([rest] if rest else [])
    assert tail.text() == "".join(whole[-lines_max:])


@pytest.mark.parametrize(
    ("text", "event_id"),
    [("12:3", (12, 3)), ("12", (12, 0)), (None, (0, -1)), ("", (0, -1)), ("x", (0, -1)), ("1:2:3", (0, -1))],
)
def test_an_event_id_is_read_back(text: str | None, event_id: tuple[int, int]) -> None:
    """What is no id of ours is the beginning."""
    assert events.parse_event_id(text) == event_id


def test_a_session_is_good_for_its_time_and_its_token() -> None:
    """It ends by the clock, with another token, and when anything in it is changed."""
    known = Sessions("one token of many")
    cookie = known.new_session(T0)
    session = known.session(cookie, T0)
    assert session is not None
    assert known.session(cookie, T0 + timedelta(seconds=SESSION_S)) is None
    assert Sessions("another token").session(cookie, T0) is None
    for index in range(len(cookie)):
        changed = cookie[:index] + ("A" if cookie[index] != "A" else "Q") + cookie[index + 1 :]
        assert known.session(changed, T0) is None
    other = known.session(known.new_session(T0), T0)
    assert other is not None
    assert not sessions.is_csrf_token(session, other.csrf)
    assert sessions.is_csrf_token(session, session.csrf)


@given(st.text())
def test_any_text_can_be_asked_about(text: str) -> None:
    """No cookie, token or address makes the rules fail."""
    known = Sessions("one token of many")
    assert not known.knows_bearer(text)
    assert known.session(text, T0) is None
    path = local_path(text)
    assert path.startswith("/")
    assert not path.startswith(("//", "/\\"))


def test_a_caller_that_failed_too_often_waits_and_others_do_not() -> None:
    """Three failures at once, then one a minute; forgetting is bounded."""
    limit = RateLimit(burst=3, per_minute=1)
    for _ in range(3):
        assert limit.wait_s("a", 0) == 0
        limit.failed("a", 0)
    assert limit.wait_s("a", 0) == 60
    assert limit.wait_s("b", 0) == 0
    assert limit.wait_s("a", 59) == 1
    assert limit.wait_s("a", 60) == 0
    for n in range(CALLERS_MAX):
        limit.failed(str(n), 61)
    assert limit.wait_s("a", 61) == 0


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/api/webhooks/demo/key", "/api/webhooks/demo/***"),
        ("/api/webhooks/demo/key/more", "/api/webhooks/demo/***"),
        ("//api//webhooks//demo//key", "//api//webhooks//demo/***"),
        ("/api/webhooks/demo/a\nb", "/api/webhooks/demo/***"),
        ("/api/runs/a\nb", "/api/runs/a\\nb"),
        ("/api/runs", "/api/runs"),
    ],
)
def test_a_logged_path_has_no_key_and_one_line(path: str, shown: str) -> None:
    """Wherever the key stands."""
    assert shown_path(path) == shown


def test_secrets_are_hidden_wherever_they_stand() -> None:
    """In the pipeline and in each schedule; names and clear values stay."""
    metadata = {
        "webhook_key": "k1",
        "encrypted_env": {"A": "gAAAA1"},
        "default_env": {"B": "shown"},
        "schedules": [{"id": "s", "webhook_key": "k2", "encrypted_env": {"C": "gAAAA2"}}],
    }
    text = hide_secrets(json.dumps(metadata))
    assert not any(secret in text for secret in ("k1", "k2", "gAAAA1", "gAAAA2"))
    assert all(name in text for name in ('"A"', '"C"', "shown", '"s"'))
    assert hide_secrets("{broken") == ""


def _attempt(number: int, *, error: RunErrorType | None = None) -> AttemptRecord:
    begin = number * 100
    return AttemptRecord(
        number=number,
        runner=f"r{number}",
        claimed_at=at(begin),
        prepared_at=at(begin + 1),
        started_at=at(begin + 2),
        finished_at=at(begin + 50),
        exit_code=1 if error else 0,
        error_type=error,
        memory_bytes_peak=number * 1000,
        warnings=("soft limit",),
    )


def test_a_view_of_a_retried_run_is_about_its_newest_attempt() -> None:
    """Phases and result are the last attempt's, start and end the whole run's, peaks the highest."""
    run = replace(
        a_run("demo", retry_attempts=1, env_names=("A",)),
        attempts=(_attempt(1, error=RunErrorType.OOM), _attempt(2)),
        state=Ended(verdict=Verdict.SUCCESS, at=at(250)),
    )
    shown = records.run(run, capacity=Capacity(), now=at(300))
    assert (shown.status, shown.exit_code, shown.error_type, shown.runner) == ("SUCCESS", 0, None, "r2")
    assert (shown.started_at, shown.finished_at) == (at(102), at(250))
    assert (shown.phases.queued, shown.phases.claimed, shown.phases.finished) == (at(150), at(200), at(250))
    assert (shown.memory_bytes_peak, shown.warnings) == (2000, ("soft limit",))
    assert (shown.waiting_on, shown.env_vars) == (None, {"A": "***"})


def test_a_switch_is_as_it_was_put_last() -> None:
    """Old news that come late undo nothing."""
    switches, job = Switches(), JobRef(PipelineName("beat"), "schedule")
    switches.put(job, 3, is_on=False)
    switches.put(job, 2, is_on=True)
    assert switches.off == {job}
    switches.put(job, 4, is_on=True)
    switches.put(job, 3, is_on=False)
    assert switches.off == set()


def test_a_running_run_waits_for_its_environment_only() -> None:
    """Once that stands ready it waits for nothing."""
    state = Running(attempt=1, runner="r1", epoch=1, claimed_at=at(1))
    run = replace(a_run(), state=state)
    assert waiting_on(run, capacity=Capacity(), now=at(2)) == ENVIRONMENT
    ready = replace(run, state=replace(state, prepared_at=at(2)))
    assert waiting_on(ready, capacity=Capacity(), now=at(3)) is None
    assert records.run(ready, capacity=Capacity(), now=at(3)).started_at == at(2)


@pytest.mark.parametrize(
    ("runners", "waits_for"),
    [
        ((), "a runner: none is connected"),
        ((replace(a_presence(), leaving=True),), "a runner: none is connected"),
        ((replace(a_presence(), paused=True),), "a Docker daemon: those of its runners do not answer"),
        (
            (replace(a_presence(), paused=True), a_presence("r2", slots=1, busy=1)),
            "a free runner slot: 1 of 1 are busy",
        ),
        ((replace(a_presence(), kinds=("notebook",)),), "a runner that takes scripts: none is connected"),
        ((a_presence("r1", slots=1, busy=1), a_presence("r2", slots=2, busy=2)), "a free runner slot: 3 of 3 are busy"),
        ((a_presence("r1", slots=1, busy=1), a_presence("r2", slots=2, busy=1)), "a runner to take it"),
    ],
)
def test_a_waiting_run_names_what_it_waits_for(runners: tuple[Presence, ...], waits_for: str) -> None:
    """By the runners there are."""
    assert waiting_on(a_run(), capacity=Capacity(runners), now=at(1)) == waits_for


def test_with_slots_to_spare_a_waiting_run_names_the_limit_that_holds_it() -> None:
    """Only when as many run as it allows, and never in place of a reason that is sure."""
    free, full = a_presence(slots=3, busy=2), a_presence(slots=2, busy=2)
    held = Capacity((free,), running=2, running_max=2)
    assert waiting_on(a_run(), capacity=held, now=at(1)) == (
        "the limit on all runs: 2 of 2 are running (MAX_CONCURRENT_RUNS)"
    )
    assert waiting_on(a_run(), capacity=held._replace(running=1), now=at(1)) == TAKER
    assert waiting_on(a_run(), capacity=held._replace(runners=(full,)), now=at(1)) == (
        "a free runner slot: 2 of 2 are busy"
    )


def test_a_run_that_waits_for_its_time_says_what_comes_then_and_when() -> None:
    """A retry is an attempt, a daemon's restart is none."""
    due = Pending(attempt=1, not_before=at(75))
    restart = replace(a_run(triggered_by="daemon_restart"), state=due)
    assert waiting_on(restart, capacity=Capacity(), now=at(0)) == "its restart, due in 1 min 15 s"
    retry = replace(a_run(retry_attempts=2), attempts=(_attempt(1),), state=replace(due, attempt=2))
    assert waiting_on(retry, capacity=Capacity(), now=at(74.5)) == "attempt 2 of 3, due in 1 s"


def test_the_runs_that_came_from_one_are_found_until_they_are_forgotten() -> None:
    """Oldest first, at most as many as asked for."""
    history, parent = RunIndex(runs_max=3), a_run()
    children = [
        replace(
            a_run(f"child{n}", created=n, parent_run_id=parent.id), state=Ended(verdict=Verdict.SUCCESS, at=at(n + 1))
        )
        for n in (2, 1, 3)
    ]
    for revision, run in enumerate((parent, *children), start=1):
        history.put(run, revision)
    assert [run.pipeline for run in history.children(parent.id, 2)] == ["child2", "child3"]
    for child in children:
        history.remove(child.id)
    assert history.children(parent.id, 2) == []
