"""A paused installation and a paused pipeline: nothing new begins, nothing is lost, all of it begins afterwards."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from tests.support.installation import Installation
from tests.support.rules import Rules

REASON = "the database is being moved"
WAITS_FOR_FILE = """\
import os, time
print("begun", flush=True)
while not os.path.exists(os.environ["GO"]):
    time.sleep(0.05)
"""
FAILS_ONCE = "import os, sys\nsys.exit(os.environ['FASTFLOW_ATTEMPT'] == '1')\n"


def webhook(there: Rules, name: str, number: int) -> Any:
    answer = there.ask("POST", f"/api/webhooks/{name}/secret-key-{name}", {"number": number}, anonymous=True)
    assert answer.status == 202, answer.json
    assert REASON in answer.json["detail"]
    return answer.json


def test_nothing_begins_during_a_pause_and_everything_does_after_it(tmp_path: Path) -> None:
    """What is under way goes on, with its retries and the pipelines after it; a kill of everything changes nothing."""
    go = tmp_path / "go"
    with Installation(tmp_path) as made:
        made.add("under_way", WAITS_FOR_FILE, default_env={"GO": str(go)}, downstream_triggers=[{"pipeline": "after"}])
        made.add("after", "print('after')\n")
        made.add("flaky", FAILS_ONCE, retry_attempts=1, retry_strategy={"type": "fixed_delay", "delay": 3})
        made.add("hook", "print('hook')\n", webhook_key="secret-key-hook")
        made.add("ticker", "print('tick')\n", schedule_interval_seconds=2, catchup="last")
        made.add(
            "daemon",
            WAITS_FOR_FILE + "sys = 1 / 0\n",
            default_env={"GO": str(go)},
            restart_on_crash=True,
            restart_cooldown=0,
        )
        made.start()
        there = Rules(made)
        under_way, daemon, flaky = (there.start(name) for name in ("under_way", "daemon", "flaky"))
        for run in (under_way, daemon):
            there.wait(lambda run=run: there.text(run) == "begun" or None)
        there.wait(lambda: there.run(flaky)["next_attempt_at"])
        there.first("ticker")

        paused = there.ask("PUT", "/api/pause", {"reason": REASON, "by": "Ada"})
        assert (paused.status, paused.json["by"], paused.json["via"]) == (200, "Ada", "api")
        since = datetime.fromisoformat(paused.json["since"])
        hooks = [webhook(there, "hook", number) for number in range(5)]
        started = there.ask("POST", "/api/pipelines/hook/run", {})
        assert started.status == 202
        waits = there.get(f"/api/runs/{started.json['id']}")["waiting_on"]
        assert f"by Ada: {REASON}" in waits
        assert REASON in made.command("ps").stdout
        ready = there.get("/readyz")
        assert "no new run begins" in ready["dependencies"]["pause"]
        assert ready["status"] == "ok"
        assert "fastflow_paused 1.0" in there.page("/metrics")
        doctor = made.command("doctor")
        assert (doctor.returncode, "no new run begins" in doctor.stdout) == (0, True), doctor.stdout

        assert there.end(flaky)["status"] == "SUCCESS", "its retry belongs to a run that is under way"
        go.touch()
        assert there.end(under_way)["status"] == "SUCCESS"
        (after,) = there.first("after", parent_run_id=under_way["id"])
        (restart,) = there.first("daemon", parent_run_id=daemon["id"])

        made.kill()
        made.start()
        there = Rules(made)
        held = [*hooks, started.json, after, restart]
        assert {there.run(run)["status"] for run in held} == {"PENDING"}
        begun = [
            run
            for name in ("under_way", "after", "flaky", "hook", "ticker", "daemon")
            for run in there.runs(name)
            if run["started_at"] and datetime.fromisoformat(run["created_at"]) > since
        ]
        assert begun == []

        left = there.ask("DELETE", "/api/pause")
        assert (left.status, left.json) == (200, {"installation": None, "pipelines": {}})
        ended = [there.end(run) for run in held[:-1]]
        assert {run["status"] for run in ended} == {"SUCCESS"}
        claimed = [run["attempts"][0]["claimed_at"] for run in ended[:6]]
        assert claimed == sorted(claimed), "the oldest first"
        assert len(there.runs("hook")) == 6, "each once"
        assert len(there.runs("after")) == 1
        there.wait(lambda: there.run(restart)["started_at"])
        ticks = [datetime.fromisoformat(run["scheduled_for"]) for run in there.runs("ticker")]
        assert len(set(ticks)) == len(ticks)
        resumed = datetime.fromisoformat(ended[0]["started_at"])
        assert len([tick for tick in ticks if since < tick < resumed]) <= 2, "catchup: last"
        assert made.stop() == 0


def test_a_paused_pipeline_holds_no_other_and_says_who_and_why(tmp_path: Path) -> None:
    """By the command; what cannot be paused is refused with a sentence."""
    with Installation(tmp_path) as made:
        made.add("etl", "print('etl')\n")
        made.add("other", "print('other')\n")
        made.start()
        there = Rules(made)
        done = made.command("pause", "etl", "--reason", REASON, "--by", "Ada")
        assert (done.returncode, "etl was paused" in done.stdout, f"by Ada: {REASON}" in done.stdout) == (
            0,
            True,
            True,
        )
        assert there.get("/api/pipelines/etl")["paused"]["reason"] == REASON
        held = there.ask("POST", "/api/pipelines/etl/run", {}).json
        assert REASON in made.command("run", "etl").stderr
        assert there.end(there.start("other"))["status"] == "SUCCESS"
        assert there.run(held)["status"] == "PENDING"
        assert REASON in made.command("pause", "--list").stdout
        assert made.command("pause", "etl").returncode == 2
        assert made.command("pause", "nosuch", "--reason", "x").returncode == 3
        for path, body, status, says in (
            ("/api/pipelines/nosuch/pause", {"reason": "x"}, 404, "there is no pipeline"),
            ("/api/pause", {"reason": " \n "}, 422, "say why"),
            ("/api/pause", {}, 422, "reason"),
            ("/api/pause", {"reason": "x", "until": 7}, 422, "until"),
            ("/api/pause", {"reason": "x" * 301}, 422, "300"),
            ("/api/pause", {"reason": "a\u0007b"}, 422, "printable"),
            ("/api/pause", {"reason": "x", "by": "y" * 101}, 422, "by"),
            ("/api/pause", b"{", 422, "JSON"),
        ):
            answer = there.ask("PUT", path, body)
            assert (answer.status, says in answer.json["detail"]) == (status, True), answer
        assert there.ask("PUT", "/api/pause", {"reason": "x"}, anonymous=True).status == 401
        done = made.command("resume", "etl")
        assert (done.returncode, "etl is not paused any more" in done.stdout) == (0, True)
        assert there.end(held)["status"] == "SUCCESS"
        assert there.ask("DELETE", "/api/pipelines/etl/pause").status == 200, "a repeat changes nothing"
        assert there.ask("DELETE", "/api/pipelines/nosuch/pause").status == 404
        assert made.stop() == 0
