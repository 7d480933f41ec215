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
    """A symbolic link in place of a folder is not a pipeline, whatever its target."""
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


def test_no_folder_name_controls_the_terminal(tmp_path: Path) -> None:
    """A name is printed on one line, whatever it contains."""
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
