"""What the fields of a pipeline mean together, and the examples in the documents of the format."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from fastflow_contracts.names import check_name
from fastflow_contracts.pipelines.format.concurrency import ConcurrencySpec
from fastflow_contracts.pipelines.format.event_triggers import BatchSpec, TriggerSpec
from fastflow_contracts.pipelines.format.json_schema import pipeline_schema
from fastflow_contracts.pipelines.format.manifest import read_manifest
from fastflow_contracts.pipelines.format.spec import (
    CellRetry,
    CustomSchedule,
    DownstreamRule,
    ExponentialBackoff,
    FixedDelay,
    NoSuchRunConfig,
    PipelineSpec,
    RunConfig,
    ScheduleEntry,
    WebhookSpec,
)
from fastflow_contracts.schedules.schedule import Cron, Interval, Once, PipelineSchedule

EXAMPLES = Path(__file__).parent / "pipeline_json"
MIB = 1024**2
YEAR_START, YEAR_END = datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC)

SPECS = {
    "script": PipelineSpec(
        cpu_hard_limit=1.0,
        mem_hard_limit=1024 * MIB,
        cpu_soft_limit=0.8,
        mem_soft_limit=800 * MIB,
        timeout=3600,
        retry_attempts=3,
        description="Prozessiert täglich eingehende Daten",
        tags=("data-processing", "daily"),
        python_version="3.12",
        default_env={"LOG_LEVEL": "INFO", "DEBUG": "false"},
    ),
    "accepts_env": PipelineSpec(
        description="Startet für einen Kunden; was von außen kommt, ist aufgezählt",
        webhook_key="ein-langer-schluessel",
        default_env={"MODE": "dry"},
        accepts_env=("DAY", "CUSTOMER_*"),
    ),
    "rollback_after": PipelineSpec(
        description="Ein neuer Stand, der dreimal scheitert, wird zurückgenommen", rollback_after=3
    ),
    "notebook": PipelineSpec(
        type="notebook",
        description="Notebook mit Zellen-Retries",
        python_version="3.12",
        timeout=120,
        cells=(CellRetry(retries=2), CellRetry(), CellRetry(retries=3)),
    ),
    "run_configurations": PipelineSpec(
        description="ETL mit mehreren Runs",
        default_env={"LOG_LEVEL": "INFO"},
        schedules=(
            ScheduleEntry(
                id="prod",
                schedule_cron="0 8 * * *",
                schedule_start=YEAR_START,
                schedule_end=YEAR_END,
                default_env={"ENVIRONMENT": "production", "DRY_RUN": "false"},
            ),
            ScheduleEntry(
                id="staging",
                schedule_interval_seconds=3600,
                default_env={"ENVIRONMENT": "staging", "DRY_RUN": "true"},
            ),
        ),
    ),
    "downstream": PipelineSpec(
        description="Pipeline A – startet B bei Erfolg, C bei Erfolg oder Fehler",
        downstream_triggers=(
            DownstreamRule(pipeline=check_name("pipeline_b"), run_config_id="prod"),
            DownstreamRule(pipeline=check_name("pipeline_c"), on_failure=True),
        ),
    ),
    "routes": PipelineSpec(
        downstream_triggers=(
            DownstreamRule(pipeline=check_name("publish"), on_route="approved"),
            DownstreamRule(pipeline=check_name("publish"), on_route="needs review / größer", on_failure=True),
        ),
    ),
    "cron_window": PipelineSpec(
        description="Täglicher Report um 09:00",
        schedule_cron="0 9 * * *",
        schedule_start=YEAR_START,
        schedule_end=YEAR_END,
    ),
    "once": PipelineSpec(
        description="Einmalige Ausführung am 15.01.2026 um 12:00 UTC",
        run_once_at=datetime(2026, 1, 15, 12, tzinfo=UTC),
    ),
    "daemon": PipelineSpec(
        description="Dauerläufer mit Auto-Restart bei Crash",
        timeout=0,
        restart_on_crash=True,
        restart_cooldown=120,
        restart_interval="0 3 * * *",
    ),
    "encrypted_env": PipelineSpec(default_env={"LOG_LEVEL": "INFO"}, encrypted_env={"API_KEY": "", "DB_PASSWORD": ""}),
    "exponential_backoff": PipelineSpec(
        retry_attempts=3, retry_strategy=ExponentialBackoff(initial_delay=60, max_delay=3600, multiplier=2.0)
    ),
    "fixed_delay": PipelineSpec(retry_attempts=3, retry_strategy=FixedDelay(delay=120)),
    "custom_schedule": PipelineSpec(retry_attempts=3, retry_strategy=CustomSchedule(delays=(60, 300, 3600))),
    "concurrency": PipelineSpec(
        concurrency=ConcurrencySpec(limit=2, key="event.customer"),
        schedules=(
            ScheduleEntry(
                id="nightly", schedule_cron="0 2 * * *", concurrency=ConcurrencySpec(limit=1, on_limit="replace")
            ),
        ),
    ),
    "triggers": PipelineSpec(
        triggers=(
            TriggerSpec(
                id="large", subject="orders.>", when="event.total > 100", key="event.id", run_config_id="nightly"
            ),
            TriggerSpec(id="clicks", subject="clicks.*.new", batch=BatchSpec(max=1000, within_seconds=0.5)),
            TriggerSpec(id="quiet", subject="stock", debounce_seconds=5, enabled=False),
        ),
        schedules=(ScheduleEntry(id="nightly", schedule_cron="0 2 * * *"),),
    ),
    "limits": PipelineSpec(
        cpu_hard_limit=2.0, mem_hard_limit=2048 * MIB, cpu_soft_limit=1.5, mem_soft_limit=1536 * MIB
    ),
}


@pytest.mark.parametrize("example", sorted(SPECS))
def test_every_example_of_the_documents_is_read_as_described(example: str) -> None:
    """Without problems, and valid by the schema."""
    text = (EXAMPLES / f"{example}.json").read_bytes()
    manifest = read_manifest(text, file_name="pipeline.json")
    assert manifest.problems == ()
    assert manifest.spec == SPECS[example]
    Draft202012Validator(pipeline_schema()).validate(msgspec.json.decode(text))


def test_every_example_is_tested() -> None:
    """No example is left out."""
    assert sorted(SPECS) == sorted(file.stem for file in EXAMPLES.iterdir())


def test_only_shortened_tokens_of_the_examples_get_notices() -> None:
    """Everything else in them is complete."""
    noted = {
        file.stem: [notice.field for notice in read_manifest(file.read_bytes(), file_name=file.name).notices]
        for file in EXAMPLES.iterdir()
    }
    assert {name: fields for name, fields in noted.items() if fields} == {
        "encrypted_env": ["encrypted_env.API_KEY", "encrypted_env.DB_PASSWORD"]
    }


FULL = PipelineSpec(
    python_version="3.12",
    cpu_hard_limit=1,
    mem_hard_limit=100 * MIB,
    cpu_soft_limit=0.5,
    mem_soft_limit=50 * MIB,
    timeout=60,
    retry_attempts=1,
    retry_strategy=FixedDelay(delay=1),
    default_env={"A": "pipeline", "B": "pipeline"},
    encrypted_env={"S": "token-of-pipeline", "T": "token-of-pipeline"},
    schedules=(
        ScheduleEntry(
            id="all",
            cpu_hard_limit=2,
            mem_hard_limit=200 * MIB,
            cpu_soft_limit=1.5,
            mem_soft_limit=150 * MIB,
            timeout=0,
            retry_attempts=0,
            retry_strategy=FixedDelay(delay=2),
            default_env={"B": "entry", "C": "entry"},
            encrypted_env={"T": "token-of-entry"},
        ),
        ScheduleEntry(id="none"),
    ),
)


def test_an_entry_overrides_settings() -> None:
    """Zero included; environments are merged by variable."""
    assert FULL.run_config("all") == RunConfig(
        run_config_id="all",
        python_version="3.12",
        cpu_hard_limit=2,
        mem_hard_limit=200 * MIB,
        cpu_soft_limit=1.5,
        mem_soft_limit=150 * MIB,
        timeout=0,
        retry_attempts=0,
        retry_strategy=FixedDelay(delay=2),
        default_env={"A": "pipeline", "B": "entry", "C": "entry"},
        encrypted_env={"S": "token-of-pipeline", "T": "token-of-entry"},
        secret_names=frozenset({"S", "T"}),
    )


def test_an_entry_inherits_the_rest() -> None:
    """What an entry does not set comes from the pipeline."""
    inherited = msgspec.structs.replace(FULL.run_config("none"), run_config_id=None)
    assert inherited == FULL.run_config()
    assert (inherited.timeout, inherited.retry_attempts) == (60, 1)


def test_fields_that_are_not_set_stay_open() -> None:
    """So the installation's default can apply."""
    assert PipelineSpec().run_config() == RunConfig()


def test_an_unknown_run_configuration_is_refused() -> None:
    """The message lists the known ones."""
    with pytest.raises(NoSuchRunConfig, match=r"'prod'.*'all', 'none'"):
        FULL.run_config("prod")


def test_a_broken_secret_hides_other_values_of_its_name() -> None:
    """Otherwise a test run could get the secret of production."""
    spec = PipelineSpec(
        default_env={"KEY": "clear", "B": "b"},
        encrypted_env={"KEY": "token"},
        schedules=(ScheduleEntry(id="test", encrypted_env={"KEY": ""}),),
    )
    assert spec.run_config().encrypted_env == {"KEY": "token"}
    assert (spec.run_config("test").default_env, spec.run_config("test").encrypted_env) == ({"B": "b"}, {})


def test_an_entry_may_require_its_own_signatures() -> None:
    """Without its own setting, those of the pipeline."""
    own, of_entry = WebhookSpec(verify="github", secret="one"), WebhookSpec(verify="gitea", secret="two")
    entries = (ScheduleEntry(id="a", webhook=of_entry), ScheduleEntry(id="b"))
    spec = PipelineSpec(webhook=own, schedules=entries)
    assert [spec.webhook_of(each) for each in (None, "a", "b")] == [own, of_entry, own]
    assert PipelineSpec().webhook_of(None) is None


def test_notebooks_retry_cells_only() -> None:
    """A notebook as a whole has no retries, and a script has no cells."""
    fields: dict[str, Any] = {"retry_attempts": 3, "retry_strategy": FixedDelay(), "cells": (CellRetry(retries=1),)}
    notebook = PipelineSpec(type="notebook", **fields).run_config()
    assert (notebook.retry_attempts, notebook.retry_strategy, len(notebook.cells)) == (0, None, 1)
    script = PipelineSpec(**fields).run_config()
    assert (script.retry_attempts, script.retry_strategy, len(script.cells)) == (3, FixedDelay(), 0)


def test_without_entries_the_pipelines_own_fields_are_one_schedule() -> None:
    """In UTC unless it says otherwise."""
    spec = PipelineSpec(schedule_cron="0 9 * * *", schedule_start=YEAR_START, schedule_end=YEAR_END)
    assert spec.schedule_list() == (
        PipelineSchedule(id="schedule", timing=Cron(expr="0 9 * * *"), start=YEAR_START, end=YEAR_END),
    )


def test_cron_wins_over_an_interval() -> None:
    """If both are set."""
    spec = PipelineSpec(schedule_cron="@daily", schedule_interval_seconds=60)
    assert [schedule.timing for schedule in spec.schedule_list()] == [Cron(expr="@daily")]


def test_entries_replace_the_pipelines_own_schedule() -> None:
    """Entries alone decide when to run; time zone and catching up are inherited; without a timing nothing is due."""
    spec = PipelineSpec(
        schedule_cron="@daily",
        schedule_start=YEAR_START,
        timezone="Europe/Berlin",
        catchup="all",
        schedules=(
            ScheduleEntry(id="a", schedule_interval_seconds=60),
            ScheduleEntry(id="b", schedule_cron="@hourly", timezone="Asia/Tokyo", catchup="none", enabled=False),
            ScheduleEntry(id="by hand"),
        ),
    )
    assert spec.schedule_list() == (
        PipelineSchedule(
            id="schedules/a",
            run_config_id="a",
            timing=Interval(interval_s=60),
            timezone="Europe/Berlin",
            catchup="all",
        ),
        PipelineSchedule(
            id="schedules/b",
            run_config_id="b",
            timing=Cron(expr="@hourly"),
            timezone="Asia/Tokyo",
            catchup="none",
            enabled=False,
        ),
    )


def test_run_once_is_a_schedule_beside_others() -> None:
    """A single run at a given time, with any other fields."""
    at = datetime(2026, 1, 15, 12, tzinfo=UTC)
    once = PipelineSchedule(id="once", timing=Once(at=at))
    assert PipelineSpec(run_once_at=at).schedule_list() == (once,)
    assert PipelineSpec(run_once_at=at, schedule_cron="@daily").schedule_list()[-1] == once
    entries = (ScheduleEntry(id="a", schedule_cron="@daily"),)
    assert PipelineSpec(run_once_at=at, schedules=entries).schedule_list()[-1] == once


def test_a_disabled_pipeline_has_no_live_schedule() -> None:
    """All its schedules are off; they are still listed."""
    spec = PipelineSpec(
        enabled=False,
        run_once_at=YEAR_END,
        restart_interval=60,
        schedules=(ScheduleEntry(id="a", schedule_cron="@daily"),),
    )
    restart = spec.restart_schedule()
    assert restart is not None
    assert [schedule.enabled for schedule in [*spec.schedule_list(), restart]] == [False, False, False]


def test_a_regular_restart_is_due_by_cron_or_interval() -> None:
    """Like a schedule."""
    assert PipelineSpec().restart_schedule() is None
    assert PipelineSpec(restart_interval=90).restart_schedule() == PipelineSchedule(
        id="restart", timing=Interval(interval_s=90)
    )
    assert PipelineSpec(restart_interval="0 3 * * *", timezone="Asia/Tokyo").restart_schedule() == PipelineSchedule(
        id="restart", timing=Cron(expr="0 3 * * *"), timezone="Asia/Tokyo"
    )


def test_each_run_configuration_may_have_a_webhook_key() -> None:
    """Keys are not inherited."""
    spec = PipelineSpec(webhook_key="k", schedules=(ScheduleEntry(id="a", webhook_key="l"), ScheduleEntry(id="b")))
    assert spec.webhook_keys() == {None: "k", "a": "l"}
    assert PipelineSpec().webhook_keys() == {}


@pytest.mark.parametrize(
    "spec",
    [
        PipelineSpec(),
        PipelineSpec(schedule_cron="@daily", run_once_at=datetime(2030, 1, 1, tzinfo=UTC), restart_interval=60),
        PipelineSpec(schedule_interval_seconds=60, schedules=(ScheduleEntry(id="a", schedule_cron="@daily"),)),
        PipelineSpec(schedules=(ScheduleEntry(id="a"), ScheduleEntry(id="b", schedule_cron="@daily", enabled=False))),
        PipelineSpec(enabled=False, schedule_cron="@daily", restart_interval="@daily"),
    ],
)
def test_active_schedules_are_those_that_are_listed_and_on(spec: PipelineSpec) -> None:
    """One schedule can be looked up alone, restarts included."""
    restart = spec.restart_schedule()
    active = {schedule.id for schedule in (*spec.schedule_list(), *([restart] if restart else [])) if schedule.enabled}
    ids = ("schedule", "once", "restart", "schedules/a", "schedules/b", "schedules/", "schedules/c")
    assert {one for one in ids if spec.has_active(one)} == active
