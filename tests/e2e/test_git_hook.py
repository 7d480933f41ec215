"""A push to a git repository is live at once: the host calls the hook, and nothing else looks for commits."""

from __future__ import annotations

import hmac
import json
from pathlib import Path

from tests.git_repository import Repository
from tests.support.installation import Installation
from tests.support.rules import Rules

SECRET = "the-secret-of-the-push-hook"


def test_a_reported_push_is_live_when_its_call_is_answered(tmp_path: Path) -> None:
    """The next run is of the new commit. A push of someone without the secret changes nothing."""
    origin = Repository(tmp_path / "origin")
    first = origin.commit(files={"etl/main.py": "print('one')\n"})
    with Installation(tmp_path / "there") as made:
        made.start(source=False, GIT_REPO_URL=origin.url, GIT_SYNC_INTERVAL_S="0", FASTFLOW_GIT_HOOK_SECRET=SECRET)
        there = Rules(made)
        there.wait(lambda: there.ask("GET", "/api/pipelines/etl").status == 200 or None)
        assert there.text(there.done("etl")) == "one"

        second = origin.commit(files={"etl/main.py": "print('two')\n"})
        body = json.dumps({"ref": "refs/heads/main", "after": second}).encode()
        for secret, status in (("another secret of the hook", 401), (SECRET, 200)):
            mac = hmac.digest(secret.encode(), body, "sha256").hex()
            sent = {
                "X_GitHub_Event": "push",
                "X_Hub_Signature_256": f"sha256={mac}",
                "Content_Type": "application/json",
            }
            assert there.get("/api/pipelines/etl")["commit"] == first
            answer = there.ask("POST", "/api/hooks/git", body, anonymous=True, **sent)
            assert answer.status == status, answer.json
        assert answer.json["action"] == "synced"
        run = there.done("etl")
        assert (there.text(run), run["commit"]) == ("two", second)
        assert made.stop() == 0
