"""The strip of a pipeline's last runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from fastflow_api import shapes
from fastflow_contracts.runs.run import RunStatus
from fastflow_gateway.dashboard.view.run_strip import bars, strip, strip_words

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def mark(status: RunStatus, took_s: float | None = 1.0, *, run_id: str = "r") -> shapes.RunMark:
    end = None if took_s is None else NOW + timedelta(seconds=took_s)
    return shapes.RunMark(id=run_id, status=status, created_at=NOW, finished_at=end)


def test_the_newest_run_is_on_the_right() -> None:
    """Left is past, and empty slots come first."""
    drawn = bars([mark(RunStatus.FAILED), mark(RunStatus.SUCCESS)], slots=4, height=28)
    assert [(bar.run.status, bar.x) for bar in drawn] == [(RunStatus.SUCCESS, 18), (RunStatus.FAILED, 27)]
    assert strip([mark(RunStatus.FAILED)], slots=4).count('class="empty"') == 3


def test_a_longer_run_is_a_higher_bar() -> None:
    """The longest has the full height; one that still runs has half of it."""
    drawn = bars([mark(RunStatus.RUNNING, None), mark(RunStatus.SUCCESS, 100), mark(RunStatus.SUCCESS, 1)], 3, 28)
    low, high, live = (bar.height for bar in drawn)
    assert low < high == 28
    assert live == 16


@given(st.lists(st.tuples(st.sampled_from(RunStatus), st.none() | st.floats(-5, 1e6)), max_size=40))
def test_bars_stay_in_their_strip(runs: list[tuple[RunStatus, float | None]]) -> None:
    """With any durations, also if clocks went backwards."""
    drawn = bars([mark(status, took) for status, took in runs], slots=20, height=28)
    assert len(drawn) == min(20, len(runs))
    assert all(0 <= bar.x <= 171 and 4 <= bar.height <= 28 for bar in drawn)


def test_status_is_a_shape_too() -> None:
    """A failed run has a mark below it, a waiting or cancelled one is hollow, a running one is animated."""
    assert 'class="mark"' in strip([mark(RunStatus.FAILED)])
    assert 'class="bar hollow"' in strip([mark(RunStatus.INTERRUPTED)])
    assert 'class="bar hollow live"' in strip([mark(RunStatus.RUNNING, None)])
    assert 'class="bar"' in strip([mark(RunStatus.SUCCESS)])


def test_a_strip_has_a_text_for_screen_readers() -> None:
    """It has the counts."""
    runs = [mark(RunStatus.SUCCESS), mark(RunStatus.SUCCESS), mark(RunStatus.FAILED)]
    assert strip_words(runs) == "Last 3 runs: 2 succeeded, 1 failed"
    assert strip_words([]) == "No runs yet"


def test_a_strip_escapes_ids() -> None:
    """They come from the bus, where others may write too."""
    assert "<script>" not in strip([mark(RunStatus.SUCCESS, run_id='"><script>')])
