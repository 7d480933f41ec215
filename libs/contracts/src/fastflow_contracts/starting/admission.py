"""Decides whether a trigger becomes a run. Pure: record, trigger and time in, run or refusal out."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from fastflow_contracts.ids import RunId
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.accepted_env import refusal, values_only
from fastflow_contracts.pipelines.folder.python_versions import choose
from fastflow_contracts.pipelines.format.limit_policy import NO_POLICY, LimitPolicy
from fastflow_contracts.pipelines.format.run_config import RunConfig
from fastflow_contracts.pipelines.format.spec import NoSuchRunConfig
from fastflow_contracts.pipelines.parameters.cell_texts import check_texts
from fastflow_contracts.pipelines.parameters.settle import BadParameters, Settled, settle, told_apart
from fastflow_contracts.pipelines.records import PipelineRecord, Version
from fastflow_contracts.runs.messages import Skipped, Trigger
from fastflow_contracts.runs.run import Ended, Order, ParentRun, Pending, RunInput, RunLimits, RunRecord, Verdict
from fastflow_contracts.runs.triggers import BadTrigger


class Defaults(msgspec.Struct, frozen=True, kw_only=True):
    """Values for what a pipeline does not set, and the limits on what it sets."""

    python_version: str = ""
    retry_attempts: int = 0
    policy: LimitPolicy = NO_POLICY


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """What caused the run, beyond the trigger: a slot, a parent run and how it ended, the first run of the chain.

    ``wait_s``: seconds until it may be claimed. ``operation_id``: the operation that starts it.
    """

    schedule: str | None = None
    scheduled_for: datetime | None = None
    parent_run_id: RunId | None = None
    parent: ParentRun | None = None
    root_run_id: RunId | None = None
    hops: int = 0
    wait_s: float = 0.0
    operation_id: RunId | None = None


class UnknownPipeline(BadTrigger):
    """The trigger names a pipeline that no sync has found."""

    status = 404


class TooMuch(BadTrigger):
    """The trigger's values and the pipeline's variables together are too large to store with a run."""

    status = 413


class Admitted(msgspec.Struct, frozen=True):
    """A run to create, with its input."""

    run: RunRecord
    given: RunInput | None
    instances_max: int | None = None
    """At most this many runs of the pipeline may be pending or running, this one included."""
    instances_since: str = ""
    """Identifies the version that sets the limit: a set made for another version may lack runs."""
    config: RunConfig | None = None
    """What it runs, with the limit of the live version; None: there is none, and it has the turn of an earlier run."""
    trigger: Trigger | None = None
    """What it was admitted with, with the defaults of its parameters."""


def admit(
    name: PipelineName,
    record: PipelineRecord | None,
    trigger: Trigger,
    *,
    run_id: RunId,
    cause: Cause,
    defaults: Defaults,
    now: datetime,
    chosen: Version | None = None,
) -> Admitted | Skipped:
    """Make the run that *trigger* starts, or the reason why it starts none.

    The pipeline's live version decides whether it may start, how many may run and how many of those that share a key;
    *chosen*, or else the live version, what runs.

    Raises ``UnknownPipeline``.
    """
    record = _known(name, record)
    if record.live is None:
        return Skipped(status=409, reason=f"{name} has no valid version: {_first_problem(record)}")
    if not record.live.spec.enabled:
        return _disabled(name)
    if cause.schedule is not None and not record.live.spec.has_active(cause.schedule):
        return Skipped(status=409, reason=f"the schedule {cause.schedule} was disabled or removed before its slot.")
    version = chosen or record.live
    try:
        config = version.spec.run_config(trigger.run_config_id)
    except NoSuchRunConfig as error:
        return Skipped(status=422, reason=str(error))
    told = told_apart(config, trigger.env_vars, trigger.parameters)
    trigger = replace(trigger, env_vars=told.env_vars, parameters=told.parameters)
    try:  # first: it names every wrong parameter, and one that the schema excludes cannot be declared elsewhere
        settled = settle(config, trigger.parameters, trigger.json_parameters)
        check_texts(version.inferred_parameters, settled)
    except BadParameters as error:
        return Skipped(status=422, reason=str(error))
    if refused_variable := refusal(
        config, env_vars=trigger.env_vars, parameters=trigger.parameters, by_operator=trigger.by_operator
    ):
        return Skipped(status=422, reason=refused_variable)
    given = _input(config, trigger, settled, cause)
    order = Order(
        kind=config.type,
        bundle=version.bundle,
        commit=version.commit,
        python_version=choose(config.python_version or version.python, defaults.python_version),
        triggered_by=trigger.triggered_by,
        run_config_id=trigger.run_config_id,
        schedule=cause.schedule,
        scheduled_for=cause.scheduled_for,
        trigger_id=trigger.trigger_id,
        event_subject=trigger.event_subject,
        parent_run_id=cause.parent_run_id,
        root_run_id=cause.root_run_id,
        hops=cause.hops,
        limits=_limits(config, defaults.policy),
        network=config.network,
        priority=config.priority,
        runs_on=config.runs_on,
        keeps_state=config.state,
        retry_attempts=defaults.retry_attempts if config.retry_attempts is None else config.retry_attempts,
        retry_strategy=config.retry_strategy,
        env_names=tuple(sorted(trigger.env_vars)),
        parameter_names=tuple(sorted(settled.texts)),
        json_parameters=settled.json,
        own_parameters=settled.own,
        by_operator=trigger.by_operator,
        cells=config.cells,
        has_input=given is not None,
    )
    run = _new_run(run_id, name, order, now, wait_s=cause.wait_s)
    settled_trigger = replace(trigger, parameters=settled.texts, json_parameters=settled.json)
    since = record.live.live_since.isoformat()
    return Admitted(
        run, given, record.live.spec.max_instances, since, _limited_by(record.live, config), settled_trigger
    )


def again(
    former: RunRecord,
    given: RunInput,
    record: PipelineRecord | None,
    trigger: Trigger,
    *,
    run_id: RunId,
    policy: LimitPolicy,
    now: datetime,
    own: Version | None = None,
) -> Admitted | Skipped:
    """Make a new run with the bundle, variables and parameters of *former*, in its place in its chain.

    Today's pipeline record decides whether it may start, with which variables, how many may run and how many of those
    that share a key; today's *policy* decides what it may use. Where *trigger* changes something, the schema of *own*,
    the version of *former*, checks the parameters, or else the live one.

    Raises ``UnknownPipeline``.
    """
    live = _known(former.pipeline, record).live
    if live is not None and not live.spec.enabled:
        return _disabled(former.pipeline)
    config = _config_of(former, given, live)
    if refused_variable := refusal(
        config,
        env_vars=former.order.env_names,
        parameters=former.given_parameters,
        by_operator=former.order.by_operator,
    ):
        return Skipped(status=422, reason=refused_variable)
    order = former.order
    if trigger.changes:
        try:
            order, given = _settled_again(_config_of(former, given, own or live), own, order, given)
        except BadParameters as error:
            return Skipped(status=422, reason=str(error))
    if added := values_only(config, trigger.parameters, by_operator=trigger.by_operator):
        given = replace(given, not_variables=tuple(sorted({*given.not_variables, *added})))
    order = replace(
        order,
        triggered_by=trigger.triggered_by,
        parent_run_id=former.id,
        schedule=None,
        scheduled_for=None,
        limits=replace(
            former.order.limits,
            cpu_cores=policy.cpu(former.order.limits.cpu_cores),
            memory_bytes=policy.memory(former.order.limits.memory_bytes),
            timeout_s=policy.timeout(former.order.limits.timeout_s),
        ),
    )
    run = _new_run(run_id, former.pipeline, order, now)
    return Admitted(
        run,
        given if order.has_input else None,
        live.spec.max_instances if live else None,
        live.live_since.isoformat() if live else "",
        _limited_by(live, config) if live else None,
        with_input_of(replace(former, order=replace(order, own_parameters=())), given, trigger),
    )


def refused(
    name: PipelineName, trigger: Trigger, why: Skipped, *, run_id: RunId, cause: Cause, now: datetime
) -> RunRecord:
    """Make the record of a start that was accepted and is now refused: a run that is over before it began.

    It has no code and no input: those are for the redrive of its skip.
    """
    order = Order(
        kind="script",
        bundle="",
        python_version="",
        triggered_by=trigger.triggered_by,
        run_config_id=trigger.run_config_id,
        schedule=cause.schedule,
        scheduled_for=cause.scheduled_for,
        trigger_id=trigger.trigger_id,
        event_subject=trigger.event_subject,
        parent_run_id=cause.parent_run_id,
        root_run_id=cause.root_run_id,
        hops=cause.hops,
        env_names=tuple(sorted(trigger.env_vars)),
        parameter_names=tuple(sorted(trigger.parameters)),
    )
    ended = Ended(verdict=Verdict.INTERRUPTED, at=now, reason=f"not started: {why.reason}", refused=True)
    return RunRecord(id=run_id, pipeline=name, created_at=now, order=order, state=ended)


def with_input_of(former: RunRecord, given: RunInput, trigger: Trigger) -> Trigger:
    """Return *trigger* with what *former* was started with, for a new admission on today's version."""
    order = former.order
    return replace(
        trigger,
        run_config_id=order.run_config_id,
        env_vars={name: given.overrides[name] for name in order.env_names if name in given.overrides},
        parameters=(parameters := {n: given.overrides[n] for n in former.given_parameters if n in given.overrides}),
        json_parameters=tuple(name for name in order.json_parameters if name in parameters),
        by_operator=order.by_operator,
        event=given.event,
        event_type=given.event_type,
        event_headers=given.event_headers,
        trigger_id=order.trigger_id,
        event_subject=order.event_subject,
    )


def still_values_only(admitted: Admitted | Skipped, given: RunInput) -> Admitted | Skipped:
    """Return *admitted* without the variables that its former run had as values only, by its input *given*.

    They came from outside. An operator who changes something else does not make variables of them.
    """
    if isinstance(admitted, Skipped) or admitted.given is None or not given.not_variables:
        return admitted
    names = tuple(sorted({*admitted.given.not_variables, *given.not_variables}))
    return replace(admitted, given=replace(admitted.given, not_variables=names))


def _config_of(former: RunRecord, given: RunInput, live: Version | None) -> RunConfig:
    """What *former* declares with its code, and its pipeline today. A run configuration may be gone since."""
    config = RunConfig()
    if live is not None:
        try:
            config = live.spec.run_config(former.order.run_config_id)
        except NoSuchRunConfig:
            config = live.spec.run_config()
    return replace(
        config,
        type=former.order.kind,
        default_env=config.default_env | given.env,
        secret_names=config.secret_names | given.encrypted_env.keys(),
    )


def _limited_by(live: Version, config: RunConfig) -> RunConfig:
    """*config* with today's limit: that of the entry of *live* with the same name, or else of the whole pipeline."""
    try:
        today = live.spec.run_config(config.run_config_id)
    except NoSuchRunConfig:
        today = live.spec.run_config()
    return replace(config, concurrency=today.concurrency, has_own_concurrency=today.has_own_concurrency)


def _settled_again(config: RunConfig, own: Version | None, order: Order, given: RunInput) -> tuple[Order, RunInput]:
    """Settle the parameters of a run that was changed. Raises ``BadParameters``."""
    env_vars = {name: given.overrides[name] for name in order.env_names if name in given.overrides}
    texts = {
        name: given.overrides[name]
        for name in order.parameter_names
        if name in given.overrides and name not in order.own_parameters
    }
    told = told_apart(config, env_vars, texts)
    settled = settle(config, told.parameters, (name for name in order.json_parameters if name in told.parameters))
    check_texts(own.inferred_parameters if own is not None else None, settled)
    order = replace(
        order,
        env_names=tuple(sorted(told.env_vars)),
        parameter_names=tuple(sorted(settled.texts)),
        json_parameters=settled.json,
        own_parameters=settled.own,
    )
    given = replace(given, overrides={**told.env_vars, **settled.texts})
    return replace(order, has_input=given != RunInput()), given


def _known(name: PipelineName, record: PipelineRecord | None) -> PipelineRecord:
    if record is None or record.removed_at is not None:
        raise UnknownPipeline(f"there is no pipeline {name}; check the name, or give its folder a main.py.")
    return record


def _disabled(name: PipelineName) -> Skipped:
    return Skipped(status=404, reason=f'{name} is disabled ("enabled": false in its metadata).')


def _new_run(run_id: RunId, name: PipelineName, order: Order, now: datetime, *, wait_s: float = 0.0) -> RunRecord:
    pending = Pending(attempt=1, not_before=now + timedelta(seconds=wait_s))
    return RunRecord(id=run_id, pipeline=name, created_at=now, order=order, state=pending)


def _input(config: RunConfig, trigger: Trigger, settled: Settled, cause: Cause) -> RunInput | None:
    """Plain variables first, encrypted ones over them, the trigger's over both: the runner merges in this order."""
    given = RunInput(
        env=dict(config.default_env),
        encrypted_env=dict(config.encrypted_env),
        overrides={**trigger.env_vars, **settled.texts},
        not_variables=values_only(config, trigger.parameters, by_operator=trigger.by_operator),
        event=trigger.event,
        event_type=trigger.event_type,
        event_headers=trigger.event_headers,
        parent=cause.parent,
    )
    return None if given == RunInput() else given


def _limits(config: RunConfig, policy: LimitPolicy) -> RunLimits:
    return RunLimits(
        cpu_cores=policy.cpu(config.cpu_hard_limit),
        memory_bytes=policy.memory(config.mem_hard_limit),
        cpu_cores_soft=config.cpu_soft_limit,
        memory_bytes_soft=config.mem_soft_limit,
        timeout_s=policy.timeout(config.timeout),
    )


def _first_problem(record: PipelineRecord) -> str:
    if not record.problems:
        return "no version has been synced yet."
    more = f" (and {len(record.problems) - 1} more)" if len(record.problems) > 1 else ""
    return f"{record.problems[0]}{more}"
