"""What the API and the pages let people do: start, cancel, retry, sync. Each refuses with ``api.RequestRefused``. I/O."""

from __future__ import annotations

from aiohttp import web

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.errors import Rejected, TooLarge, Unavailable
from fastflow_contracts.ids import RunId
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.records import SYNC_REPORT, PipelineRecord, SyncReport
from fastflow_contracts.pipelines.spec import NoSuchRunConfig
from fastflow_contracts.runs.messages import Declined, Trigger
from fastflow_contracts.runs.run import Run, Running, Status, TriggeredBy
from fastflow_contracts.runs.store import RunStore
from fastflow_gateway import app_keys
from fastflow_gateway.actions.trigger_client import TRIGGER_CLIENT
from fastflow_gateway.errors import RequestRefused, no_pipeline
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.readmodel.run_index import KnownRun

RETRY_AFTER_S = 5
"""What a caller is told to wait when it is refused for now."""
SYNC_S = 120.0
"""How long a sync may take before its caller is told to look later."""
IDEMPOTENCY_KEY_CHARACTERS_MAX = 255


async def start(app: web.Application, name: PipelineName, trigger: Trigger) -> KnownRun | RunId:
    """A new run, or the one that the trigger's key started before; its id alone if nobody answered in time."""
    model = app[MODEL]
    # What a reader of the bus just read there may not have arrived here: only the bus itself may say no.
    if (record := await model.pipeline(name)) is None or _refusal(record, trigger) is not None:
        record = await model.pipeline(name, is_fresh=True)
    if record is None:
        raise no_pipeline(name)
    if (refusal := _refusal(record, trigger)) is not None:
        raise refusal
    return await _send(app, name, trigger)


async def retry(
    app: web.Application, run: Run, *, triggered_by: TriggeredBy, key: str | None = None
) -> KnownRun | RunId:
    """A new run of the same bundle, variables and parameters."""
    # What was read may be behind by a moment: "not over" must be said by the record itself.
    if not run.is_over and not (await RunStore(app[app_keys.BUS]).load(run.ref)).run.is_over:
        raise RequestRefused(409, f"run {run.id} is not over yet; wait for its end, or cancel it first.")
    trigger = Trigger(triggered_by=triggered_by, key=key, run_config_id=run.order.run_config_id, retry_of=run.id)
    return await _send(app, run.pipeline, trigger)


async def cancel(app: web.Application, known: KnownRun) -> KnownRun | RunId:
    """The run as it was cancelled; its id alone if the command is stored and nobody acted on it in time."""
    if known.run.is_over:
        raise _already_over(known.run)
    cancelled = await app[TRIGGER_CLIENT].cancel(known)
    if cancelled.run.status is Status.INTERRUPTED or _is_stopping(cancelled.run):
        return cancelled
    if cancelled.run.is_over:
        raise _already_over(cancelled.run)
    return known.run.id


async def sync(app: web.Application) -> SyncReport:
    """Let a syncer sync now, and wait for what it found."""
    try:
        report = await app[app_keys.BUS].ask(subjects.SYNC, b"", timeout_s=SYNC_S)
    except Rejected as error:
        raise RequestRefused(503, "no syncer is connected; start one and try again.") from error
    except Unavailable as error:
        raise RequestRefused(504, "the sync is not done yet; GET /api/sync/status will show what it finds.") from error
    return SYNC_REPORT.decode(report)


def idempotency_key(request: web.Request, *names: str) -> str | None:
    """The first of these headers that is given. Raises ``RequestRefused`` for one that is too long or no text."""
    for name in names:
        if key := request.headers.get(name, "").strip():
            if len(key) > IDEMPOTENCY_KEY_CHARACTERS_MAX:
                raise RequestRefused(422, f"{name} may have at most {IDEMPOTENCY_KEY_CHARACTERS_MAX} characters.")
            if not key.isprintable():  # bytes that are no UTF-8 come as what no text holds
                raise RequestRefused(422, f"{name} must be printable text in UTF-8.")
            return key
    return None


async def _send(app: web.Application, name: PipelineName, trigger: Trigger) -> KnownRun | RunId:
    try:
        outcome = await app[TRIGGER_CLIENT].start(name, trigger)
    except TooLarge as error:
        raise RequestRefused(413, str(error)) from error
    if isinstance(outcome, Declined):
        headers = {"Retry-After": str(RETRY_AFTER_S)} if outcome.status == 429 else {}
        raise RequestRefused(outcome.status, outcome.reason, headers=headers)
    return outcome


def _refusal(record: PipelineRecord, trigger: Trigger) -> RequestRefused | None:
    """Why this cannot start, as far as the pipeline itself says."""
    if record.live is None:
        problems = "; ".join(map(str, record.problems[:3])) or "none was ever synced"
        return RequestRefused(409, f"{record.name} has no valid version: {problems}")
    if not record.live.spec.enabled:
        return RequestRefused(404, f'{record.name} is disabled; set "enabled": true in its metadata.')
    try:
        record.live.spec.run_config(trigger.run_config_id)
    except NoSuchRunConfig as error:
        return RequestRefused(422, str(error))
    return None


def _already_over(run: Run) -> RequestRefused:
    return RequestRefused(409, f"run {run.id} is already over: {run.status}.")


def _is_stopping(run: Run) -> bool:
    return isinstance(run.state, Running) and run.state.is_stopping
