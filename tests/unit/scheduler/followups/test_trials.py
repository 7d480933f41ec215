"""Which ends of runs count for a new version with ``rollback_after``."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.spec import PipelineSpec
from fastflow_contracts.pipelines.records import Pin, PipelineRecord, Trial, Version
from fastflow_contracts.pipelines.versions import has_failed
from fastflow_contracts.runs.run import Ended, RunErrorType, RunRecord, Verdict
from fastflow_scheduler.followups.trials import tried
from tests.support.records import T0, a_run, an_attempt, at

NEW = "b" * 64
"""The bundle of ``a_run``."""


def a_record(after: int | None = 2, **fields: Any) -> PipelineRecord:
    live = Version(bundle=NEW, spec=PipelineSpec(rollback_after=after), live_since=T0)
    return PipelineRecord(**{"name": PipelineName("demo"), "live": live, "seen_at": T0} | fields)


def ended(
    verdict: Verdict = Verdict.FAILED, *, error: RunErrorType | None = RunErrorType.SCRIPT_ERROR, **run: Any
) -> RunRecord:
    return replace(a_run(**run), state=Ended(verdict=verdict, at=at(9)), attempts=(an_attempt(1, error=error),))


def test_the_first_failures_fail_the_trial() -> None:
    """Each run counts once, however often its end is handled."""
    first, second = ended(), ended()
    record = tried(tried(a_record(), first), first)
    assert record.trial == Trial(failed=(first.id,))
    assert not has_failed(record)
    record = tried(record, second)
    assert has_failed(record)
    assert tried(record, ended()) is record


def test_one_success_ends_the_trial() -> None:
    """Whatever fails later, the version stays."""
    record = tried(tried(a_record(), ended()), ended(Verdict.SUCCESS, error=None))
    for _ in range(5):
        assert tried(record, ended()) is record
    assert not has_failed(record)


@pytest.mark.parametrize(
    "run",
    [
        ended(Verdict.INTERRUPTED),
        ended(error=RunErrorType.LOST),
        ended(bundle="a" * 64),
        ended(created=-1),
        a_run(),
    ],
    ids=["cancelled", "its runner was lost", "of another version", "from before it was live", "not over"],
)
def test_a_run_that_says_nothing_about_the_version_does_not_count(run: RunRecord) -> None:
    record = a_record()
    assert tried(record, run) is record


@pytest.mark.parametrize(
    "record",
    [
        a_record(None),
        a_record(pin=Pin(bundle=NEW, at=T0)),
        a_record(held_back="c" * 64),
        replace(a_record(), live=None),
    ],
    ids=["without rollback_after", "pinned", "rolled back to", "without a version"],
)
def test_only_the_newest_version_is_on_trial(record: PipelineRecord) -> None:
    """So people's pins stay, and one rollback never leads to another."""
    assert tried(record, ended()) is record


def test_packages_that_cannot_be_installed_count() -> None:
    """The push that broke them broke the version."""
    assert has_failed(tried(a_record(1), ended(error=RunErrorType.ENVIRONMENT_ERROR)))
