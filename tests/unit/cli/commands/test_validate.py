"""``fastflow validate`` and ``config``, without a bus."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.command import fastflow

EXAMPLES = Path(__file__).parents[4] / "examples" / "pipelines"


def test_validate_needs_no_bus_and_names_file_and_line(tmp_path: Path) -> None:
    """With field, value and accepted values; the exit code is 1 if there are problems."""
    assert fastflow("validate", str(EXAMPLES), cwd=tmp_path).returncode == 0
    assert fastflow("validate", str(EXAMPLES / "hello"), cwd=tmp_path).returncode == 0
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "main.py").write_text("")
    (bad / "pipeline.json").write_text('{\n  "timeout": "soon"\n}\n')
    done = fastflow("validate", ".", cwd=tmp_path)
    assert done.returncode == 1
    assert 'bad/pipeline.json:2: timeout is "soon"; accepted: a number of seconds' in done.stdout
    (report,) = json.loads(fastflow("validate", "bad", "--json", cwd=tmp_path).stdout)
    assert (report["name"], report["valid"], report["problems"][0]["line"]) == ("bad", False, 2)
    missing = fastflow("validate", "nowhere", cwd=tmp_path)
    assert (missing.returncode, "not a folder" in missing.stderr) == (3, True)
    (tmp_path / "empty").mkdir()
    assert fastflow("validate", "empty", cwd=tmp_path).returncode == 3


def test_validate_reports_what_a_sync_would_refuse(tmp_path: Path) -> None:
    """A symbolic link in place of a folder is not a pipeline, with any target."""
    (tmp_path / "good").mkdir()
    (tmp_path / "good/main.py").write_text("")
    (tmp_path / "linked").symlink_to("good")
    done = fastflow("validate", ".", cwd=tmp_path)
    assert done.returncode == 1
    assert "linked: is a link, which is not followed; put the folder there." in done.stdout
    assert "2 pipelines, 1 with problems." in done.stderr
    assert fastflow("validate", "good", cwd=tmp_path).returncode == 0


def test_validate_reports_folders_that_look_like_pipelines(tmp_path: Path) -> None:
    """A sync would ignore such a folder silently; alone it makes the command fail."""
    for path in ("typo/mian.py", "typo/pipeline.json", "book/main.ipynb", "data/table.csv"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("{}")
    assert fastflow("validate", ".", cwd=tmp_path).returncode == 1
    (tmp_path / "good").mkdir()
    (tmp_path / "good/main.py").touch()
    done = fastflow("validate", ".", cwd=tmp_path)
    assert (done.returncode, "1 pipeline, no problems." in done.stderr) == (0, True)
    assert "typo: has a pipeline.json, but no main.py: it is ignored." in done.stdout
    assert 'book: has a main.ipynb, but no pipeline.json that says "type": "notebook": it is ignored.' in done.stdout
    assert "data" not in done.stdout


def test_a_script_in_the_root_hides_no_pipeline(tmp_path: Path) -> None:
    """The folders are checked, and a script beside them is noticed; one in a package of a pipeline costs nothing."""
    (tmp_path / "a").mkdir()
    for name in ("main.py", "a/main.py"):
        (tmp_path / name).write_text("print(1)\n")
    done = fastflow("validate", ".", cwd=tmp_path)
    assert (done.returncode, "has pipelines in it" in done.stdout) == (0, True)
    (tmp_path / "a/pipeline.json").write_text('{"timeout": "soon"}')
    done = fastflow("validate", ".", cwd=tmp_path)
    assert done.returncode == 1
    assert "timeout is" in done.stdout
    (tmp_path / "a/main.py").unlink()
    (tmp_path / "a/pipeline.json").unlink()
    done = fastflow("validate", ".", cwd=tmp_path)
    assert (done.returncode, "has pipelines in it" in done.stdout) == (0, False)


def test_validate_shows_limits_before_they_bite(tmp_path: Path) -> None:
    """A notice from 80 % of a folder's limit on; the limits are those of the environment."""
    (tmp_path / "etl").mkdir()
    (tmp_path / "etl/main.py").touch()
    (tmp_path / "etl/data.bin").write_bytes(bytes(900))
    assert "at most" not in fastflow("validate", ".", cwd=tmp_path).stdout
    for name, limit, words in (
        ("FASTFLOW_FOLDER_FILES_MAX", "2", "2 files; at most 2 can travel"),
        ("FASTFLOW_FOLDER_BYTES_MAX", "1000", "at most 0.0 MB can travel"),
        ("FASTFLOW_FOLDER_FILE_BYTES_MAX", "1000", "data.bin: It has 0.0 MB; a file may have at most"),
    ):
        done = fastflow("validate", ".", cwd=tmp_path, **{name: limit})
        assert (done.returncode, words in done.stdout) == (0, True), done.stdout
    assert fastflow("validate", ".", cwd=tmp_path, FASTFLOW_FOLDER_BYTES_MAX="899").returncode == 1
    refused = fastflow("validate", ".", cwd=tmp_path, FASTFLOW_FOLDER_BYTES_MAX="209715201")
    assert "FASTFLOW_FOLDER_BYTES_MAX" in refused.stderr


def test_validate_shows_the_limits_of_runs(tmp_path: Path) -> None:
    """Those that apply, if the environment sets any; more than a maximum is a problem."""
    (tmp_path / "etl").mkdir()
    (tmp_path / "etl/main.py").touch()
    (tmp_path / "etl/pipeline.json").write_text('{"mem_hard_limit": "2g"}')
    assert "limits:" not in fastflow("validate", ".", cwd=tmp_path).stdout
    done = fastflow("validate", ".", cwd=tmp_path, DEFAULT_CPU_LIMIT="0.5", MAX_TIMEOUT="3600")
    assert "limits: cpu 0.5 cores, memory 2 GiB, timeout 1 h 00 m" in done.stdout
    done = fastflow("validate", ".", cwd=tmp_path, MAX_MEM_LIMIT="1g")
    assert done.returncode == 1
    assert 'mem_hard_limit is "2g"; accepted: at most 1,024 MiB here (MAX_MEM_LIMIT)' in done.stdout


def test_validate_says_what_other_schedulers_read_differently(tmp_path: Path) -> None:
    """Numbers of weekdays, and two restricted days; and settings of theirs that have no effect."""
    (tmp_path / "etl").mkdir()
    (tmp_path / "etl/main.py").touch()
    for expr, words in (("0 9 * * 1", "1 is Monday"), ("0 9 1 * mon", "one of them is enough")):
        (tmp_path / "etl/pipeline.json").write_text(json.dumps({"schedule_cron": expr}))
        done = fastflow("validate", ".", cwd=tmp_path, LOG_RETENTION_DAYS="30")
        assert words in done.stdout
        assert "LOG_RETENTION_DAYS is set and has no effect here" in done.stderr
    for expr in ("0 9 * * mon-fri", "@weekly", "*/5 * * * *", "0 0 * * */2"):
        (tmp_path / "etl/pipeline.json").write_text(json.dumps({"schedule_cron": expr}))
        assert "a difference" not in fastflow("validate", ".", cwd=tmp_path).stdout


def test_no_folder_name_controls_the_terminal(tmp_path: Path) -> None:
    """A name is printed on one line, with any characters in it."""
    (tmp_path / "a\n\x1b[31mb").mkdir()
    (tmp_path / "a\n\x1b[31mb" / "main.py").touch()
    done = fastflow("validate", str(tmp_path), cwd=tmp_path)
    assert done.returncode == 1
    assert r"bad a\n\x1b[31mb" in done.stdout
    assert "\x1b" not in done.stdout


def test_settings_are_listed_and_secrets_are_not_shown(tmp_path: Path) -> None:
    """Value, default, and description."""
    done = fastflow("config", cwd=tmp_path, FASTFLOW_ADMIN_TOKEN="very-secret-token", RUNNER_SLOTS="3")
    assert "very-secret-token" not in done.stdout
    listed = {row["name"]: row for row in json.loads(fastflow("config", "--json", cwd=tmp_path).stdout)}
    assert listed["RUNNER_SLOTS"]["default"] == "10"
    assert listed["RUNNER_SLOTS"]["services"] == ["runner"]
    assert (listed["FASTFLOW_GRACE_S"]["default"], listed["FASTFLOW_GRACE_S"]["default_in_up"]) == ("30", "2")


def test_a_cycle_of_pipelines_is_noted_once(tmp_path: Path) -> None:
    """At its first pipeline, with the way round and what else is in it. A link that never applies closes none, and
    neither does one with a route.
    """
    links = {"a": ["b", "c"], "b": ["a"], "c": ["a"], "d": ["a"]}
    links |= {name: [name] for name in ("self", "never", "until")}
    extra = {"never": {"on_success": False}, "until": {"on_route": "again"}}
    for name, targets in links.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "main.py").write_text("")
        rules = [{"pipeline": target} | extra.get(name, {}) for target in targets]
        (tmp_path / name / "pipeline.json").write_text(json.dumps({"downstream_triggers": rules}))
    answer = fastflow("validate", ".", "--json", cwd=tmp_path)
    assert answer.returncode == 0
    notices = {each["name"]: [notice["text"] for notice in each["notices"]] for each in json.loads(answer.stdout)}
    assert notices["a"][0].startswith("starts itself again: a → b → a (and others through c). ")
    assert notices["self"][0].startswith("starts itself again: self → self. ")
    assert {name: texts for name, texts in notices.items() if texts}.keys() == {"a", "self"}


def test_a_folder_with_far_too_many_files_is_still_a_pipeline(tmp_path: Path) -> None:
    """However its names are ordered, it is listed with the reason."""
    (tmp_path / "etl").mkdir()
    for number in range(30):
        (tmp_path / f"etl/a{number}.json").touch()
    (tmp_path / "etl/main.py").touch()
    listed = fastflow("validate", ".", cwd=tmp_path, FASTFLOW_FOLDER_FILES_MAX="5")
    assert listed.returncode == 1
    assert "bad etl" in listed.stdout
    assert "more than 5 files" in listed.stdout


def test_an_expression_that_cannot_work_is_a_problem_with_its_column(tmp_path: Path) -> None:
    """It is evaluated, as by a sync; nothing else is written about that."""
    (tmp_path / "main.py").write_text("1")
    (tmp_path / "pipeline.json").write_text('{"concurrency": {"key": "event.matches(\'(\')"}}')
    done = fastflow("validate", ".", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "1 pipeline, 1 with problems.\n")
    assert "pipeline.json:1:40: concurrency.key" in done.stdout
    assert "a regular expression as the pattern: unclosed group" in done.stdout
