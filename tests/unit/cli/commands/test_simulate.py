"""``fastflow simulate`` on a folder, without an installation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command import fastflow

BEGIN = ("--from", "2026-03-20")


def folder(at: Path, **metadata: object) -> Path:
    """Make a pipeline in *at* for each of *metadata*."""
    for name, fields in metadata.items():
        (at / name).mkdir(parents=True)
        (at / name / "main.py").write_text("")
        (at / name / "pipeline.json").write_text(json.dumps(fields))
    return at


def test_a_folder_is_simulated_with_assumed_durations(tmp_path: Path) -> None:
    """Days, pipelines, refusals and changes of the clock, as text and as JSON."""
    there = folder(
        tmp_path / "all",
        etl={
            "schedule_cron": "30 2 * * *",
            "timezone": "Europe/Berlin",
            "downstream_triggers": [{"pipeline": "report"}],
        },
        report={"schedule_cron": "* * * * *", "max_instances": 1},
        off={"schedule_cron": "0 3 * * *", "enabled": False},
    )
    options = (*BEGIN, "--days", "12", "--slots", "2", "--assume", "90")
    done = fastflow("simulate", str(there), *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2026-03-20 00:00 to 2026-04-01 00:00 UTC, 2 slots." in done.stdout
    assert "etl schedule: 2026-03-29 02:30 does not exist: started right after the jump" in done.stdout
    assert "max_instances: 1 run(s) of report are pending or running already." in done.stdout
    assert 'it is disabled ("enabled": false)' in done.stdout
    assert "1 m 30 s (assumed)" in done.stdout
    assert "No installation is known" in done.stderr
    found = json.loads(fastflow("simulate", "all", "--json", *options, cwd=tmp_path).stdout)
    assert {each["pipeline"]: each["starts"] for each in found["pipelines"]}["etl"] == 12
    assert len(found["hours"]) == 12 * 24


def test_a_folder_with_problems_is_left_out(tmp_path: Path) -> None:
    """It is named with its problems; the others are simulated, and the exit code tells."""
    folder(tmp_path, good={"schedule_cron": "0 3 * * *"}, bad={"schedule_cron": "61 * * * *"})
    done = fastflow("simulate", ".", "--json", cwd=tmp_path)
    assert (done.returncode, [each["pipeline"] for each in json.loads(done.stdout)["pipelines"]]) == (1, ["good"])
    assert "bad/pipeline.json:1: schedule_cron" in done.stderr
    assert "Left out, with the problems above: bad." in done.stderr


def test_a_page_needs_a_folder_and_an_installation(tmp_path: Path) -> None:
    folder(tmp_path, a={})
    assert fastflow("simulate", "--html", "x.html", cwd=tmp_path).returncode == 2
    done = fastflow("simulate", ".", "--html", "x.html", cwd=tmp_path)
    assert (done.returncode not in (0, 1), (tmp_path / "x.html").exists(), "Traceback" in done.stderr) == (
        True,
        False,
        False,
    )


def test_nothing_is_simulated_without_a_valid_folder(tmp_path: Path) -> None:
    """The problems are those of ``validate``, with file and line."""
    folder(tmp_path, bad={"schedule_cron": "61 * * * *"}, never={"schedule_cron": "0 0 30 2 *"})
    done = fastflow("simulate", ".", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "bad/pipeline.json:1: schedule_cron" in done.stderr
    assert "never/pipeline.json:1: schedule_cron" in done.stderr
    assert "mend the problems first" in done.stderr


@pytest.mark.parametrize("options", [("--days", "0"), ("--days", "10000"), ("--slots", "0"), ("--from", "soon")])
def test_bad_options_say_what_is_accepted(tmp_path: Path, options: tuple[str, str]) -> None:
    folder(tmp_path, a={})
    done = fastflow("simulate", ".", *options, cwd=tmp_path)
    assert (done.returncode, options[0] in done.stderr) == (2, True)


def test_without_a_folder_it_needs_an_installation(tmp_path: Path) -> None:
    done = fastflow("simulate", cwd=tmp_path)
    assert done.returncode not in (0, 1)
    assert "Traceback" not in done.stderr
    assert fastflow("simulate", "nowhere", cwd=tmp_path).returncode == 3
