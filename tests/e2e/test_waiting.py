"""Waiting runs survive the kill of everything: scheduler, gateway, runner and bus at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.installation import Installation
from tests.support.rules import Rules

SOON_S, LATER_S = 1, 8
"""Over before everything is back, but not earlier."""
LATE = timedelta(seconds=30)
"""Far above the time it takes, for a machine that is busy with other tests."""
FAILS_FIRST = """\
import os, sys
print("attempt", os.environ["FASTFLOW_ATTEMPT"], flush=True)
sys.exit(os.environ["FASTFLOW_ATTEMPT"] == "1")
"""


@pytest.mark.promise("nothing lost")
def test_waiting_runs_survive_a_restart_of_everything(tmp_path: Path) -> None:
    """Retries and restarts happen when they are due, or at once if that time has passed; intervals keep their slots."""
    with Installation(tmp_path) as made:
        for name, delay_s in (("soon", SOON_S), ("later", LATER_S)):
            strategy = {"type": "fixed_delay", "delay": delay_s}
            made.add(name, FAILS_FIRST, retry_attempts=1, retry_strategy=strategy)
        made.add("daemon", "raise SystemExit(5)\n", restart_on_crash=True, restart_cooldown=LATER_S)
        made.add("ticker", "print(1)\n", schedule_interval_seconds=3600)
        made.start()
        there = Rules(made)
        daemon, later, soon = (there.start(name) for name in ("daemon", "later", "soon"))
        (restart,) = there.first("daemon", parent_run_id=daemon["id"])
        due = {name: due_at(there, run) for name, run in (("restart", restart), ("later", later), ("soon", soon))}
        ticks = there.get("/api/scheduler/jobs/ticker.schedule/next-runs")
        made.kill()
        made.start()
        there, back = Rules(made), datetime.now(UTC)
        assert there.get("/api/scheduler/jobs/ticker.schedule/next-runs") == ticks
        for name, run in (("later", later), ("soon", soon)):
            ended = there.end(run)
            assert (ended["status"], [each["exit_code"] for each in ended["attempts"]]) == ("SUCCESS", [1, 0])
            assert there.text(run).splitlines() == ["attempt 1", "attempt 2"]
            second = datetime.fromisoformat(ended["attempts"][1]["claimed_at"])
            assert due[name] <= second < max(due[name], back) + LATE
        restarted = there.end(restart)
        assert due["restart"] <= datetime.fromisoformat(restarted["started_at"]) < max(due["restart"], back) + LATE
        assert made.stop() == 0


def due_at(there: Rules, run: Any) -> datetime:
    """Return when the next attempt of *run* may begin, once that is known."""
    at = there.wait(lambda: there.run(run)["next_attempt_at"])
    return datetime.fromisoformat(at)
