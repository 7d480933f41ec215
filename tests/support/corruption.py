"""Corrupt records: random bytes, JSON of wrong types, and records of every kind with one part replaced by nonsense."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final, NamedTuple, TypeVar

from msgspec.structs import replace

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.subjects import JobRef, RunRef, ServiceRef
from fastflow_contracts.codec import Codec, Malformed
from fastflow_contracts.ids import RunId
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.diagnostics import Notice, Problem
from fastflow_contracts.pipelines.format.spec import (
    CellRetry,
    CustomSchedule,
    DownstreamRule,
    ExponentialBackoff,
    FixedDelay,
    PipelineSpec,
    ScheduleEntry,
    WebhookSpec,
)
from fastflow_contracts.pipelines.links import LINK_SET, Link, LinkSet
from fastflow_contracts.pipelines.records import (
    PIPELINE,
    SYNC_STATUS,
    PipelineRecord,
    SyncReportRecord,
    SyncStatusRecord,
    Version,
)
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.cells import CHUNK as CELL_CHUNK
from fastflow_contracts.runs.cells import Began, CellChunk, Opened, Wrote
from fastflow_contracts.runs.limits import CHAIN_COUNT, LIMIT, ChainCount, LimitSet, Member
from fastflow_contracts.runs.logs import CHUNK, Chunk, Piece
from fastflow_contracts.runs.messages import HINT, SAMPLE, SKIP, AttemptSample, Hint, SkipRecord, Trigger
from fastflow_contracts.runs.operations.records import OPERATION, OperationRecord
from fastflow_contracts.runs.presence import PRESENCE
from fastflow_contracts.runs.run import (
    RUN,
    RUN_INPUT,
    Ended,
    ParentRun,
    RunErrorType,
    RunInput,
    RunLimits,
    Running,
    RunRecord,
    RunStatus,
    Verdict,
)
from fastflow_contracts.runs.state_machine import Cancel
from fastflow_contracts.schedules.state import SCHEDULE_STATE, SWITCH, ScheduleState, Switch, definition
from fastflow_contracts.service.troubles import TROUBLES, ServiceTroubles
from fastflow_contracts.sessions.spent import SPENT, SpentText
from tests.support.ids import fresh_run_id
from tests.support.records import T0, a_presence, a_run, an_attempt

T = TypeVar("T")

NONSENSE: Final[tuple[Any, ...]] = (
    *(None, True, -1, 0, 10**12, 10**30, -(2**63), 1e308, 0.5),
    *("", " ", "\0", "a" * 20_000, "x y.*.>", "../..", "=ZZ", "runner-0", "\ud7ff"),
    *(
        "9999-12-31T23:59:59.999999Z",
        "0001-01-01T00:00:00+14:00",
        "1000000000000-01-01T00:00:00Z",
        "1969-12-31T00:00:00Z",
    ),
    *([], {}, [[]], {"a": None}, [None] * 100),
)
TYPELESS: Final = (
    b"",
    b"null",
    b"[]",
    b"{}",
    b"5",
    b'"x"',
    b'{"v":1}',
    b"[" * 5_000,
    b'{"a":' * 5_000,
    b"\xff\xfe\x00",
)


class Corrupt(NamedTuple):
    """One message to write. ``bucket``: None if it is one of a stream that is no bucket."""

    bucket: str | None
    key: str
    """The key in the bucket, or the subject."""
    data: bytes


def fresh_dice() -> random.Random:
    """Return dice with a new seed, or with that of FASTFLOW_SEED. A test that fails shows it."""
    seed = int(os.environ.get("FASTFLOW_SEED") or random.randrange(10**9))
    print(f"FASTFLOW_SEED={seed}")
    return random.Random(seed)


def corrupt(dice: random.Random, count: int, victim: RunRef) -> Iterator[Corrupt]:
    """Yield *count* corrupt records for every bucket and stream that a service reads. *victim*: a good run."""
    for _ in range(count):
        for kind in _kinds(dice, victim):
            yield kind._replace(data=spoilt(dice, kind.data))


def _kinds(dice: random.Random, victim: RunRef) -> Iterator[Corrupt]:
    """A good record of every kind, sometimes under a key that names nothing."""
    pipeline = victim.pipeline
    run = in_any_state(dice)
    ref, job = run.ref, JobRef(pipeline, fresh_run_id())
    name = PipelineName(f"odd-{dice.randrange(10**9)}")
    odd = f"x.{dice.randrange(10**6)}.=ZZ"
    yield Corrupt(subjects.RUNS, _or(dice, subjects.run_key(ref), f"run.{odd}"), RUN.encode(run))
    for bucket in (subjects.INPUTS, subjects.RUNS):  # older versions kept inputs beside the runs
        yield Corrupt(bucket, _or(dice, subjects.input_key(ref), f"input.{odd}"), RUN_INPUT.encode(an_input()))
    members = (Member(pipeline=pipeline, run_id=fresh_run_id()),)
    for key in (subjects.ALL_RUNNING, subjects.instances_key(pipeline)):
        yield Corrupt(subjects.RUNS, key, LIMIT.encode(LimitSet(most=2, members=members)))
    yield Corrupt(subjects.RUNS, subjects.chain_key(fresh_run_id()), CHAIN_COUNT.encode(ChainCount(runs=3)))
    stored = a_full_pipeline(dice, name)
    record = PIPELINE.encode(stored)
    yield Corrupt(subjects.PIPELINES, _or(dice, subjects.pipeline_key(name), f"pipeline.=Z{name}"), record)
    yield Corrupt(subjects.PIPELINES, subjects.SYNC_STATUS_KEY, SYNC_STATUS.encode(_status()))
    runner = f"r{dice.randrange(10**9)}"
    yield Corrupt(
        subjects.RUNNERS,
        _or(dice, subjects.runner_key(runner), f"runner.a{runner}"),
        PRESENCE.encode(a_presence(runner)),
    )
    process = ServiceRef("scheduler", f"{dice.randrange(16**32):032x}")
    told = ServiceTroubles(service=process.service, id=process.id, host="h", parts=("scheduler/clock failed",), at=T0)
    yield Corrupt(subjects.RUNNERS, _or(dice, subjects.service_key(process), f"service.{odd}"), TROUBLES.encode(told))
    state = ScheduleState(definition="every 1 s", anchor=T0, done_until=T0, last_slot=T0)
    yield Corrupt(
        subjects.SCHEDULES, _or(dice, subjects.schedule_state_key(job), f"sched.{odd}"), SCHEDULE_STATE.encode(state)
    )
    yield from _states_of(stored)
    switch = SWITCH.encode(Switch(enabled=True, at=T0))
    yield Corrupt(subjects.SCHEDULES, _or(dice, subjects.schedule_switch_key(job), f"switch.{odd}"), switch)
    links = LINK_SET.encode(LinkSet(links=(Link(pipeline=name, on_failure=True, run_config_id="x", on_route="y"),)))
    yield Corrupt(subjects.LINKS, _or(dice, subjects.links_key(name), f"links.=Z{name}"), links)
    spent = SPENT.encode(SpentText(kind="session", at=T0))
    asked = OperationRecord(id=fresh_run_id(), kind="cancel", created_at=T0, triggered_by="api", total=1, ended_at=T0)
    yield Corrupt(
        subjects.OPERATIONS, _or(dice, subjects.operation_key(asked.id), f"operation.{odd}"), OPERATION.encode(asked)
    )
    yield Corrupt(subjects.SESSIONS, _or(dice, subjects.spent_key(fresh_run_id()), f"spent.{odd}"), spent)
    yield from _messages(dice, ref, victim)


def _messages(dice: random.Random, ref: RunRef, victim: RunRef) -> Iterator[Corrupt]:
    """Messages of the streams that are no buckets, and the notes of stored objects."""
    other = PipelineName(f"none-{dice.randrange(100)}")
    trigger = Trigger(key=fresh_run_id(), env_vars={"A": "b"}, parameters={"p": "1"}, run_config_id="x")
    for subject in (subjects.trigger(other), subjects.start(other)):
        yield Corrupt(None, subject, messages.TRIGGER.encode(trigger))
    yield Corrupt(None, subjects.command(ref), messages.CANCEL.encode(Cancel()))
    hint = Hint(pipeline=ref.pipeline, run_id=ref.run_id, attempt=1)
    yield Corrupt(None, subjects.work("script", ref, 1), HINT.encode(hint))
    chunk = Chunk(at=1.0, lines=(Piece(ms=0, stream=1, text="x\n"),), end=(2, 0))
    yield Corrupt(None, subjects.log(victim, 1), CHUNK.encode(chunk))
    events = (
        Opened(at=1.0, kernel="python", cells=1),
        Began(at=1.0, cell=0, attempt=1),
        Wrote(at=1.0, cell=0, stream="stdout", text="x"),
    )
    yield Corrupt(None, subjects.cell(victim, 1), CELL_CHUNK.encode(CellChunk(end=3, events=events)))
    sample = AttemptSample(ts=T0, cpu_cores=1.0, memory_bytes=1)
    yield Corrupt(None, subjects.metric(victim, 1), SAMPLE.encode(sample))
    skip = SkipRecord(id=fresh_run_id(), at=T0, pipeline=victim.pipeline, reason="because")
    yield Corrupt(None, subjects.skipped(victim.pipeline, skip.id or RunId("")), SKIP.encode(skip))
    yield Corrupt(None, subjects.dead_trigger(victim.pipeline, fresh_run_id()), b"{}")
    note = b'{"name":"x","bucket":"ff_bundles","nuid":"gone","size":10,"chunks":1,"digest":"SHA-256=x"}'
    yield Corrupt(None, subjects.object_note(subjects.BUNDLES, fresh_run_id()), note)


def in_any_state(dice: random.Random) -> RunRecord:
    """A run in any state. Not of the good pipeline: some are readable in the end, and count under its limit."""
    run = a_run(
        "other",
        retry_attempts=2,
        retry_strategy=dice.choice(STRATEGIES),
        parent_run_id=fresh_run_id(),
        scheduled_for=T0,
        limits=RunLimits(cpu_cores=1.0, memory_bytes=2**30, timeout_s=5.0, cpu_cores_soft=1.0, memory_bytes_soft=2**20),
        network=("db:5432",),
        kind=dice.choice(("script", "notebook")),
        triggered_by=dice.choice(("api", "schedule", "daemon_restart")),
        parameter_names=("p",),
        json_parameters=("p",),
        cells=(CellRetry(retries=1),),
        has_input=True,
    )
    running = Running(attempt=1, runner="gone", epoch=1, claimed_at=T0, prepared_at=T0)
    ended = Ended(verdict=Verdict.FAILED, at=T0)
    state = dice.choice((run.state, running, ended))
    attempts = (an_attempt(1, error=dice.choice((None, RunErrorType.OOM))),)
    return replace(run, state=state, attempts=attempts, epoch=1)


STRATEGIES: Final = (
    None,
    ExponentialBackoff(initial_delay=1, max_delay=9, multiplier=2),
    CustomSchedule(delays=(1.0, 2.0)),
    FixedDelay(delay=1),
)


def an_input() -> RunInput:
    return RunInput(
        env={"A": "1"},
        encrypted_env={"S": "x"},
        overrides={"p": "1"},
        event=b"body",
        event_headers={"a": "b"},
        parent=ParentRun(run_id=fresh_run_id(), pipeline=PipelineName("p"), status=RunStatus.FAILED, exit_code=1),
    )


def a_full_pipeline(dice: random.Random, name: PipelineName) -> PipelineRecord:
    """A pipeline that uses most of the format. It starts by an interval, by cron, or once."""
    timing: dict[str, Any] = dice.choice(
        (
            {"schedule_interval_seconds": 3600, "schedule_start": T0, "schedule_end": T0 + timedelta(days=999)},
            {"schedule_interval_seconds": 3600},
            {"schedule_cron": "0 9 * * mon-fri", "timezone": "Europe/Berlin"},
            {"run_once_at": T0},
            {"schedules": (ScheduleEntry(id="a", schedule_interval_seconds=7200, schedule_start=T0, timeout=5),)},
        )
    )
    spec = PipelineSpec(
        **timing,
        timeout=5,
        cpu_hard_limit=1,
        mem_hard_limit=2**30,
        max_instances=2,
        retry_attempts=1,
        retry_strategy=dice.choice(STRATEGIES),
        default_env={"A": "1"},
        accepts_env=("A*",),
        network=("db:5432",),
        cells=(CellRetry(retries=1),),
        restart_interval=dice.choice((None, 86_400, "0 3 * * *")),
        restart_on_crash=True,
        downstream_triggers=(DownstreamRule(pipeline=PipelineName("other")),),
        webhook_key="key",
        webhook=WebhookSpec(verify="github", secret="x"),
        tags=("t",),
    )
    return PipelineRecord(
        name=name,
        seen_at=T0,
        live=Version(bundle="b" * 64, commit="c" * 40, spec=spec, live_since=T0),
        problems=(Problem(field="timeout", accepted="a number", line=1, file="pipeline.json"),),
        notices=(Notice(field="x", text="is not used.", line=1, file="pipeline.json"),),
    )


def _states_of(record: PipelineRecord) -> Iterator[Corrupt]:
    """States that belong to the schedules of *record*, if that is readable."""
    spec = record.live.spec if record.live else PipelineSpec()
    for schedule in spec.schedule_list():
        state = ScheduleState(definition=definition(schedule), anchor=T0, done_until=T0, last_slot=T0)
        key = subjects.schedule_state_key(JobRef(record.name, schedule.id))
        yield Corrupt(subjects.SCHEDULES, key, SCHEDULE_STATE.encode(state))


def _status() -> SyncStatusRecord:
    report = SyncReportRecord(source="x", started_at=T0, finished_at=T0, ok=True)
    return SyncStatusRecord(last=report, live=report, history=(report,))


def odd(dice: random.Random, codec: Codec[T], value: T) -> T:
    """Return *value* with one part replaced by nonsense that decodes."""
    data = codec.encode(value)
    while True:
        with suppress(Malformed):
            return codec.decode(_with_nonsense(dice, data))


def reread(codec: Codec[T], value: T) -> T:
    """Return *value* as another service reads it. Raises ``Malformed``."""
    return codec.decode(codec.encode(value))


def _or(dice: random.Random, usual: str, odd: str) -> str:
    return odd if dice.random() < 0.1 else usual


def spoilt(dice: random.Random, data: bytes) -> bytes:
    """Return JSON *data* as random bytes, as JSON of another type, cut, or with one value replaced by nonsense."""
    match dice.randrange(8):
        case 0:
            return dice.randbytes(dice.randrange(1, 200))
        case 1:
            return dice.choice(TYPELESS)
        case 2:
            return data[: dice.randrange(len(data))]
        case _:
            return _with_nonsense(dice, data)


def _with_nonsense(dice: random.Random, data: bytes) -> bytes:
    tree = json.loads(data)
    _replace_one(dice, tree)
    return json.dumps(tree, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _replace_one(dice: random.Random, tree: Any) -> None:
    """Replace one value somewhere in *tree*, which is an object or a list."""
    places = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
    if not places:
        return
    place = dice.choice(places)
    if isinstance(tree[place], dict | list) and tree[place] and dice.random() < 0.8:
        _replace_one(dice, tree[place])
    else:
        tree[place] = dice.choice(NONSENSE)
