"""What the commands ask of the bus: start a run, find runs, cancel one. I/O; what is printed is not decided here."""

from __future__ import annotations

import asyncio
import difflib
import uuid
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from datetime import datetime
from typing import NamedTuple

from msgspec.structs import replace
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from fastflow.errors import BadUsage, CliError, NotFound, Unreachable
from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.feed import feed
from fastflow_contracts.bus.streams import bucket_stream
from fastflow_contracts.bus.subjects import PIPELINES, RUNS, RunRef
from fastflow_contracts.clock import now as wall_clock
from fastflow_contracts.ids import BadRunId, RunId, check_run_id, run_id_for_key
from fastflow_contracts.names import BadName, PipelineName, check_name
from fastflow_contracts.pipelines.records import SYNC_STATUS, PipelineRecord
from fastflow_contracts.pipelines.store import PipelineStore
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.messages import REPLY_HEADER, TRIGGER_TYPE, Declined, Trigger
from fastflow_contracts.runs.presence import PRESENCE, PRESENCE_S, Presence
from fastflow_contracts.runs.run import RUN, Run, Running
from fastflow_contracts.runs.runners import presences
from fastflow_contracts.runs.state_machine import Cancel
from fastflow_contracts.runs.store import RunStore
from fastflow_contracts.runs.triggers import read_trigger
from fastflow_contracts.schedules.store import ScheduleStore
from fastflow_gateway.views.jobs import KnownJob as Known
from fastflow_gateway.views.jobs import known_jobs, listed

DECISION_S = 5.0
"""How long a scheduler may take to say what it makes of a trigger."""
DRAIN_S = 4 * PRESENCE_S
"""How long a runner may take to say that it leaves."""
PREFIX_CHARACTERS_MIN = 4
CANDIDATES_MAX = 5


class Accepted(NamedTuple):
    """The bus has the trigger. ``decided`` False: no scheduler has answered yet, the run will come."""

    run: RunRef
    decided: bool


class Refused(CliError):
    """The scheduler starts no run for this trigger."""

    def __init__(self, declined: Declined) -> None:
        super().__init__(declined.reason)
        self.exit_code = {404: NotFound.exit_code, 422: BadUsage.exit_code}.get(declined.status, CliError.exit_code)


async def start(bus: Bus, pipeline: PipelineName, trigger: Trigger) -> Accepted:
    """Start a run. Raises ``Refused``, and what the bus raises."""
    key = uuid.uuid4().hex
    return await _send(bus, RunRef(pipeline, run_id_for_key(pipeline, key)), replace(trigger, key=key))


async def publish(
    bus: Bus, pipeline: PipelineName, payload: bytes, *, key: str | None, media_type: str | None
) -> Accepted:
    """Publish what *payload* asks for, and wait for its run. The same *key* is the same run, however often it is sent.

    *key* None: a CloudEvent brings its own, anything else gets a fresh one. Raises ``BadTrigger``, ``Refused``, and
    what the bus raises.
    """
    trigger = read_trigger(payload, {"Content-Type": media_type} if media_type else {})
    # The key is the trigger's and not the message's: of two messages of one id the bus swallows the second, even if
    # what the first one asked for was refused.
    known_key = key or trigger.key
    own_key = known_key or uuid.uuid4().hex
    run = RunRef(pipeline, run_id_for_key(pipeline, own_key))
    if known_key is not None and await _is_recorded(bus, run):
        return Accepted(run, decided=True)
    return await _send(bus, run, replace(trigger, key=own_key))


async def runs(bus: Bus, pipeline: PipelineName | None = None) -> list[Run]:
    """Every run that is recorded, newest first."""
    keys = subjects.RUN_KEYS if pipeline is None else subjects.run_keys_of(pipeline)
    found = await RunStore(bus).records.items(keys)
    return sorted((record.value for record in found), key=lambda run: run.created_at, reverse=True)


async def running(bus: Bus, runner_id: str) -> list[Run]:
    """What this runner has begun and not ended, newest first."""
    return [run for run in await runs(bus) if isinstance(run.state, Running) and run.state.runner == runner_id]


async def find(bus: Bus, wanted: str) -> Run:
    """The run whose id is *wanted* or begins with it, or the newest run of the pipeline of that name.

    Raises ``NotFound``, also when several ids begin so.
    """
    store = RunStore(bus)
    try:
        return (await store.find(check_run_id(wanted))).run
    except BadRunId:
        pass
    try:
        if of_pipeline := await runs(bus, check_name(wanted)):
            return of_pipeline[0]
    except BadName:
        pass
    ids = await _ids_beginning(bus, wanted.lower()) if len(wanted) >= PREFIX_CHARACTERS_MIN else []
    if len(ids) == 1:
        return (await store.find(ids[0])).run
    if ids:
        raise NotFound(f"{wanted!r} begins {len(ids)} run ids: {', '.join(sorted(ids)[:CANDIDATES_MAX])}; type more.")
    names = [record.name for record in await pipelines(bus)]
    if wanted in names:
        raise NotFound(f"{wanted} has no runs yet; start one with `fastflow run {wanted}`.")
    raise NotFound(f"no run or pipeline {wanted!r}{_meant(wanted, names)}; `fastflow ps --all` lists the runs.")


async def changes(bus: Bus, ref: RunRef) -> AsyncGenerator[Run, None]:
    """The run as it is now, and each time it changed, until it is over."""
    subject = f"$KV.{RUNS}.{subjects.run_key(ref)}"
    async with aclosing(feed(bus, bucket_stream(RUNS), subject)) as batches:
        async for batch in batches:
            for message in batch.messages:
                run = RUN.decode(message.data)
                yield run
                if run.is_over:
                    return


async def cancel(bus: Bus, run: RunRef, reason: str) -> None:
    """Ask for the end of *run*; a scheduler sees to it."""
    await bus.publish(
        subjects.command(run), messages.CANCEL.encode(Cancel(reason=reason)), message_id=str(uuid.uuid4())
    )


async def runners(bus: Bus, *, now: datetime) -> list[Presence]:
    """The runners that are alive. Their age is judged by the bus's clock, as far as *now* agrees with it."""
    return [
        record.value
        for record in await presences(bus).items()
        if record.stored_at and not record.value.is_gone(silent_s=(now - record.stored_at).total_seconds())
    ]


async def drain(bus: Bus, runner_id: str) -> Presence:
    """Ask a runner to take no more work and to leave when it has none; return its presence once it says so.

    Raises ``NotFound`` if there is none of that name, ``Unreachable`` if it does not hear.
    """
    key = subjects.runner_key(runner_id)
    subject, stream = f"$KV.{subjects.RUNNERS}.{key}", bucket_stream(subjects.RUNNERS)
    known = {presence.runner: presence for presence in await runners(bus, now=wall_clock())}
    if runner_id not in known:
        raise NotFound(f"there is no runner {runner_id}; there are: {', '.join(sorted(known)) or 'none'}.")
    await bus.tell(subjects.drain(runner_id), b"")
    last = known[runner_id]
    try:
        async with asyncio.timeout(DRAIN_S), aclosing(feed(bus, stream, subject)) as batches:
            async for batch in batches:
                for message in batch.messages:
                    if not message.data:
                        return replace(last, leaving=True, busy=0)  # it had nothing to finish and has gone
                    if message.data and (last := PRESENCE.decode(message.data)).leaving:
                        return last
    except TimeoutError:
        raise Unreachable(f"runner {runner_id} does not answer; look at its log.") from None
    raise AssertionError("a feed has no end")


async def pipelines(bus: Bus) -> list[PipelineRecord]:
    """Every pipeline that is listed, by name."""
    return await PipelineStore(bus).listed()


async def refused(bus: Bus) -> list[str]:
    """What the last sync refused: pipelines with problems, and what is in a folder's place and cannot be one."""
    entry = await bus.get(PIPELINES, subjects.SYNC_STATUS_KEY)
    changes = SYNC_STATUS.decode(entry.value).last.changes if entry is not None else ()
    return [change.pipeline for change in changes if change.action == "refused"]


async def check_pipeline(bus: Bus, name: PipelineName) -> None:
    """Raise ``NotFound`` if none is listed under this name, with those that look like it."""
    names = [record.name for record in await pipelines(bus)]
    if name not in names:
        similar = _meant(name, names)
        raise NotFound(f"there is no pipeline {name}{similar or '.'} `fastflow pipelines` lists them.")


async def schedules(bus: Bus, records: Iterable[PipelineRecord]) -> list[Known]:
    """What starts runs of *records* by time, as schedulers and people left it."""
    store = ScheduleStore(bus)
    states = {record.name: record.value for record in await store.states.items()}
    switched_off = {record.name for record in await store.switches.items() if not record.value.enabled}
    return listed(known_jobs(records, states, switched_off), wall_clock())


async def _send(bus: Bus, run: RunRef, trigger: Trigger) -> Accepted:
    """Publish a trigger that asks for *run*, and wait for the scheduler's decision."""
    answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def on_answer(message: Msg) -> None:
        if not answer.done():
            answer.set_result(message.data)

    inbox = bus.client.new_inbox()
    subscription = await bus.client.subscribe(inbox, cb=on_answer)
    headers = {"Content-Type": TRIGGER_TYPE, REPLY_HEADER: inbox}
    try:
        await bus.publish(subjects.trigger(run.pipeline), messages.TRIGGER.encode(trigger), headers=headers)
        async with asyncio.timeout(DECISION_S):
            decision = messages.DECISION.decode(await answer)
    except TimeoutError:
        return Accepted(run, decided=await _is_recorded(bus, run))
    finally:
        await subscription.unsubscribe()
    if isinstance(decision, Declined):
        if decision.status == 404:  # it may be there and disabled
            await check_pipeline(bus, run.pipeline)
        raise Refused(decision)
    return Accepted(RunRef(run.pipeline, decision.run_id), decided=True)


async def _is_recorded(bus: Bus, run: RunRef) -> bool:
    return await bus.get(RUNS, subjects.run_key(run)) is not None


async def _ids_beginning(bus: Bus, prefix: str) -> list[RunId]:
    """Run ids that begin with *prefix*: the stream lists its subjects, no record is read."""
    try:
        info = await bus.js.stream_info(bucket_stream(RUNS), subjects_filter=f"$KV.{RUNS}.{subjects.RUN_KEYS}")
    except (NatsError, TimeoutError) as error:
        raise Unreachable("the bus did not list the runs; try again.") from error
    ids = (subject.rpartition(".")[2] for subject in info.state.subjects or {})
    return [RunId(run_id) for run_id in ids if run_id.startswith(prefix)]


def _meant(name: str, names: list[PipelineName]) -> str:
    similar = difflib.get_close_matches(name, names, n=3)
    return f"; did you mean {' or '.join(similar)}?" if similar else ""
