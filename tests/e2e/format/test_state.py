"""The state of a pipeline: the folder that its last successful run left, in every sandbox."""

from __future__ import annotations

import json
import tarfile
import tempfile
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
        text = path.read_text(errors="replace")[:20]
        print(path.relative_to(here), text, os.access(path, os.X_OK), int(path.stat().st_mtime))
exec(os.environ.get("DO", ""))
"""
ONE = "(here/'a').mkdir(exist_ok=True); f=here/'a'/'ä b.txt'; f.write_text('one'); f.chmod(0o755); os.utime(f, (5, 5))"

CELLS = (
    ("parameters", "error = ''"),
    ("", "import os, pathlib\nn = pathlib.Path(os.environ['FASTFLOW_STATE_DIR']) / 'n'"),
    ("", "n.write_text(str(int(n.read_text()) + 1 if n.exists() else 1))"),
    ("", "if error: 1 / 0"),
)
NOTEBOOK = {
    "cells": [
        {
            "cell_type": "code",
            "id": f"cell-{number}",
            "execution_count": None,
            "metadata": {"tags": [tag] if tag else []},
            "outputs": [],
            "source": source,
        }
        for number, (tag, source) in enumerate(CELLS)
    ],
    "metadata": {},
    "nbformat": 4,
    "nbformat_minor": 5,
}

NAMES = (
    *("whole", "failing", "bad", "odd", "closed", "reset", "restarted", "removed", "switched", "twice", "same"),
    *("database", "double__under", "double"),
)


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
        for name in NAMES:
            made.add(name, KEEPS, state=True)
        made.add("again", KEEPS, state=True, retry_attempts=1, retry_strategy={"type": "fixed_delay", "delay": 0})
        made.add("instances", KEEPS, state=True, max_instances=2)
        made.add("one", KEEPS, state=True, concurrency={"limit": 1})
        made.add("keyed", KEEPS, state=True, concurrency={"limit": 1, "key": "parameters.key"})
        (made.pipelines / "book").mkdir()
        (made.pipelines / "book" / "main.ipynb").write_text(json.dumps(NOTEBOOK))
        (made.pipelines / "book" / "pipeline.json").write_text(json.dumps({"type": "notebook", "state": True}))
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


def test_a_retry_begins_with_what_the_last_success_left(there: Rules) -> None:
    """Not with what the failed attempt wrote, and not without files."""
    left(there, "again", "(here/'n').write_text('1')")
    do = "(here/'n').write_text('2'); (here/'m').write_text('3'); sys.exit(os.environ['FASTFLOW_ATTEMPT'] == '1')"
    run = left(there, "again", do)
    assert (run["status"], [each["state_version"] for each in run["attempts"]]) == ("SUCCESS", [1, 1])
    assert [line.split()[:2] for line in there.text(run).splitlines() if line.startswith(("n ", "m "))] == [
        ["n", "1"]
    ] * 2


def test_names_that_look_alike_have_states_of_their_own(there: Rules) -> None:
    """Also one with the separators that a store may use."""
    for name in ("double__under", "double"):
        left(there, name, f"(here/'n').write_text('{name}')")
    for name in ("double__under", "double"):
        assert there.text(left(there, name)).startswith(f"n {name} False")


def test_a_database_that_was_never_closed_is_whole(there: Rules) -> None:
    """SQLite with a write-ahead log: the last rows are in a file beside it."""
    do = """
import sqlite3
db = sqlite3.connect(here/'rows.db', isolation_level=None)
db.execute('pragma journal_mode=wal')
db.execute('create table if not exists rows (n)')
db.execute('insert into rows values (1)')
print('rows:', db.execute('select count(*) from rows').fetchone()[0], flush=True)
os._exit(0)
"""
    for count in (1, 2, 3):
        assert f"rows: {count}" in there.text(left(there, "database", do))


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
            "FASTFLOW_STATE_DIR holds 9,000,001 bytes, and a state may have 8,388,608; the largest file is 'large.db'",
        ),
        ("(here/'link').symlink_to('/etc/passwd')", "'link' is a link; only regular files are kept."),
        ("os.mkfifo(here/'pipe')", "'pipe' is a named pipe; only regular files are kept."),
        ("shutil.rmtree(here)", "FASTFLOW_STATE_DIR was removed; to empty the state, remove what is in the folder"),
        ("[(here/str(n)).write_text('') for n in range(1001)]", "it holds more than 1,000 files"),
        (
            "[f.write(b'x' * n) for f, n in ((open(here/'a', 'wb'), 8 * 2**20), (open(here/'b', 'wb'), 1))]",
            "FASTFLOW_STATE_DIR holds 8,388,609 bytes, and a state may have 8,388,608; the largest file is 'a'",
        ),
        ("[(here/str(n)).write_text('') for n in range(100_000)]", "it holds more than 1,000 files: all others stay"),
        ("os.symlink('/etc', here/'etc')", "'etc' is a link; only regular files are kept."),
        ("os.symlink('.', here/'loop')", "'loop' is a link; only regular files are kept."),
        (
            "import socket; os.chdir(here); socket.socket(socket.AF_UNIX).bind('s')",
            "'s' is a socket; only regular files",
        ),
        ("open(os.fsencode(here) + b'/b\\xffd', 'w').close()", "'b\\udcffd' has a name that is not UTF-8."),
        ("(here/'b\\nd').write_text('')", "'b\\nd' has a control character in its name."),
        ("open(here/'hole', 'w').truncate(2**40)", "the largest file is 'hole' with 1,099,511,627,776."),
        ("[os.mkdir('d') or os.chdir('d') for _ in range(40) if _ or not os.chdir(here)]", "deeper than 32 folders."),
        ("here.rename(here.parent/'x'); here.symlink_to('/etc')", "the folder itself is not the one that the script"),
    ],
)
def test_what_cannot_be_kept_fails_the_run_and_changes_nothing(there: Rules, do: str, said: str) -> None:
    """With a sentence that says what to do."""
    before = state(there, "bad")
    run = left(there, "bad", do)
    assert (run["status"], run["error_type"], run["exit_code"]) == ("FAILED", "state_error", 0)
    assert said in run["error_message"]
    assert state(there, "bad") == before


@pytest.mark.parametrize(
    ("do", "files", "size_bytes"),
    [
        ("(here/'full').write_bytes(b'x' * 8 * 2**20)", 1, 8 * 2**20),
        ("[(here/str(n)).write_text('') for n in range(1000)]", 1000, 0),
        ("(here/('ä' * 127 + 'a')).write_text('1')", 1, 1),
        ("os.link('main.py', here/'of-the-code'); os.link(here/'of-the-code', here/'again')", 2, None),
        ("open(here/'hole', 'w').truncate(2**22)", 1, 2**22),
        ("f = open(here/'f', 'w'); f.write('2'); f.flush(); os.fork() or time.sleep(60)", 1, 1),
    ],
)
def test_odd_files_within_the_bounds_are_kept(there: Rules, do: str, files: int, size_bytes: int | None) -> None:
    """Exactly the bounds, the longest name, other names of a file, holes, and files that someone still has open."""
    run = left(there, "odd", f"[shutil.rmtree(p) if p.is_dir() else p.unlink() for p in here.iterdir()]; {do}")
    assert run["status"] == "SUCCESS", run
    version = state(there, "odd")["versions"][0]
    assert (version["run_id"], version["files"]) == (run["id"], files)
    assert size_bytes in (None, version["size_bytes"])
    assert left(there, "odd")["status"] == "SUCCESS"


@pytest.mark.parametrize("what", ["d", "d/f"])
def test_what_may_not_be_read_is_named(there: Rules, what: str) -> None:
    """Nothing is left out in silence. A script that runs as root may read all."""
    do = (
        f"d = here/'d'; d.mkdir(); (d/'f').write_text('1'); w = here/'{what}'; w.chmod(0); print(os.access(w, os.R_OK))"
    )
    before = state(there, "closed")["versions"]
    run = left(there, "closed", f"shutil.rmtree(here/'d', ignore_errors=True); {do}")
    if there.text(run).endswith("True"):
        assert state(there, "closed")["versions"][0]["files"] == 1
    else:
        assert run["error_type"] == "state_error"
        assert f"'{what}' cannot be read: Permission denied." in run["error_message"]
        assert state(there, "closed")["versions"] == before


def test_a_notebook_keeps_state(there: Rules) -> None:
    """A cell that fails leaves nothing."""
    for expected, error in (("1", ""), ("2", ""), ("2", "1/0"), ("3", "")):
        run = there.done("book", parameters={"error": error})
        assert run["status"] == ("FAILED" if error else "SUCCESS"), run
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "state.tar.gz"
            assert there.there.command("state", "book", "--download", str(target)).returncode == 0
            with tarfile.open(target) as tar:
                file = tar.extractfile("n")
                assert file is not None
                assert file.read().decode() == expected


def test_state_that_is_switched_off_and_on_again_is_there(there: Rules) -> None:
    """Without "state" a run has no folder and changes nothing."""
    left(there, "switched", "(here/'n').write_text('1')")
    (there.there.pipelines / "switched" / "main.py").write_text("import os; print('FASTFLOW_STATE_DIR' in os.environ)")
    there.rewrite("switched", state=False)
    assert there.text(there.done("switched")) == "False"
    assert (state(there, "switched")["is_kept"], len(state(there, "switched")["versions"])) == (False, 1)
    (there.there.pipelines / "switched" / "main.py").write_text(KEEPS)
    there.rewrite("switched", state=True)
    assert there.text(left(there, "switched")).startswith("n 1 False")


def test_a_removed_pipeline_keeps_its_state_and_a_renamed_one_begins_without(there: Rules) -> None:
    """It belongs to the name."""
    left(there, "removed", "(here/'n').write_text('1')")
    old, new = there.there.pipelines / "removed", there.there.pipelines / "renamed"
    old.rename(new)
    assert there.ask("POST", "/api/sync", {}).status == 200
    assert there.ask("GET", "/api/pipelines/removed").status == 404
    assert len(state(there, "removed")["versions"]) == 1
    assert there.text(left(there, "renamed")) == ""
    new.rename(old)
    assert there.ask("POST", "/api/sync", {}).status == 200
    assert there.text(left(there, "removed")).startswith("n 1 False")


def test_a_reset_while_a_run_is_at_work_makes_it_begin_again_without_files(there: Rules) -> None:
    """What it read is gone; what it leaves in the end is its own."""
    left(there, "restarted", "(here/'old').write_text('1')")
    run = there.start(
        "restarted", env_vars={"DO": "(here/'old').exists() and time.sleep(20); (here/'n').write_text('2')"}
    )
    there.wait(lambda: there.run(run)["phases"]["environment"])
    assert there.ask("DELETE", "/api/pipelines/restarted/state").status == 200
    ended = there.end(run)
    assert [each["error_type"] for each in ended["attempts"]] == ["state_conflict", None], ended
    assert "by a reset" in ended["attempts"][0]["error_message"]
    assert there.text(left(there, "restarted")).startswith("n 2 False")
    page = there.page(f"/runs/{ended['id']}")
    assert "state changed by a reset" in page


def test_runs_that_take_turns_never_conflict(there: Rules) -> None:
    """With a limit of one, keyed or not; with a limit for each key two of the keys can conflict, and both end well."""
    add = "n = here/'n'; n.write_text(str(int(n.read_text() or 0) + 1 if n.exists() else 1))"
    for name, conflicts in (("one", 0), ("keyed", None)):
        runs = [there.start(name, env_vars={"DO": add}, parameters={"key": str(n % 2)}) for n in range(6)]
        ended = [there.end(run) for run in runs]
        assert {run["status"] for run in ended} == {"SUCCESS"}, ended
        seen = [each["error_type"] for run in ended for each in run["attempts"] if each["error_type"]]
        assert set(seen) <= {"state_conflict"}
        assert conflicts is None or not seen
        assert sorted(run["attempts"][-1]["state_left"] for run in ended) == [1, 2, 3, 4, 5, 6]
        assert there.text(there.done(name, parameters={"key": "0"})).startswith("n 6 False")


@pytest.mark.parametrize("name", ["twice", "instances"])
def test_a_run_conflicts_with_one_that_committed_meanwhile(there: Rules, name: str) -> None:
    """It is tried again with the new state, although it has no retries."""
    slow = there.start(
        name,
        env_vars={"DO": "time.sleep(0 if (here/'b').exists() else 20); (here/'a').write_text('a')"},
    )
    there.wait(lambda: there.run(slow)["phases"]["environment"])
    assert left(there, name, "(here/'b').write_text('b')")["status"] == "SUCCESS"
    ended = there.end(slow)
    assert (ended["status"], ended["attempt"], ended["attempts_max"]) == ("SUCCESS", 2, 1), ended
    assert [each["error_type"] for each in ended["attempts"]] == ["state_conflict", None]
    assert "the state changed by run" in there.page(f"/runs/{ended['id']}")
    assert "version 0 was current, 1 is now" in ended["attempts"][0]["error_message"]
    assert there.text(left(there, name)).split()[:2] == ["a", "a"]
    assert [each["number"] for each in state(there, name)["versions"]] == [2, 1]


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
