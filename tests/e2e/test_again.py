"""Many runs again, by the commands alone: a bulk retry and a replay, with the real scripts."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support.installation import Installation
from tests.support.rules import Rules

KEY = "a-webhook-key-of-some-length"
DOUBLES = """\
import json, os, sys
given = json.load(open(os.environ["FASTFLOW_EVENT_FILE"]))["n"]
if given == 2 and os.environ["FASTFLOW_TRIGGERED_BY"] == "webhook":
    sys.exit(3)
json.dump(FACTOR * given, open(os.environ["FASTFLOW_RESULT_FILE"], "w"))
"""


@pytest.fixture
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rules]:
    with Installation(tmp_path_factory.mktemp("again")) as made:
        made.add("double", DOUBLES.replace("FACTOR", "2"), webhook_key=KEY)
        made.start()
        yield Rules(made)


def test_what_failed_is_retried_and_what_came_is_sent_again_to_new_code(there: Rules) -> None:
    """Each with its own event; a retry is of the code that failed, a replay of today's."""
    for number in (1, 2, 3):
        there.ask("POST", f"/api/webhooks/double/{KEY}?wait=60", {"n": number}, anonymous=True)
    assert [run["status"] for run in there.runs("double")] == ["SUCCESS", "FAILED", "SUCCESS"]

    command = there.there.command
    counted = command("bulk", "retry", "--status", "failed", "--pipeline", "double", "--dry-run")
    assert counted.stdout == "1 runs to retry: 1 of double\n"
    done = command("bulk", "retry", "--status", "failed", "--yes", "--follow")
    assert (done.returncode, "done: 1 changed" in done.stdout) == (0, True), done.stderr
    retried = there.runs("double")[-1]
    assert (retried["status"], there.get(f"/api/runs/{retried['id']}/result")) == ("SUCCESS", 4)
    assert json.loads(there.get(f"/api/runs/{retried['id']}/event")["event"]) == {"n": 2}

    (there.there.pipelines / "double" / "main.py").write_text(DOUBLES.replace("FACTOR", "10"))
    assert there.ask("POST", "/api/sync", {}).status == 200
    done = command("replay", "--since", "2026-01-01", "--pipeline", "double", "--yes", "--follow")
    assert (done.returncode, "done: 3 changed" in done.stdout) == (0, True), done.stderr
    results = [there.get(f"/api/runs/{run['id']}/result") for run in there.runs("double")[-3:]]
    assert sorted(results) == [10, 20, 30]
    listed = command("operations").stdout
    assert ("replay" in listed, "retry" in listed) == (True, True)
    assert there.there.stop() == 0
