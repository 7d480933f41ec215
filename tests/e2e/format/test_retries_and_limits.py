"""Retries, timeouts, ``max_instances`` and soft limits."""

from __future__ import annotations

import pytest

from tests.e2e.format.folders import GLOBAL_TIMEOUT_S
from tests.support.rules import LATE_S, Rules, seconds, waits


@pytest.mark.parametrize(
    ("pipeline", "status", "expected_s"),
    [
        ("retry_fixed", "FAILED", [0.6, 0.6]),
        ("retry_exponential", "FAILED", [0.3, 0.8, 0.8]),
        ("retry_custom", "SUCCESS", [0, 0.7, 0.7]),
    ],
)
def test_attempts_follow_the_retry_strategy(there: Rules, pipeline: str, status: str, expected_s: list[float]) -> None:
    """Never early; a success ends them; the record has each attempt."""
    run = there.done(pipeline)
    assert (run["status"], run["attempts_max"]) == (status, len(expected_s) + 1)
    assert [attempt["number"] for attempt in run["attempts"]] == list(range(1, len(expected_s) + 2))
    pauses = waits(run)
    print(pipeline, [round(pause, 3) for pause in pauses])
    assert len(pauses) == len(expected_s)
    for pause, expected in zip(pauses, expected_s, strict=True):
        assert expected <= pause < expected + LATE_S


def test_a_retry_waits_a_minute_by_default(there: Rules) -> None:
    """The waiting run shows until when, and can be cancelled then."""
    run = there.start("retry_default")
    waiting = there.wait(lambda: one if (one := there.run(run))["next_attempt_at"] else None)
    assert waiting["status"] == "PENDING"
    assert waiting["waiting_on"]
    assert seconds(waiting["attempts"][0]["finished_at"], waiting["next_attempt_at"]) == 60
    assert there.cancel(run)["status"] == "INTERRUPTED"


def test_a_start_beyond_max_instances_is_refused_and_shown(there: Rules) -> None:
    """429, and when to try again; the end of a run makes room."""
    first = there.start("only_one")
    refused = there.ask("POST", "/api/pipelines/only_one/run", {})
    assert refused.status == 429
    assert int(refused.headers["Retry-After"]) > 0
    assert "max_instances" in there.get("/api/pipelines/only_one")["skipped"][0]["reason"]
    there.cancel(first)
    there.cancel(there.start("only_one"))


def test_zero_means_no_timeout_even_with_a_global_one(there: Rules) -> None:
    """If the metadata set no timeout, the global one applies."""
    endless, limited = there.start("endless"), there.start("limited")
    limited = there.end(limited)
    assert (limited["status"], limited["error_type"]) == ("FAILED", "timeout")
    assert limited["limits"]["timeout_s"] == GLOBAL_TIMEOUT_S
    endless = there.end(endless)
    assert endless["status"] == "SUCCESS"
    assert seconds(endless["started_at"], endless["finished_at"]) > GLOBAL_TIMEOUT_S


def test_passing_a_soft_limit_is_only_a_warning(there: Rules) -> None:
    """In the record and in the list; the other limit was kept and is not mentioned."""
    run = there.done("soft")
    assert run["status"] == "SUCCESS"
    (warning,) = run["warnings"]
    assert "passed the soft limit of 24 MiB" in warning
    assert there.runs("soft")[-1]["warnings"] == [warning]


def test_passing_a_cpu_soft_limit_is_a_warning_and_an_entry_may_set_its_own(there: Rules) -> None:
    """Cores, not percent; the script is not slowed down, and with wider limits there is no warning."""
    wider = [there.start(pipeline, run_config_id="plenty") for pipeline in ("soft_cpu", "soft")]
    run = there.done("soft_cpu")
    (warning,) = run["warnings"]
    assert warning.endswith("cores passed the soft limit of 0.1")
    assert run["cpu_cores_peak"] > 0.1
    assert [there.end(each)["warnings"] for each in wider] == [[], []]
