"""What the cell runner sends: events that the contracts can read, bounded, with marks for what is left out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastflow_contracts.runs import cells
from fastflow_runner.guest.cells import report as report_module
from fastflow_runner.guest.cells.masking import Masker
from fastflow_runner.guest.cells.report import Report
from fastflow_runner.guest.supervisor import pipes
from tests.support.notebooks import only, text_of

Tell = Callable[[Callable[[Report], None]], list[cells.CellEvent]]


@pytest.fixture(scope="module")
def tell(tmp_path_factory: pytest.TempPathFactory) -> Tell:
    """Return the events of a first attempt of cell 0."""
    path = tmp_path_factory.mktemp("report") / "events"

    def told(steps: Callable[[Report], None], secrets: Iterable[str] = ("hunter2!",)) -> list[cells.CellEvent]:
        events = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        report = Report(events, Masker(secrets))
        report._print = lambda stream, text: None  # type: ignore[method-assign]  # the log is this process' own output
        report.began(0, 1)
        steps(report)
        report.ended("SUCCESS", count=1)
        os.close(events)
        lines = Path(path).read_bytes().splitlines()
        assert all(len(line) <= pipes.EVENT_BYTES_MAX for line in lines)
        return [cells.EVENT.decode(line) for line in lines]

    return told


@given(st.lists(st.text(), max_size=5))
def test_any_text_is_sent_whole(tell: Tell, texts: list[str]) -> None:
    """Everything that a cell writes arrives, in any pieces."""

    def steps(report: Report) -> None:
        for text in texts:
            report.wrote("stdout", text)

    events = tell(steps)
    assert text_of(events) == "".join(texts).encode("utf-8", "replace").decode()


def test_a_secret_that_comes_in_pieces_is_masked(tell: Tell) -> None:
    """Its beginning is held back until it is clear whether it is a secret."""

    def steps(report: Report) -> None:
        for piece in ("it is hun", "ter", "2! and hun", "gry"):
            report.wrote("stdout", piece)

    events = tell(steps)
    assert text_of(events) == "it is *** and hungry"
    assert next(event.text for event in only(cells.Wrote, events)) == "it is "


def test_a_value_comes_in_parts_that_fit_into_frames(tell: Tell) -> None:
    """Even if each character needs six bytes."""
    events = tell(lambda report: report.showed({"text/html": "\x01" * 300_000, "text/plain": "x"}))
    assert "".join(part.text for part in only(cells.Part, events)) == "\x01" * 300_000
    assert only(cells.Showed, events)[0].data == {"text/plain": "x"}


def test_output_beyond_a_bound_is_left_out_with_one_note(tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text, single outputs, their number, and all of a run together."""
    monkeypatch.setattr(report_module, "WROTE_CHARACTERS_MAX", 10)
    monkeypatch.setattr(report_module, "SHOWN_CHARACTERS_MAX", 20)
    monkeypatch.setattr(report_module, "SHOWN_MAX", 3)

    def steps(report: Report) -> None:
        for _ in range(3):
            report.wrote("stdout", "123456")
        report.showed({"image/png": "x" * 21, "text/plain": "x"})
        for _ in range(5):
            report.showed({"text/plain": "x"})

    events = tell(steps)
    assert text_of(events) == "1234561234"
    assert [shown.data for shown in only(cells.Showed, events)] == [{"text/plain": "x"}] * 3
    notes = [noted.text for noted in only(cells.Noted, events)]
    assert [note.split(" is left")[0].split(" are left")[0] for note in notes] == [
        "Text after the first 10 characters",
        "An output of type image/png with 21 characters",
        "Outputs after the first 3",
    ]


def test_every_event_fits_into_a_frame(tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    """With long names, many media types, tracebacks and parameters of control characters."""
    monkeypatch.setattr(Report, "log", lambda *_: None)
    odd = "\x01" * 1_000_000

    def steps(report: Report) -> None:
        report.injected(0, odd)
        report.showed({f"{n}/{odd}": odd[:100] for n in range(100)}, display=odd)
        report.redrew({"text/plain": "x"}, odd)
        report.raised(odd, odd, [odd[:20_000]] * 9)

    events = tell(steps)
    assert [type(event) for event in events if not isinstance(event, cells.Part)] == [
        cells.Began,
        cells.Injected,
        cells.Showed,
        cells.Redrew,
        cells.Raised,
        cells.EndedCell,
    ]


def test_beyond_the_bytes_of_a_run_only_statuses_are_sent(tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each cell has a note."""
    monkeypatch.setattr(report_module, "EVENTS_BYTES_MAX", 1_000)

    def steps(report: Report) -> None:
        report.wrote("stdout", "x" * 2_000)
        report.ended("SUCCESS", count=1)
        report.began(1, 1)
        report.showed({"text/plain": "x" * 1_000})

    events = tell(steps)
    assert (text_of(events), only(cells.Showed, events)) == ("", [])
    assert [noted.cell for noted in only(cells.Noted, events)] == [0, 1]
    assert [ended.cell for ended in only(cells.EndedCell, events)] == [0, 1]


def test_a_heading_starts_a_new_line_of_the_log(tmp_path: Path) -> None:
    """Even after an unfinished line of that stream."""
    log = os.open(tmp_path / "log", os.O_CREAT | os.O_RDWR)
    report = Report(os.open(os.devnull, os.O_WRONLY), Masker(()))
    saved = os.dup(1)
    os.dup2(log, 1)
    try:
        for steps in (lambda: report.wrote("stdout", "no end"), lambda: report.wrote("stderr", ""), lambda: None):
            steps()
            report.log("heading")
        report.wrote("stdout", "an end\n")
        report.log("heading")
    finally:
        os.dup2(saved, 1)
    assert (tmp_path / "log").read_text() == "no end\nheading\nheading\nheading\nan end\nheading\n"
