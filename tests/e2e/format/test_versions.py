"""Versions end to end: a push that fails, its rollback, a pin, a chosen version, the commands."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.installation import Installation

WITHIN_S = 120.0
"""Only a hang takes this long."""


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with Installation(tmp_path_factory.mktemp("versions")) as made:
        made.add("report", "print('one')", rollback_after=2)
        made.start()
        yield made


def versions(there: Installation, wanted: Callable[[Any], bool]) -> Any:
    """Wait until the versions of the pipeline are as wanted, and return them."""
    deadline = time.monotonic() + WITHIN_S
    while not wanted(found := there.api("/api/pipelines/report/versions")):
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return found


def push(there: Installation, main: str, number: int) -> Any:
    """Write a new version, and return the versions once it is the newest of *number*."""
    (there.pipelines / "report" / "main.py").write_text(main)

    def is_there(found: Any) -> bool:
        return len(found["versions"]) == number and found["newest"] == found["versions"][0]["id"]

    return versions(there, is_there)  # it is listed a moment before the record names it


def done(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stderr
    return result.stdout


def run(there: Installation, *options: str) -> str:
    """Run the pipeline and return what it printed. A failed script has the exit code 1, as has its command."""
    result = there.command("run", "report", "--follow", *options)
    assert result.returncode in (0, 1), result.stderr
    return result.stdout


def test_a_push_that_fails_is_rolled_back_and_the_next_one_is_taken(there: Installation) -> None:
    """By itself, after as many failures as its metadata say; the commands and the doctor say it."""
    first = push(there, "print('one')", 1)["live"]
    assert "one" in run(there)
    bad = push(there, "print('two'); raise SystemExit(3)", 2)["live"]
    assert bad != first
    assert "two" in run(there)
    assert versions(there, lambda found: found["trial_failures"] == 1)["live"] == bad
    assert "two" in run(there)
    found = versions(there, lambda found: found["rolled_back"] is not None)
    assert (found["live"], found["newest"], found["rolled_back"]["version"]) == (first, bad, bad)
    assert "one" in run(there)
    listed = done(there.command("versions", "report"))
    assert "rolled back" in listed
    assert f"Version {bad} was rolled back to {first}" in listed
    assert f"report: Version {bad} was rolled back" in there.command("doctor").stdout
    there.api("/api/sync", {})
    assert versions(there, lambda _: True)["live"] == first
    third = push(there, "print('three')", 3)
    assert (third["live"], third["rolled_back"]) == (third["newest"], None)
    assert "three" in run(there)


def test_a_version_is_chosen_pinned_and_released_by_command(there: Installation) -> None:
    """While it is pinned, a push is listed and not live; a run may have any kept version."""
    before = versions(there, lambda _: True)
    oldest, live = before["versions"][-1]["id"], before["live"]
    assert "one" in run(there, "--version", oldest)
    said = done(there.command("pin", "report", oldest[:6], "--reason", "the new one is wrong"))
    assert said == f"version {oldest} of report is live and pinned.\n"
    assert "one" in run(there)
    held = push(there, "print('four')", len(before["versions"]) + 1)
    assert (held["live"], held["pin"]["reason"]) == (oldest, "the new one is wrong")
    assert f"so the newer version {held['newest']} is not live" in done(there.command("versions", "report"))
    assert "one" in run(there)
    assert "four" in run(there, "--version", held["newest"])
    newest = json.loads(done(there.command("versions", "report", "--json")))["newest"]
    assert done(there.command("unpin", "report")) == f"version {newest} of report is live.\n"
    assert "four" in run(there)
    assert live != newest
    back = done(there.command("rollback", "report"))
    assert back == f"version {held['versions'][0]['before']} of report is live and pinned.\n"
    assert there.command("unpin", "report").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("versions", "reprot"), 3, "did you mean report"),
        (("pin", "report", "000000000000"), 3, "fastflow versions report"),
        (("pin", "report"), 2, "VERSION"),
        (("unpin", "report"), 1, "not pinned"),
        (("run", "report", "--version", "latest"), 2, "version must be the id"),
    ],
)
def test_mistakes_are_sentences(there: Installation, arguments: tuple[str, ...], code: int, said: str) -> None:
    """With what to do."""
    result = there.command(*arguments)
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert result.returncode == code, result.stderr
