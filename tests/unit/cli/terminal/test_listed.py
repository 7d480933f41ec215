"""Jobs, runners and followed runs as text."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from fastflow.commands.runners import table as runners_table
from fastflow.commands.schedules import chosen
from fastflow.commands.schedules import table as jobs_table
from fastflow.errors import NoSuchThing
from fastflow.terminal.printer import Printer
from fastflow.terminal.schedules import words
from fastflow_api.shapes import Attempt, ErrorType, Job, JobKind, LogLine, PartialLine, Run, Runner, Status, Window
from fastflow_gateway.views import run_shapes
from fastflow_gateway.views.waiting import Capacity
from tests.support.records import T0, a_run

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def a_job(kind: JobKind = "cron", value: str = "0 3 * * *", *, schedule: str = "schedule") -> Job:
    return Job(
        id=f"etl.{schedule}",
        pipeline="etl",
        schedule=schedule,
        run_config_id=schedule.partition("/")[2] or None,
        kind=kind,
        value=value,
        timezone="UTC",
        catchup="last",
        enabled=True,
        note=None,
        next_run_time=NOON + timedelta(seconds=185),
        last_run_time=None,
        window=Window(start=None, end=None),
    )


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("cron", "0 3 * * *", "cron 0 3 * * *"),
        ("interval", "60", "every 60 s"),
        ("restart", "3600", "every 3600 s"),
        ("restart", "@daily", "cron @daily"),
        ("once", "2026-01-31T03:00:00Z", "at 2026-01-31 03:00:00 UTC"),
    ],
)
def test_a_job_says_when_it_fires(kind: JobKind, value: str, text: str) -> None:
    """With the same words as `validate`."""
    assert words(a_job(kind, value)) == text


def test_a_job_has_a_line_with_what_is_due() -> None:
    """Or why it does not fire."""
    off = replace(a_job("interval", "60"), next_run_time=None, note="It is switched off.")
    assert jobs_table([a_job(), off], NOON).splitlines() == [
        "PIPELINE  SCHEDULE  WHEN            NEXT         NOTE",
        "etl       schedule  cron 0 3 * * *  in 3 m 05 s",
        "etl       schedule  every 60 s                   It is switched off.",
    ]


def test_a_schedule_is_chosen_by_pipeline_and_by_name() -> None:
    """An entry of `schedules` also by its id alone; an unknown name is an error."""
    jobs = [a_job(schedule="schedules/a"), a_job(schedule="schedules/b")]
    assert chosen(jobs, "etl", None) == jobs
    assert chosen(jobs, "etl", "b") == chosen(jobs, "etl", "schedules/b") == jobs[1:]
    with pytest.raises(NoSuchThing, match="no schedule c; there are: schedules/a, schedules/b"):
        chosen(jobs, "etl", "c")
    with pytest.raises(NoSuchThing, match="other has no schedules"):
        chosen(jobs, "other", None)


def test_a_runner_says_what_its_sandbox_does_not_enforce() -> None:
    """One line for each runner, with the sentences below it."""
    runner = Runner(
        id="one",
        host="h",
        version="0",
        sandbox="process",
        sandbox_reason="",
        kinds=("script", "notebook"),
        slots=4,
        busy=1,
        load=0.25,
        environments=3,
        leaving=True,
        paused=False,
        unenforced=("It reaches everything.",),
        degraded=("runner/pool failed once",),
        started_at=T0,
        seen_at=T0,
    )
    two = replace(runner, id="two", unenforced=(), degraded=())
    head, *lines = runners_table([runner, two], T0 + timedelta(hours=1)).split("\n")
    assert head.split() == ["RUNNER", "HOST", "VERSION", "SANDBOX", "BUSY", "LOAD", "ENVS", "KINDS", "LABELS", "SINCE"]
    assert lines[0].split() == [
        "one",
        "h",
        "0",
        "process",
        "1/4",
        "leaving",
        "0.25",
        "3",
        "script,notebook",
        "-",
        "1",
        "h",
        "00",
        "m",
    ]
    assert lines[1] == "  It reaches everything."
    assert lines[2] == "  Degraded: runner/pool failed once."
    assert lines[3].startswith("two ")


def shown(status: Status, *attempts: Attempt, next_attempt_at: datetime | None = None) -> Run:
    run = run_shapes.run(a_run(), capacity=Capacity(), now=T0)
    return replace(run, status=status, attempts=attempts, next_attempt_at=next_attempt_at)


def test_each_failed_attempt_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    """With the pause before the next one, unless that one already runs."""
    first = Attempt(
        number=1,
        runner="r",
        claimed_at=NOON,
        prepared_at=NOON,
        started_at=NOON,
        finished_at=NOON,
        exit_code=1,
        error_type=ErrorType.SCRIPT_ERROR,
        error_message=None,
        memory_bytes_peak=None,
        cpu_cores_peak=None,
        warnings=(),
    )
    second = replace(first, number=2, exit_code=None, error_type=ErrorType.TIMEOUT)
    printer = Printer(as_json=False, states=True)
    printer.changed(shown(Status.PENDING, first, next_attempt_at=NOON + timedelta(seconds=2)))
    printer.changed(shown(Status.RUNNING, first))
    printer.changed(shown(Status.RUNNING, first, second))
    Printer(as_json=False, states=False).changed(shown(Status.RUNNING, first))
    said = capsys.readouterr()
    assert (said.out, said.err) == (
        "",
        "Attempt 1 failed: exit code 1. The next one in 2.0 s.\nAttempt 2 failed: timeout.\n",
    )


def test_a_line_goes_to_the_stream_that_the_script_used(capsys: pytest.CaptureFixture[str]) -> None:
    """Our own lines go to stderr; as JSON everything goes to stdout."""
    lines = [LogLine(ts=NOON, stream=stream, attempt=1, line=stream) for stream in ("stdout", "stderr", "system")]
    for line in lines:
        Printer(as_json=False, states=False).part(line)
    assert capsys.readouterr() == ("stdout\n", "stderr\nsystem\n")
    Printer(as_json=True, states=False).part(lines[0])
    assert capsys.readouterr().out == '{"ts":"2026-03-02T12:00:00Z","attempt":1,"stream":"stdout","line":"stdout"}\n'


def test_text_is_printed_as_it_comes_and_once(capsys: pytest.CaptureFixture[str]) -> None:
    """An open line grows, as a script prints it; JSON has whole lines only."""
    open_text: dict[str, Any] = {"ts": NOON, "stream": "stdout", "attempt": 1}
    parts = [
        PartialLine(start=0, text="10%", **open_text),
        LogLine(ts=NOON, stream="stderr", attempt=1, line="careful"),
        PartialLine(start=0, text="10%\r20%", **open_text),  # a runner that took over shows all of it
        LogLine(line="10%\r20", more=True, **open_text),
        LogLine(line="%\r100%", **open_text),
    ]
    said = []
    for as_json in (False, True):
        printer = Printer(as_json=as_json, states=False)
        for part in parts:
            printer.part(part)
            said.append(capsys.readouterr())
        printer.close()
    assert said[:5] == [("10%", ""), ("", "careful\n"), ("\r20%", ""), ("", ""), ("\r100%\n", "")]
    assert [json.loads(text)["line"] for text, _ in said[5:] if text] == ["careful", "10%\r20%\r100%"]
