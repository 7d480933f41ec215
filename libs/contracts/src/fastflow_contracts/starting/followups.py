"""The rules for what follows from the end of a run: downstream runs and restarts. Pure.

Every start has an edge, a name that is unique among the starts that follow from one run. The run's id and the edge
give the new run's id, so a reaction that happens twice starts nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.links import HOPS_MAX, Link, merged
from fastflow_contracts.pipelines.records import PipelineRecord
from fastflow_contracts.runs.artifacts.manifest import StoredArtifact
from fastflow_contracts.runs.chain import finished_event, parent_run, route_of
from fastflow_contracts.runs.messages import Trigger
from fastflow_contracts.runs.run import RESTART, ArtifactsOf, Ended, Pending, RunInput, RunRecord, Verdict
from fastflow_contracts.runs.triggers import STRUCTURED
from fastflow_contracts.starting.admission import Cause
from fastflow_contracts.starting.ceilings import too_deep

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
    trigger: Trigger
    cause: Cause
    reason: str


class Needed(NamedTuple):
    """What of an ended run must be read to ``react``."""

    given: bool
    """Its input."""
    result: bool
    """Its result, and the list of its artifacts."""


def needed(run: RunRecord, record: PipelineRecord | None, made: Iterable[Link]) -> Needed:
    """Return what ``react`` uses. Most runs end without a follower, and nothing of them is read."""
    return Needed(given=_restarts(run, record), result=bool(_applying(run, record, made)))


def react(
    run: RunRecord,
    record: PipelineRecord | None,
    made: Iterable[Link],
    given: RunInput,
    *,
    result: bytes | None = None,
    artifacts: Iterable[StoredArtifact] = (),
    depth_max: int = HOPS_MAX,
) -> list[Follow | Break]:
    """Decide what follows from the end of *run*.

    Args:
        run: The ended run; a run that is not over has no followups.
        record: Its pipeline today.
        made: Links from the API.
        given: The input of *run*, if it is ``needed``.
        result: Its result as JSON, if it is ``needed``.
        artifacts: The files that it left, likewise.
        depth_max: Most downstream starts one after the other.
    """
    if not isinstance(run.state, Ended):
        return []
    links = _applying(run, record, made)
    followers = _followers(run, links, finished_event(run, result, artifacts), depth_max) if links else []
    if record is not None and record.live is not None and _restarts(run, record):
        followers.append(_restart(run, given, wait_s=record.live.spec.restart_cooldown))
    return followers


def stops_for_restart(run: RunRecord, slot: datetime) -> bool:
    """Whether a restart at *slot* stops *run*. One that is younger, or has not begun, belongs to the slot already."""
    is_to_begin = isinstance(run.state, Pending) and not run.attempts
    return not run.is_over and run.created_at < slot and not is_to_begin


def _applying(run: RunRecord, record: PipelineRecord | None, made: Iterable[Link]) -> list[Link]:
    if not isinstance(run.state, Ended):
        return []
    declared = record.live.spec.downstream_triggers if record and record.live else ()
    return [link for link in merged(declared, made) if _applies(link, run.state, route_of(run))]


def _applies(link: Link, state: Ended, route: str | None) -> bool:
    wanted = (state.verdict is Verdict.SUCCESS and link.on_success) or (
        state.verdict is Verdict.FAILED and link.on_failure
    )
    return wanted and link.on_route in (None, route)


def _followers(run: RunRecord, links: Sequence[Link], event: bytes, depth_max: int) -> list[Follow | Break]:
    """Links with the same target, which differ only in their route, start it once: with artifacts if one needs them."""
    found: list[Follow | Break] = []
    needing = {link.target for link in links if link.needs_artifacts}
    for link in {link.target: link for link in links}.values():
        edge = f"downstream/{link.target}"
        trigger = Trigger(
            triggered_by="downstream",
            run_config_id=link.run_config_id,
            event=event,
            event_type=STRUCTURED,
            event_headers={"content-type": STRUCTURED},
        )
        cause = Cause(
            parent_run_id=run.id,
            parent=parent_run(run, artifacts_of=_artifacts_of(run) if link.target in needing else None),
            root_run_id=run.root_run_id,
            hops=run.order.hops + 1,
        )
        if run.order.hops >= depth_max:
            reason = too_deep(run.root_run_id, depth_max)
            found.append(Break(pipeline=link.pipeline, edge=edge, trigger=trigger, cause=cause, reason=reason))
        else:
            found.append(Follow(pipeline=link.pipeline, edge=edge, trigger=trigger, cause=cause))
    return found


def _artifacts_of(run: RunRecord) -> ArtifactsOf:
    return ArtifactsOf(pipeline=run.pipeline, run_id=run.id)


def _restarts(run: RunRecord, record: PipelineRecord | None) -> bool:
    if not isinstance(run.state, Ended) or record is None or record.live is None:
        return False
    on_crash = record.live.spec.restart_on_crash
    return run.state.reason == RESTART or (on_crash and run.state.verdict is Verdict.FAILED)


def _restart(run: RunRecord, given: RunInput, *, wait_s: float) -> Follow:
    """The same run configuration, variables and event on today's version.

    A restart adds no hop to its chain. That of a first run begins a new chain.
    """
    parameters = {name: given.overrides[name] for name in run.given_parameters if name in given.overrides}
    trigger = Trigger(
        triggered_by="daemon_restart",
        run_config_id=run.order.run_config_id,
        env_vars={name: given.overrides[name] for name in run.order.env_names if name in given.overrides},
        parameters=parameters,
        json_parameters=tuple(name for name in run.order.json_parameters if name in parameters),
        event=given.event,
        event_type=given.event_type,
        event_headers=given.event_headers,
        by_operator=run.order.by_operator,
    )
    cause = Cause(
        parent_run_id=run.id,
        parent=parent_run(run, artifacts_of=given.parent.artifacts_of if given.parent else None),
        root_run_id=run.order.root_run_id,
        hops=run.order.hops,
        wait_s=wait_s,
    )
    return Follow(pipeline=run.pipeline, edge=RESTART_EDGE, trigger=trigger, cause=cause)
