"""The pipeline format: every field of pipeline.json, and how the fields combine. Pure data.

``PipelineSpec`` mirrors the file field by field, with checked and normalised values: memory in bytes, CPU in cores,
durations in seconds, dates in UTC, None for unset. Its JSON is a valid pipeline.json. The annotations define the
fields: ``manifest`` reads files by them, ``json_schema`` publishes them.

Other services use ``spec.run_config`` and ``spec.schedule_list``, which merge settings and apply precedence.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec

from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.pipelines.format.concurrency import ConcurrencySpec
from fastflow_contracts.pipelines.format.event_triggers import TriggerSpec
from fastflow_contracts.pipelines.format.retry import (
    CellRetry,
    CustomSchedule,
    ExponentialBackoff,
    FixedDelay,
    RetryStrategy,
)
from fastflow_contracts.pipelines.format.run_config import PipelineType, RunConfig
from fastflow_contracts.pipelines.format.value_types import (
    Cores,
    CronExpression,
    CronOrSeconds,
    End,
    EnvName,
    EnvPattern,
    EnvValue,
    FernetToken,
    FirstFailures,
    Flag,
    Instances,
    IntervalSeconds,
    MemoryBytes,
    Network,
    ParameterSchema,
    ParameterValues,
    PipelineRef,
    PythonVersion,
    Retries,
    Route,
    RunConfigId,
    Seconds,
    Start,
    Text,
    Timezone,
    WebhookKey,
    says,
)
from fastflow_contracts.pipelines.format.webhook import WebhookSpec
from fastflow_contracts.schedules.schedule import (
    COOLDOWN_S,
    RESTART_ID,
    Catchup,
    Cron,
    Interval,
    Once,
    PipelineSchedule,
    Timing,
)

__all__ = [
    "CellRetry",
    "CustomSchedule",
    "DownstreamRule",
    "ExponentialBackoff",
    "FixedDelay",
    "NoSuchRunConfig",
    "PipelineSpec",
    "RetryStrategy",
    "RunConfig",
    "RunSettings",
    "ScheduleEntry",
    "WebhookSpec",
]


class NoSuchRunConfig(FastFlowError):
    """The pipeline has no run configuration with this id."""


class DownstreamRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A pipeline to start when a run of this one ends."""

    pipeline: Annotated[PipelineRef, says("Name of the pipeline.")]
    on_success: Annotated[Flag, says("Start it after SUCCESS.")] = True
    on_failure: Annotated[Flag, says("Start it after FAILED.")] = False
    run_config_id: Annotated[
        RunConfigId | None, says("The run configuration to start it with: one of its `schedules[].id`.")
    ] = None
    on_route: Annotated[
        Route | None, says("Start it only if the run wrote this label to the file `FASTFLOW_ROUTE_FILE`.")
    ] = None


class RunSettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Settings of a pipeline for all its runs, which an entry of ``schedules`` can override for its own."""

    cpu_hard_limit: Annotated[Cores | None, says("CPU limit in cores, enforced by throttling.")] = None
    mem_hard_limit: Annotated[
        MemoryBytes | None,
        says(
            "Memory limit; a run that exceeds it is killed (exit code 137). In Docker and bubble, files that it writes "
            "count too."
        ),
    ] = None
    cpu_soft_limit: Annotated[Cores | None, says("Cores above which a run gets a warning.")] = None
    mem_soft_limit: Annotated[MemoryBytes | None, says("Memory above which a run gets a warning.")] = None
    timeout: Annotated[
        Seconds | None, says("Seconds one attempt may take, counted from the start of user code; 0: no limit.")
    ] = None
    retry_attempts: Annotated[Retries | None, says("Attempts after the first (scripts only).")] = None
    retry_strategy: Annotated[
        RetryStrategy | None, says("Wait before each retry (scripts only); default 60 seconds.")
    ] = None
    concurrency: Annotated[
        ConcurrencySpec | None, says("How many runs there may be at once, and what a start beyond that does.")
    ] = None
    schedule_cron: Annotated[
        CronExpression | None, says("When to run: minute, hour, day of month, month, day of week.")
    ] = None
    schedule_interval_seconds: Annotated[
        IntervalSeconds | None, says("Seconds between starts. `schedule_cron` overrides it.")
    ] = None
    schedule_start: Annotated[Start | None, says("First time at which the schedule can start a run.")] = None
    schedule_end: Annotated[End | None, says("Last time at which the schedule can start a run.")] = None
    timezone: Annotated[Timezone | None, says("Time zone of cron expressions; default UTC.")] = None
    catchup: Annotated[
        Catchup | None,
        says("Starts missed during downtime to make up for: none, the last one (default), or all."),
    ] = None
    enabled: Annotated[Flag, says("Whether it can run; false in an entry of `schedules`: only by hand.")] = True
    webhook_key: Annotated[
        WebhookKey | None, says("Secret last part of the webhook URL; without it there is no webhook.")
    ] = None
    webhook: Annotated[WebhookSpec | None, says("Signatures that the webhook requires beside the key.")] = None
    default_env: Annotated[dict[EnvName, EnvValue], says("Environment variables of every run. No secrets here.")] = {}
    encrypted_env: Annotated[
        dict[EnvName, FernetToken], says("Secret environment variables, as tokens made by `fastflow encrypt`.")
    ] = {}


class ScheduleEntry(RunSettings, frozen=True, kw_only=True, omit_defaults=True):
    """A run configuration: its own settings, started by its own schedule or webhook, or by hand."""

    id: Annotated[RunConfigId, says("Unique in the pipeline; shown as `run_config_id`.")]
    parameters: Annotated[
        ParameterValues | None, says("Parameters of its runs; those of a start win. The pipeline's schema checks them.")
    ] = None


class PipelineSpec(RunSettings, frozen=True, kw_only=True, omit_defaults=True):
    """Settings of one pipeline, all optional."""

    type: Annotated[PipelineType, says("`script` runs main.py, `notebook` runs main.ipynb cell by cell.")] = "script"
    description: Annotated[Text | None, says("Text that is shown with the pipeline.")] = None
    tags: Annotated[tuple[Text, ...], says("For grouping and filtering.")] = ()
    python_version: Annotated[PythonVersion | None, says("Interpreter to run with.")] = None
    network: Annotated[
        Network | None,
        says(
            "What its runs reach: `internet` (default), `none`, or only a list of `host:port`. A runner "
            "with plain processes refuses the run."
        ),
    ] = None
    cells: Annotated[
        tuple[CellRetry, ...], says("Retries of a notebook's code cells, first to last; default none.")
    ] = ()
    run_once_at: Annotated[Start | None, says("Run once, at this time.")] = None
    schedules: Annotated[
        tuple[ScheduleEntry, ...],
        says("Run configurations. With at least one, the pipeline's own `schedule_*` fields have no effect."),
    ] = ()
    triggers: Annotated[
        tuple[TriggerSpec, ...], says("Subjects of the bus whose messages start runs, beside `ff.trigger.NAME`.")
    ] = ()
    accepts_env: Annotated[
        tuple[EnvPattern, ...],
        says(
            "Variables that a start from outside may set besides those of `default_env`: names, with `*` for any "
            "characters."
        ),
    ] = ()
    parameters: Annotated[
        ParameterSchema | None,
        says(
            "What parameters its runs take: their types, defaults and descriptions. Starts are checked, and the page "
            "of a start has a field for each."
        ),
    ] = None
    max_instances: Annotated[
        Instances | None,
        says("Most runs of this pipeline at once, including waiting ones; further starts are refused."),
    ] = None
    rollback_after: Annotated[
        FirstFailures | None,
        says("A new version whose first this many runs all fail is rolled back to the one before it."),
    ] = None
    restart_on_crash: Annotated[Flag, says("Start again after FAILED.")] = False
    restart_cooldown: Annotated[Seconds, says("Seconds from the end of a run to its restart.")] = COOLDOWN_S
    restart_interval: Annotated[CronOrSeconds | None, says("When to stop running runs and start again.")] = None
    downstream_triggers: Annotated[tuple[DownstreamRule, ...], says("Pipelines to start when a run ends.")] = ()

    def run_config(self, run_config_id: str | None = None) -> RunConfig:
        """Merge the settings of a run configuration: its entry of ``schedules`` over the pipeline's own.

        Args:
            run_config_id: Id of the entry; None means the pipeline's own configuration.

        Raises:
            NoSuchRunConfig: No entry has this id.
        """
        chosen = self if run_config_id is None else self._entry(run_config_id)
        is_notebook = self.type == "notebook"
        encrypted_env = self.encrypted_env | chosen.encrypted_env
        # The parser reads an invalid token as an empty text. Its variable stays unset: another value of the same
        # name in its place could give a test run the secret of production.
        unset = {name for name, token in encrypted_env.items() if not token}
        return RunConfig(
            run_config_id=run_config_id,
            type=self.type,
            python_version=self.python_version,
            network=self.network,
            cpu_hard_limit=_either(chosen.cpu_hard_limit, self.cpu_hard_limit),
            mem_hard_limit=_either(chosen.mem_hard_limit, self.mem_hard_limit),
            cpu_soft_limit=_either(chosen.cpu_soft_limit, self.cpu_soft_limit),
            mem_soft_limit=_either(chosen.mem_soft_limit, self.mem_soft_limit),
            timeout=_either(chosen.timeout, self.timeout),
            concurrency=chosen.concurrency or self.concurrency,
            has_own_concurrency=run_config_id is not None and chosen.concurrency is not None,
            retry_attempts=0 if is_notebook else _either(chosen.retry_attempts, self.retry_attempts),
            retry_strategy=None if is_notebook else chosen.retry_strategy or self.retry_strategy,
            default_env=_without(unset, self.default_env | chosen.default_env),
            encrypted_env=_without(unset, encrypted_env),
            secret_names=frozenset(encrypted_env),
            accepts_env=self.accepts_env,
            tags=self.tags,
            parameters=self.parameters,
            parameter_values=self._values_of(chosen),
            cells=self.cells if is_notebook else (),
        )

    def schedule_list(self) -> tuple[PipelineSchedule, ...]:
        """Return everything that starts runs by time.

        That is the entries of ``schedules`` or, without any, the pipeline's own schedule, and also ``run_once_at``.
        Disabled ones are included, with ``enabled=False``.
        """
        recurring: list[tuple[RunSettings, str | None]] = [(entry, entry.id) for entry in self.schedules]
        schedules = [
            self._schedule(settings, run_config_id, timing)
            for settings, run_config_id in recurring or [(self, None)]
            if (timing := _timing(settings))
        ]
        if self.run_once_at:
            catchup = self.catchup or "last"
            once = Once(at=self.run_once_at)
            schedules.append(PipelineSchedule(id="once", timing=once, catchup=catchup, enabled=self.enabled))
        return tuple(schedules)

    def active_triggers(self) -> dict[str, TriggerSpec]:
        """Return the triggers whose messages start runs, by id."""
        return {each.id: each for each in self.triggers if self.enabled and each.enabled}

    def has_active(self, schedule_id: str) -> bool:
        """Whether a schedule or restart has this id and is enabled in the metadata."""
        match schedule_id.partition("/"):
            case "schedules", "/", entry_id:
                is_there = any(entry.id == entry_id and entry.enabled and _timing(entry) for entry in self.schedules)
            case "once", "", "":
                is_there = self.run_once_at is not None
            case str(restart), "", "" if restart == RESTART_ID:
                is_there = self.restart_interval is not None
            case _:
                is_there = not self.schedules and _timing(self) is not None
        return self.enabled and is_there

    def restart_schedule(self) -> PipelineSchedule | None:
        """When to stop running runs and start again; None means never."""
        match self.restart_interval:
            case None:
                return None
            case int(interval_s):
                timing: Timing = Interval(interval_s=interval_s)
            case expr:
                timing = Cron(expr=expr)
        return PipelineSchedule(id=RESTART_ID, timing=timing, timezone=self.timezone or "UTC", enabled=self.enabled)

    def webhook_keys(self) -> dict[str | None, str]:
        """Return the webhook keys by run configuration id; the id None is the pipeline's own.

        A disabled entry is left out: it starts only by hand.
        """
        keys = {None: self.webhook_key} | {entry.id: entry.webhook_key for entry in self.schedules if entry.enabled}
        return {run_config_id: key for run_config_id, key in keys.items() if key}

    def webhook_of(self, run_config_id: str | None) -> WebhookSpec | None:
        """Return the signatures that this configuration's webhook requires beside the key.

        Raises:
            NoSuchRunConfig: No entry has this id.
        """
        chosen = self if run_config_id is None else self._entry(run_config_id)
        return chosen.webhook or self.webhook

    def _values_of(self, chosen: RunSettings) -> dict[str, Any]:
        return chosen.parameters or {} if isinstance(chosen, ScheduleEntry) else {}

    def _entry(self, run_config_id: str) -> ScheduleEntry:
        for entry in self.schedules:
            if entry.id == run_config_id:
                return entry
        known = ", ".join(repr(entry.id) for entry in self.schedules[:20]) or "none"
        raise NoSuchRunConfig(
            f"there is no run configuration {run_config_id[:128]!r}; "
            f"use one of the pipeline's `schedules[].id` ({known})."
        )

    def _schedule(self, settings: RunSettings, run_config_id: str | None, timing: Timing) -> PipelineSchedule:
        return PipelineSchedule(
            id="schedule" if run_config_id is None else f"schedules/{run_config_id}",
            run_config_id=run_config_id,
            timing=timing,
            start=settings.schedule_start,
            end=settings.schedule_end,
            timezone=settings.timezone or self.timezone or "UTC",
            catchup=settings.catchup or self.catchup or "last",
            enabled=self.enabled and settings.enabled,
        )


T = TypeVar("T")


def _either(value: T | None, fallback: T | None) -> T | None:
    return fallback if value is None else value


def _without(unset: set[str], env: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name not in unset}


def _timing(settings: RunSettings) -> Timing | None:
    if settings.schedule_cron is not None:
        return Cron(expr=settings.schedule_cron)
    if settings.schedule_interval_seconds is not None:
        return Interval(interval_s=settings.schedule_interval_seconds)
    return None
