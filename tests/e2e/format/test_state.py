"""The state of a pipeline: the folder that its last successful run left, in every sandbox."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.installation import Installation
from tests.support.rules import Rules

KEEPS = """\
import os, shutil, sys, time
from pathlib import Path
here = Path(os.environ["FASTFLOW_STATE_DIR"])
for path in sorted(here.rglob("*")):
    if path.is_file():
        print(path.relative_to(here), path.read_text()[:20], os.access(path, os.X_OK), int(path.stat().st_mtime))
exec(os.environ.get("DO", ""))
"""
ONE = "(here/'a').mkdir(exist_ok=True); f=here/'a'/'ä b.txt'; f.write_text('one'); f.chmod(0o755); os.utime(f, (5, 5))"


@pytest.fixture(
    scope="module",
    params=[
        "process",
        pytest.param("bubble", marks=pytest.mark.bubble),
        pytest.param("docker", marks=pytest.mark.docker),
    ],
)
def there(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rules]:
    """One installation for all tests of this file."""
    with Installation(tmp_path_factory.mktemp("state")) as made:
        for name in ("whole", "failing", "bad", "reset", "twice", "same"):
            made.add(name, KEEPS, state=True)
        made.start("--sandbox", request.param)
        yield Rules(made)
        assert made.stop() == 0


def left(there: Rules, name: str, do: str = "") -> dict[str, Any]:
    """Run a pipeline to its end."""
    return there.done(name, env_vars={"DO": do})


def state(there: Rules, name: str) -> dict[str, Any]:
    """What the API says of its state."""
    found: dict[str, Any] = there.get(f"/api/pipelines/{name}/state")
    return found


def test_a_run_finds_what_the_last_successful_one_left(there: Rules) -> None:
    """Files with their paths, contents, times and whether they are executable."""
    first = left(there, "whole", ONE)
    assert (first["status"], there.text(first)) == ("SUCCESS", "")
    second = left(there, "whole", "(here/'b').write_text('two')")
    assert there.text(second) == "a/ä b.txt one True 5"
    third = left(there, "whole", "shutil.rmtree(here/'a'); (here/'b').unlink()")
    assert there.text(third).splitlines()[0] == "a/ä b.txt one True 5"
    assert there.text(left(there, "whole")) == ""
    found = state(there, "whole")
    assert [each["number"] for each in found["versions"]] == [3, 2, 1]
    assert [each["run_id"] for each in found["versions"]] == [third["id"], second["id"], first["id"]]
    assert [each["files"] for each in found["versions"]] == [0, 2, 1]
    assert [(run["attempts"][-1]["state_version"], run["attempts"][-1]["state_left"]) for run in (first, second)] == [
        (0, 1),
        (1, 2),
    ]


def test_a_run_that_does_not_succeed_changes_nothing(there: Rules) -> None:
    """Whatever it wrote: it failed, was killed, or was cancelled."""
    left(there, "failing", "(here/'n').write_text('1')")
    for do in ("sys.exit(3)", "os.kill(os.getpid(), 9)", "raise ValueError"):
        run = left(there, "failing", f"(here/'n').write_text('2'); (here/'m').write_text('3'); {do}")
        assert (run["status"], run["attempts"][-1]["state_left"]) == ("FAILED", None)
    assert there.text(left(there, "failing")).startswith("n 1 False")
    assert len(state(there, "failing")["versions"]) == 1


def test_an_unchanged_folder_is_no_new_version(there: Rules) -> None:
    """A poller that finds nothing new leaves no history."""
    left(there, "same", "(here/'n').write_text('1')")
    for do in ("", "(here/'n').write_text('1')"):
        run = left(there, "same", do)
        assert (run["status"], run["attempts"][-1]["state_left"]) == ("SUCCESS", None)
    assert [each["number"] for each in state(there, "same")["versions"]] == [1]


@pytest.mark.parametrize(
    ("do", "said"),
    [
        (
            "(here/'small').write_text('x'); (here/'large.db').write_bytes(b'x' * 9_000_000)",
            "FASTFLOW_STATE_DIR holds 8.6 MiB, and a state may have 8; the largest file is 'large.db' with 8.6 MiB.",
        ),
        ("(here/'link').symlink_to('/etc/passwd')", "'link' is a link; only regular files are kept."),
        ("os.mkfifo(here/'pipe')", "'pipe' is a named pipe; only regular files are kept."),
        ("shutil.rmtree(here)", "FASTFLOW_STATE_DIR was removed; to empty the state, remove what is in the folder"),
        ("[(here/str(n)).write_text('') for n in range(1001)]", "it holds more than 1,000 files"),
    ],
)
def test_what_cannot_be_kept_fails_the_run_and_changes_nothing(there: Rules, do: str, said: str) -> None:
    """With a sentence that says what to do."""
    before = state(there, "bad")
    run = left(there, "bad", do)
    assert (run["status"], run["error_type"], run["exit_code"]) == ("FAILED", "state_error", 0)
    assert said in run["error_message"]
    assert state(there, "bad") == before


def test_a_run_conflicts_with_one_that_committed_meanwhile(there: Rules) -> None:
    """It is tried again with the new state, although it has no retries."""
    slow = there.start(
        "twice",
        env_vars={"DO": "time.sleep(0 if (here/'b').exists() else 20); (here/'a').write_text('a')"},
    )
    there.wait(lambda: there.run(slow)["phases"]["environment"])
    assert left(there, "twice", "(here/'b').write_text('b')")["status"] == "SUCCESS"
    ended = there.end(slow)
    assert (ended["status"], ended["attempt"], ended["attempts_max"]) == ("SUCCESS", 2, 1), ended
    assert [each["error_type"] for each in ended["attempts"]] == ["state_conflict", None]
    assert "version 0 was current, 1 is now" in ended["attempts"][0]["error_message"]
    assert there.text(left(there, "twice")).split()[:2] == ["a", "a"]
    assert [each["number"] for each in state(there, "twice")["versions"]] == [2, 1]


def test_a_state_is_downloaded_and_reset(there: Rules, tmp_path: Path) -> None:
    """Older versions stay in the history; a run that has begun with the former one conflicts."""
    assert state(there, "reset") == {"pipeline_name": "reset", "is_kept": True, "versions": []}
    left(there, "reset", ONE)
    target = tmp_path / "state.tar.gz"
    assert there.there.command("state", "reset", "--download", str(target)).returncode == 0
    with tarfile.open(target) as tar:
        assert [(info.name, info.size) for info in tar] == [("a/ä b.txt", 3)]
    assert there.ask("GET", "/api/pipelines/reset/state/7").status == 404
    (now, before) = there.ask("DELETE", "/api/pipelines/reset/state").json["versions"]
    assert (now["number"], now["files"], now["run_id"], before["number"]) == (2, 0, None, 1)
    assert there.text(left(there, "reset")) == ""
    target.unlink()
    assert there.there.command("state", "reset", "--download", str(target), "--version", "1").returncode == 0
    assert tarfile.is_tarfile(target)
    page = there.page("/pipelines/reset")
    assert all(
        text in page for text in ("Version 2", "Version 1", "1 file, 3 B", 'download aria-label="Download version 1"')
    )
