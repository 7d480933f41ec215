"""A backfill of a whole installation: real scripts, and the kill of every service in the middle of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.installation import Installation

MAIN = """
import os, time
time.sleep(0.3)
print("slot", os.environ["FASTFLOW_RUN_ID"])
"""
SLOTS = 12
WAIT_S = 240


def until(look: Callable[[], Any]) -> Any:
    """Return the first answer of *look* that counts as true."""
    deadline = time.monotonic() + WAIT_S
    while not (found := look()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.2)
    return found


def test_a_backfill_outlives_the_kill_of_every_service(tmp_path: Path) -> None:
    """Each slot has one run. Those that ran at the kill have failed, and the next backfill is about these."""
    body = {"from": "2026-01-01T00:00Z", "to": "2026-01-01T11:00Z"}

    def operation(installation: Installation) -> Any:
        return installation.api("/api/operations")["operations"][0]

    with Installation(tmp_path) as installation:
        installation.add("demo", MAIN, schedule_cron="0 * * * *")
        installation.start()
        assert until(lambda: _backfill(installation, body | {"dry_run": True}))["slots"] == SLOTS
        assert installation.api("/api/pipelines/demo/backfill", body)["operation"]["total"] == SLOTS
        until(lambda: operation(installation)["changed"] >= 3)
        installation.kill()
        installation.await_silence()
        installation.start()
        ended = until(lambda: (found := operation(installation))["ended_at"] and found)
        assert (ended["state"], ended["changed"], ended["unchanged"], ended["refused"]) == ("done", SLOTS, 0, 0)
        runs = installation.api("/api/runs?pipeline_name=demo&limit=500")["runs"]
        slots = [run["scheduled_for"] for run in runs if run["operation_id"] == ended["id"]]
        assert sorted(slots) == [f"2026-01-01T{hour:02}:00:00Z" for hour in range(SLOTS)]
        failed = [run for run in runs if run["status"] == "FAILED"]
        assert len(failed) <= 4, "only what ran at the kill"
        more = installation.api("/api/pipelines/demo/backfill", body)
        assert more["existing"] == SLOTS - len(failed)


def _backfill(installation: Installation, body: Any) -> Any:
    try:
        return installation.api("/api/pipelines/demo/backfill", body)
    except Exception:  # the pipeline is not synced yet
        return None
