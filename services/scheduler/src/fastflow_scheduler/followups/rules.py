"""The rules for what follows from the end of a run: downstream runs and restarts. Pure.

Every start has an edge, a name that is unique among the starts that follow from one run. The run's id and the edge
give the new run's id, so a reaction that happens twice starts nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.links import HOPS_MAX, Link, merged
from fastflow_contracts.pipelines.records import PipelineRecord
from fastflow_contracts.runs.messages import Trigger
from fastflow_contracts.runs.run import RESTART, Ended, RunInput, RunRecord, Verdict
from fastflow_scheduler.starting.admission import Cause

RESTART_EDGE = "restart"


class Follow(msgspec.Struct, frozen=True, kw_only=True):
    """Start *pipeline* because a run ended."""

    pipeline: PipelineName
    edge: str
    trigger: Trigger
    cause: Cause


class Break(msgspec.Struct, frozen=True, kw_only=True):
    """Do not start *pipeline*: the chain is too long."""

    pipeline: PipelineName
    edge: str
    reason: str


def react(run: RunRecord, record: PipelineRecord | None, made: Iterable[Link], given: RunInput) -> list[Follow | Break]:
    """Decide what follows from the end of *run*.

    Args:
        run: The ended run; a run that is not over has no followups.
        record: Its pipeline today.
        made: Links from the API.
        given: The input of *run*.
    """
    if not isinstance(run.state, Ended):
        return []
    spec = record.live.spec if record and record.live else None
    followers = _followers(run, run.state, merged(spec.downstream_triggers if spec else (), made))
    if spec is not None and _restarts(run.state, on_crash=spec.restart_on_crash):
        followers.append(_restart(run, given, wait_s=spec.restart_cooldown))
    return followers


def _followers(run: RunRecord, state: Ended, links: Iterable[Link]) -> list[Follow | Break]:
    found: list[Follow | Break] = []
    for link in links:
        wanted = (state.verdict is Verdict.SUCCESS and link.on_success) or (
            state.verdict is Verdict.FAILED and link.on_failure
        )
        if not wanted:
            continue
        edge = f"downstream/{link.id}"
        if run.order.hops + 1 > HOPS_MAX:
            reason = f"the chain stops after {HOPS_MAX} runs: its pipelines start each other in a cycle."
            found.append(Break(pipeline=link.pipeline, edge=edge, reason=reason))
            continue
        trigger = Trigger(triggered_by="downstream", run_config_id=link.run_config_id)
        cause = Cause(parent_run_id=run.id, hops=run.order.hops + 1)
        found.append(Follow(pipeline=link.pipeline, edge=edge, trigger=trigger, cause=cause))
    return found


def _restarts(state: Ended, *, on_crash: bool) -> bool:
    return state.reason == RESTART or (on_crash and state.verdict is Verdict.FAILED)


def _restart(run: RunRecord, given: RunInput, *, wait_s: float) -> Follow:
    """The same run configuration and variables on today's version. A restart adds no hop to the chain."""
    parameters = {name: given.overrides[name] for name in run.order.parameter_names if name in given.overrides}
    trigger = Trigger(
        triggered_by="daemon_restart",
        run_config_id=run.order.run_config_id,
        env_vars={name: given.overrides[name] for name in run.order.env_names if name in given.overrides},
        parameters=parameters,
        event=given.event,
        event_type=given.event_type,
        event_headers=given.event_headers,
    )
    cause = Cause(parent_run_id=run.id, hops=run.order.hops, wait_s=wait_s)
    return Follow(pipeline=run.pipeline, edge=RESTART_EDGE, trigger=trigger, cause=cause)
