"""Artifacts from the script that leaves them to the script that needs them, in every sandbox."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.installation import Installation
from tests.support.rules import Rules

LEAVES = """\
import os, sys, time
os.chdir(os.environ["FASTFLOW_ARTIFACTS_DIR"])
assert os.listdir() == []
exec(os.environ.get("DO", ""))
"""
FINDS = """\
import hashlib, os
from pathlib import Path
print(Path(os.environ["FASTFLOW_EVENT_FILE"]).read_text())
root = Path(os.environ["FASTFLOW_PARENT_ARTIFACTS_DIR"])
for path in sorted(root.rglob("*")):
    if path.is_file():
        print(path.relative_to(root), hashlib.sha256(path.read_bytes()).hexdigest(), oct(path.stat().st_mode & 0o777))
print("found all")
"""
LARGE = "open('large.bin', 'wb').write(bytes(range(256)) * 40_000); os.mkdir('a'); open('a/ä.csv', 'w').write('x,y')"


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
    with Installation(tmp_path_factory.mktemp("artifacts")) as made:
        again = {"id": "again", "retry_attempts": 1, "retry_strategy": {"type": "fixed_delay", "delay": 0}}
        needs = {"pipeline": "finds", "on_failure": True, "needs_artifacts": True}
        made.add("leaves", LEAVES, downstream_triggers=[needs, {"pipeline": "plain"}], schedules=[again])
        made.add("finds", FINDS)
        made.add("plain", "import os; print(repr(os.environ['FASTFLOW_PARENT_ARTIFACTS_DIR']))")
        made.start("--sandbox", request.param, FASTFLOW_ARTIFACTS_BYTES_MAX="20000000")
        yield Rules(made)
        assert made.stop() == 0


def left(there: Rules, do: str, **body: Any) -> dict[str, Any]:
    """Run the first pipeline to its end."""
    return there.done("leaves", **{"env_vars": {"DO": do}, **body})


def found(there: Rules, run: dict[str, Any]) -> tuple[list[str], Any]:
    """Return the lines of the run that needs the artifacts of *run*, and the data of its event."""
    (follower,) = there.first("finds", parent_run_id=run["id"])
    ended = there.end(follower)
    assert ended["status"] == "SUCCESS", ended
    event, *lines, last = there.text(ended).splitlines()
    assert last == "found all"
    return lines, json.loads(event)["data"]


def test_a_follower_that_needs_them_finds_the_files(there: Rules) -> None:
    """By path, with the same bytes, read-only; the event lists them; one that does not need them has no folder."""
    run = left(there, LARGE)
    assert run["status"] == "SUCCESS", run
    lines, data = found(there, run)
    large = hashlib.sha256(bytes(range(256)) * 40_000).hexdigest()
    small = hashlib.sha256(b"x,y").hexdigest()
    assert lines == [f"a/ä.csv {small} 0o444", f"large.bin {large} 0o444"]
    assert data["artifacts"] == [
        {"path": "a/ä.csv", "size_bytes": 3, "sha256": small, "media_type": "text/csv"},
        {"path": "large.bin", "size_bytes": 10_240_000, "sha256": large, "media_type": "application/octet-stream"},
    ]
    (plain,) = there.first("plain", parent_run_id=run["id"])
    assert there.text(there.end(plain)) == "''"


def test_a_parent_that_left_nothing_gives_an_empty_folder(there: Rules) -> None:
    """That is no error."""
    lines, data = found(there, left(there, ""))
    assert (lines, data["artifacts"]) == ([], [])


@pytest.mark.parametrize("end", ["sys.exit(3)", "os.kill(os.getpid(), 9)"])
def test_a_failed_run_leaves_files_too(there: Rules, end: str) -> None:
    """They help most to find out why."""
    run = left(there, f"open('early', 'w').write('x'); {end}")
    assert (run["status"], run["error_type"]) == ("FAILED", "script_error")
    lines, _ = found(there, run)
    assert [line.split()[0] for line in lines] == ["early"]


def test_what_cannot_be_kept_fails_a_run_that_ended_well(there: Rules) -> None:
    """With a sentence on the run and in its log, and never the loss of the others."""
    run = left(there, "open('good', 'w').write('x'); os.symlink('good', 'link'); os.mkfifo('pipe')")
    assert (run["status"], run["error_type"], run["exit_code"]) == ("FAILED", "artifacts_error", 0)
    assert run["error_message"].startswith("not all of FASTFLOW_ARTIFACTS_DIR was kept: ")
    log = there.text(run)
    assert "[fastflow] artifact not kept: 'link' is a link; only regular files are kept." in log
    assert "[fastflow] artifact not kept: 'pipe' is a named pipe; only regular files are kept." in log
    assert "Its artifacts are not complete" in there.page(f"/runs/{run['id']}")
    lines, _ = found(there, run)
    assert [line.split()[0] for line in lines] == ["good"]


def test_what_is_beyond_the_bound_stays_behind(there: Rules) -> None:
    """A hole of a terabyte, too. After another failure it is a warning."""
    run = left(there, "open('hole', 'w').truncate(2**40); open('good', 'w').write('x'); sys.exit(3)")
    assert (run["error_type"], run["exit_code"]) == ("script_error", 3)
    assert "1,099,511,627,776 bytes" in run["warnings"][0]
    lines, _ = found(there, run)
    assert [line.split()[0] for line in lines] == ["good"]


def test_of_ten_thousand_files_as_many_are_kept_as_a_run_may_have(there: Rules) -> None:
    """The run says how many stay behind, and the next one finds all others."""
    run = left(there, "[open(f'{number:05}', 'w').write(str(number % 7)) for number in range(10_000)]")
    assert (run["status"], run["error_type"]) == ("FAILED", "artifacts_error")
    assert "it holds more than 1,000 files: 9000 more stay behind." in run["error_message"]
    lines, data = found(there, run)
    assert (len(lines), len(data["artifacts"])) == (1000, 1000)


def test_a_cancelled_run_s_files_are_no_reason_to_fail(there: Rules) -> None:
    """Whatever they are."""
    run = there.start("leaves", env_vars={"DO": "os.symlink('x', 'y'); print('up', flush=True); time.sleep(600)"})
    there.wait(lambda: "up" in there.text(run))
    ended = there.cancel(run)
    assert ended["status"] == "INTERRUPTED"
    assert "artifact not kept: 'y' is a link" in there.text(ended)


def test_the_last_attempt_s_files_count(there: Rules) -> None:
    """Those of an attempt that is followed by another are dropped."""
    run = left(
        there,
        "n = os.environ['FASTFLOW_ATTEMPT']; open(n, 'w').write(n); sys.exit(n == '1')",
        run_config_id="again",
    )
    assert (run["status"], len(run["attempts"])) == ("SUCCESS", 2), run["error_message"]
    lines, _ = found(there, run)
    assert [line.split()[0] for line in lines] == ["2"]
