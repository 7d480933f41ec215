"""Start, retry and cancel runs. A refusal is ``RequestRefused``. I/O."""

from __future__ import annotations

from aiohttp import web

from fastflow_contracts.bus.errors import TooLarge
from fastflow_contracts.ids import RunId, run_id_for_key
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.accepted_env import refusal
from fastflow_contracts.pipelines.format.spec import NoSuchRunConfig
from fastflow_contracts.pipelines.parameters.cell_texts import check_texts
from fastflow_contracts.pipelines.parameters.settle import BadParameters, settle, told_apart
from fastflow_contracts.pipelines.records import PipelineRecord
from fastflow_contracts.runs.messages import RetriedCode, Skipped, Trigger
from fastflow_contracts.runs.room import NoRoom
from fastflow_contracts.runs.run import Running, RunRecord, RunStatus, TriggeredBy
from fastflow_contracts.runs.skips import letter_of
from fastflow_contracts.runs.store import RunStore
from fastflow_gateway import app_keys
from fastflow_gateway.actions import skips
from fastflow_gateway.actions.edits import NO_EDITS, Edits
from fastflow_gateway.actions.trigger_client import TRIGGER_CLIENT, asked_key
from fastflow_gateway.errors import RequestRefused, no_pipeline
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.readmodel.run_index import KnownRun

RETRY_AFTER_S = 5
"""Seconds to wait, in the ``Retry-After`` of a refusal that may pass."""
NO_ROOM_RETRY_S = 60
"""The same, while there is no room for new runs."""


class WrongParameters(RequestRefused):
    """The pipeline's schema does not accept the parameters."""

    def __init__(self, error: BadParameters) -> None:
        super().__init__(422, str(error))
        self.wrong = error.wrong


async def start(app: web.Application, name: PipelineName, trigger: Trigger) -> KnownRun | RunId:
    """Start a run.

    Returns:
        The new run, or the one that this trigger's key started before. Only the id if no scheduler answered in time.

    Raises:
        RequestRefused: The pipeline cannot start, or not now.
        BusError: The bus did not answer.
    """
    model = app[MODEL]
    # The model may be behind what the client already read from the bus: only the bus itself may say no.
    # A chosen version has its own variables and configurations, which only the scheduler reads.
    if _refusal(name, await model.pipeline(name), trigger) is not None:
        refused = _refusal(name, await model.pipeline(name, is_fresh=True), trigger)
        if refused is not None:
            if trigger.key is not None and (known := await model.run(run_id_for_key(name, asked_key(trigger)))):
                return known  # what a call started stays started
            is_typed = isinstance(refused, WrongParameters) and trigger.triggered_by == "manual"
            if not is_typed:  # the form keeps what a person typed
                await skips.keep(app, name, letter_of(trigger), trigger, refused)
            raise refused
    try:
        await app[app_keys.ROOM].check()
    except NoRoom as error:
        if trigger.key is not None and (known := await model.run(run_id_for_key(name, asked_key(trigger)))):
            return known
        refusal = RequestRefused(503, str(error), headers={"Retry-After": str(NO_ROOM_RETRY_S)})
        await skips.keep(app, name, letter_of(trigger), trigger, refusal)
        raise refusal from error
    return await _send(app, name, trigger)


async def retry(
    app: web.Application,
    run: RunRecord,
    *,
    triggered_by: TriggeredBy,
    key: str | None = None,
    code: RetriedCode = "same",
    edits: Edits = NO_EDITS,
) -> KnownRun | RunId:
    """Start a new run with the same event, and its variables and parameters after *edits*.

    Returns and raises as ``start``.

    Args:
        app: The gateway.
        run: The run; it must be over.
        triggered_by: Who asks.
        key: An idempotency key.
        code: The bundle of *run*, or the pipeline's current version.
        edits: What to replace and to leave out.
    """
    if run.is_refused:
        raise RequestRefused(409, f"run {run.id} never began; redrive its skip: POST /api/skipped/{run.id}/redrive.")
    # The model may be a moment behind: only the stored record may say "not over".
    if not run.is_over and not (await RunStore(app[app_keys.BUS]).load(run.ref)).run.is_over:
        raise RequestRefused(409, f"run {run.id} is not over yet; wait until it ends, or cancel it first.")
    trigger = edits.applied_to(
        Trigger(triggered_by=triggered_by, key=key, run_config_id=run.order.run_config_id, retry_of=run.id, code=code),
        run,
    )
    return await _send(app, run.pipeline, trigger)


async def cancel(app: web.Application, known: KnownRun) -> KnownRun | RunId:
    """Cancel a run.

    Returns:
        The cancelled run. Only the id if the command is stored but no scheduler handled it in time.

    Raises:
        RequestRefused: The run is already over.
        BusError: The bus did not answer.
    """
    if known.run.is_over:
        raise _already_over(known.run)
    cancelled = await app[TRIGGER_CLIENT].cancel(known)
    if cancelled.run.status is RunStatus.INTERRUPTED or _is_stopping(cancelled.run):
        return cancelled
    if cancelled.run.is_over:
        raise _already_over(cancelled.run)
    return known.run.id


async def _send(app: web.Application, name: PipelineName, trigger: Trigger) -> KnownRun | RunId:
    try:
        outcome = await app[TRIGGER_CLIENT].start(name, trigger)
    except TooLarge as error:
        raise RequestRefused(413, str(error)) from error
    if isinstance(outcome, Skipped):
        headers = {"Retry-After": str(RETRY_AFTER_S)} if outcome.status == 429 else {}
        raise RequestRefused(outcome.status, outcome.reason, headers=headers)
    return outcome


def _refusal(name: PipelineName, record: PipelineRecord | None, trigger: Trigger) -> RequestRefused | None:
    """Why the pipeline cannot start; None: its record does not forbid it."""
    if record is None:
        return no_pipeline(name)
    if record.live is None:
        problems = "; ".join(map(str, record.problems[:3])) or "none has been synced yet"
        return RequestRefused(409, f"{record.name} has no valid version: {problems}")
    if not record.live.spec.enabled:
        return RequestRefused(404, f'{record.name} is disabled; set "enabled": true in its metadata.')
    if trigger.version is not None:
        return None
    try:
        config = record.live.spec.run_config(trigger.run_config_id)
    except NoSuchRunConfig as error:
        return RequestRefused(422, str(error))
    told = told_apart(config, trigger.env_vars, trigger.parameters)
    try:  # first: it names every wrong parameter, and one that the schema excludes cannot be declared elsewhere
        settled = settle(config, told.parameters, trigger.json_parameters)
        check_texts(record.live.inferred_parameters, settled)
    except BadParameters as error:
        return WrongParameters(error)
    reason = refusal(config, env_vars=told.env_vars, parameters=told.parameters, by_operator=trigger.by_operator)
    return RequestRefused(422, reason) if reason else None


def _already_over(run: RunRecord) -> RequestRefused:
    return RequestRefused(409, f"run {run.id} is already over: {run.status}.")


def _is_stopping(run: RunRecord) -> bool:
    return isinstance(run.state, Running) and run.state.is_stopping
