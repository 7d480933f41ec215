"""The scheduler on a real bus: how it handles triggers and commands."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import datetime

import pytest
import pytest_asyncio
from msgspec.structs import replace

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.errors import TooLarge
from fastflow_contracts.bus.feed import feed
from fastflow_contracts.bus.pull import Pull
from fastflow_contracts.bus.subjects import RunRef
from fastflow_contracts.ids import run_id_for_key
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.records import PIPELINE
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.messages import DECISION, HINT, REPLY_HEADER, Skipped, Started
from fastflow_contracts.runs.run import RUN, Running, RunRecord, RunStatus
from fastflow_contracts.runs.state_machine import Cancel, Claim
from fastflow_contracts.runs.store import RunStore
from fastflow_scheduler.app import serve
from fastflow_scheduler.settings import SchedulerSettings
from tests.support.records import T0, a_bundle, publish_pipeline
from tests.support.system import stored

DEMO = PipelineName("demo")


@pytest_asyncio.fixture
async def scheduler(bus_url: str, bus: Bus) -> AsyncIterator[None]:
    """Two schedulers on one bus, and one pipeline."""
    await publish_pipeline(
        bus, "demo", a_bundle(main_py="print(1)"), default_env={"A": "1", "B": "1"}, accepts_env=("day",)
    )
    stop, ready = asyncio.Event(), asyncio.Event()
    async with (
        connect(bus_url, name="s1") as first,
        connect(bus_url, name="s2") as second,
        asyncio.TaskGroup() as group,
    ):
        for one in (first, second):
            group.create_task(serve(SchedulerSettings(), one, stop, ready.set))
        await ready.wait()
        yield
        stop.set()


async def trigger(
    bus: Bus, payload: bytes, *, pipeline: str = "demo", subject: str = "ff.trigger", **headers: str
) -> Started | Skipped:
    """Publish as any NATS client can, and wait for the decision."""
    inbox = bus.client.new_inbox()
    answers = await bus.client.subscribe(inbox)
    wanted = {REPLY_HEADER: inbox} | {name.replace("_", "-"): value for name, value in headers.items()}
    await bus.publish(f"{subject}.{pipeline}", payload, headers=wanted)
    return DECISION.decode((await answers.next_msg(timeout=30)).data)


async def start(bus: Bus, wanted: messages.Trigger, *, pipeline: str = "demo") -> Started | Skipped:
    """Publish as a gateway does, and wait for the decision."""
    body = messages.TRIGGER.encode(wanted)
    return await trigger(bus, body, pipeline=pipeline, subject="ff.start", Content_Type=messages.TRIGGER_TYPE)


async def run_of(bus: Bus, decision: Started | Skipped) -> RunRecord:
    assert isinstance(decision, Started)
    return (await RunStore(bus).find(decision.run_id)).run


async def notices(bus: Bus, subject: str) -> list[messages.SkipRecord]:
    return [messages.SKIP.decode(kept.data) for kept in await stored(bus, streams.NOTICES, subject)]


async def test_an_empty_message_starts_a_run_and_hints_it(bus: Bus, scheduler: None) -> None:
    """`nats pub ff.trigger.demo ''` is enough."""
    run = await run_of(bus, await trigger(bus, b""))
    assert (run.pipeline, run.status, run.order.triggered_by) == ("demo", RunStatus.PENDING, "bus")
    async with Pull(bus, streams.WORK, "script") as work:
        (hint,) = await work.take(1)
    assert HINT.decode(hint.data).run_id == run.id


async def test_a_run_body_gives_variables_whose_values_are_not_in_the_record(bus: Bus, scheduler: None) -> None:
    """The record has their names; the input has the values, in their order of precedence."""
    body = {"env_vars": {"A": "given-value"}, "parameters": {"day": "monday"}}
    run = await run_of(bus, await trigger(bus, json.dumps(body).encode()))
    assert (run.order.env_names, run.order.parameter_names) == (("A",), ("day",))
    entry = await bus.get(subjects.RUNS, subjects.run_key(run.ref))
    assert entry is not None
    assert b"given-value" not in entry.value
    given = await RunStore(bus).input(run)
    assert given.env == {"A": "1", "B": "1"}
    assert given.overrides == {"A": "given-value", "day": "monday"}


async def test_any_other_payload_is_the_event(bus: Bus, scheduler: None) -> None:
    """The bytes are passed on unchanged."""
    run = await run_of(bus, await trigger(bus, b"\x00not json"))
    assert (await RunStore(bus).input(run)).event == b"\x00not json"


async def test_a_hundred_repeats_of_one_message_id_are_one_run(bus: Bus, scheduler: None) -> None:
    """The run's id is derived from the message id, so the bus may forget the message."""
    expected = run_id_for_key(DEMO, "order-7")
    first = await trigger(bus, b"", Nats_Msg_Id="order-7")
    assert first == Started(run_id=expected)
    await asyncio.gather(
        *(bus.publish("ff.trigger.demo", b"", headers={"Content-Type": "x"}, message_id=None) for _ in range(3))
    )
    own = messages.TRIGGER.encode(messages.Trigger(key="order-7"))
    answers = await asyncio.gather(*(trigger(bus, own, Content_Type=messages.TRIGGER_TYPE) for _ in range(100)))
    assert set(map(str, answers)) == {str(first)}


async def test_a_cloud_event_is_identified_by_source_and_id(bus: Bus, scheduler: None) -> None:
    """Structured and binary mode of the same event are the same run."""
    structured = {"specversion": "1.0", "id": "e1", "source": "/s", "type": "t", "data": {}}
    one = await trigger(bus, json.dumps(structured).encode(), Content_Type="application/cloudevents+json")
    two = await trigger(bus, b"{}", ce_specversion="1.0", ce_id="e1", ce_source="/s", ce_type="t")
    assert one == two


async def test_a_trigger_for_an_unknown_pipeline_becomes_a_dead_letter(bus: Bus, scheduler: None) -> None:
    """The response has the reason, and the dead letter keeps the trigger readable."""
    answer = await trigger(bus, b"payload", pipeline="nosuch")
    assert isinstance(answer, Skipped)
    assert answer.status == 404
    (dead,) = await stored(bus, streams.NOTICES, "ff.dead.trigger.nosuch.*")
    assert dead.data == b"payload"
    assert "no pipeline nosuch" in dead.headers["Ff-Reason"]
    (skip,) = await notices(bus, "ff.skipped.nosuch.*")
    assert (skip.pipeline, skip.reason) == ("nosuch", answer.reason)


async def test_a_repeated_trigger_returns_its_run_after_its_pipeline_is_gone(bus: Bus, scheduler: None) -> None:
    """The run was started and stays."""
    first = await trigger(bus, b"", ce_specversion="1.0", ce_id="e1", ce_source="/s", ce_type="t")
    record = await publish_pipeline(bus, "demo", a_bundle(main_py="print(1)"))
    gone = PIPELINE.encode(replace(record, removed_at=T0))
    await bus.put(subjects.PIPELINES, subjects.pipeline_key(record.name), gone)
    again = await trigger(bus, b"", ce_specversion="1.0", ce_id="e1", ce_source="/s", ce_type="t")
    assert isinstance(first, Started)
    assert again == first
    assert await stored(bus, streams.NOTICES, "ff.>") == []


async def test_a_run_body_with_a_wrong_value_becomes_a_dead_letter(bus: Bus, scheduler: None) -> None:
    """The reason names the field without its value, which only the dead letter has."""
    answer = await trigger(bus, b'{"env_vars": {"A": 1}}')
    assert isinstance(answer, Skipped)
    assert answer.status == 422
    (dead,) = await stored(bus, streams.NOTICES, "ff.dead.>")
    (shown,) = await notices(bus, "ff.skipped.demo.*")
    assert "env_vars.A must be a string" in shown.reason
    assert (shown.reason, shown.pipeline) == (answer.reason, "demo")
    assert dead.data == b'{"env_vars": {"A": 1}}'


@pytest.mark.parametrize(
    ("payload", "media_type"),
    [
        (b'{"env_vars": {"A": "\\ud800"}}', ""),
        (b'{"env_vars": {"\\ud800": 1}}', ""),
        (b'{"run_config_id": "\\ud800"}', ""),
        (b'{"id": "\\ud800", "source": "/s"}', "application/cloudevents+json"),
        (b'{"retry_of": "*"}', messages.TRIGGER_TYPE),
    ],
)
async def test_a_trigger_that_is_not_text_becomes_a_dead_letter(
    bus: Bus, scheduler: None, payload: bytes, media_type: str
) -> None:
    """Half a character has no UTF-8 form and cannot be stored; a wildcard is not a run. Other triggers continue."""
    answer = await trigger(bus, payload, Content_Type=media_type)
    assert isinstance(answer, Skipped)
    assert answer.status == 422
    (dead,) = await stored(bus, streams.NOTICES, "ff.dead.>")
    assert dead.data == payload
    assert isinstance(await trigger(bus, b""), Started)


async def test_the_largest_trigger_is_kept_whole(bus: Bus, scheduler: None) -> None:
    """Its dead letter has more headers and must fit into a message. The bus refuses a larger trigger."""
    payload = b"x" * (streams.TRIGGER_BYTES_MAX - 1_000)
    answer = await trigger(bus, payload)
    assert isinstance(answer, Skipped)
    (dead,) = await stored(bus, streams.NOTICES, "ff.dead.>")
    assert dead.data == payload
    with pytest.raises(TooLarge):
        await bus.publish("ff.trigger.demo", payload + b"x" * 1_001)


@pytest.mark.parametrize("limits", [{}, {"max_instances": 9}])
async def test_a_trigger_too_large_to_store_with_its_run_becomes_a_dead_letter_at_once(
    bus: Bus, scheduler: None, limits: dict[str, int]
) -> None:
    """It fits into a message, but not together with its pipeline's variables. Trying again would not help."""
    await publish_pipeline(
        bus,
        "large",
        a_bundle(main_py="1"),
        default_env={f"D{n}": "d" * 32_000 for n in range(7)},
        **limits,
        accepts_env=("*",),
    )
    given = {field: {f"{field}_{n}": "🙂" * 16_000 for n in range(32)} for field in ("env_vars", "parameters")}
    body = json.dumps(given, ensure_ascii=False).encode()
    answer = await trigger(bus, body, pipeline="large")
    assert isinstance(answer, Skipped)
    assert answer.status == 413
    assert "give less with the trigger" in answer.reason
    (dead,) = await stored(bus, streams.NOTICES, "ff.dead.>")
    (shown,) = await notices(bus, "ff.skipped.large.*")
    assert dead.data == body
    assert shown.reason == answer.reason
    waiting = await bus.js.consumer_info(streams.TRIGGERS, streams.SCHEDULER)
    assert (waiting.num_pending, waiting.num_redelivered) == (0, 0)


async def test_a_pipeline_whose_record_cannot_be_read_stops_no_other(bus: Bus, scheduler: None) -> None:
    """A newer service may have written it. Its triggers wait; everything else continues."""
    await bus.put(subjects.PIPELINES, subjects.pipeline_key(PipelineName("new")), b'{"v": 2}')
    await bus.publish("ff.trigger.new", b"")
    assert isinstance(await trigger(bus, b""), Started)
    waiting = await bus.js.consumer_info(streams.TRIGGERS, streams.SCHEDULER)
    assert waiting.num_ack_pending == 1


async def test_a_run_is_repeated_under_its_own_pipeline_only(bus: Bus, scheduler: None) -> None:
    """A permission to start one pipeline must not start another by naming its run."""
    run = await run_of(bus, await trigger(bus, b""))
    await publish_pipeline(bus, "other", a_bundle(main_py="1"))
    answer = await start(bus, messages.Trigger(retry_of=run.id), pipeline="other")
    assert isinstance(answer, Skipped)
    assert answer.status == 404


async def test_a_start_of_a_disabled_pipeline_is_a_skip(bus: Bus, scheduler: None) -> None:
    """HTTP returns 404; the skip is kept for senders that do not wait for a response."""
    await publish_pipeline(bus, "off", a_bundle(main_py="1"), enabled=False)
    answer = await trigger(bus, b"", pipeline="off")
    assert isinstance(answer, Skipped)
    assert answer.status == 404
    (skip,) = await notices(bus, "ff.skipped.off.*")
    assert "disabled" in skip.reason


async def test_max_instances_is_exact_under_fifty_triggers_at_once(bus: Bus, scheduler: None) -> None:
    """Two schedulers decide at the same time: three runs start, and every other trigger gets the reason."""
    await publish_pipeline(bus, "few", a_bundle(main_py="1"), max_instances=3)
    answers = await asyncio.gather(*(trigger(bus, b"", pipeline="few") for _ in range(50)))
    started = [answer for answer in answers if isinstance(answer, Started)]
    assert len({answer.run_id for answer in started}) == len(started) == 3
    assert {answer.status for answer in answers if isinstance(answer, Skipped)} == {429}
    assert len(await notices(bus, "ff.skipped.few.*")) == 47


async def test_room_under_max_instances_is_free_again_when_a_run_is_over(bus: Bus, scheduler: None) -> None:
    """No service has to give the place back."""
    await publish_pipeline(bus, "one", a_bundle(main_py="1"), max_instances=1)
    run = await run_of(bus, await trigger(bus, b"", pipeline="one"))
    assert isinstance(await trigger(bus, b"", pipeline="one"), Skipped)
    over = asyncio.create_task(ended(bus, run))
    await bus.publish(subjects.command(run.ref), messages.CANCEL.encode(Cancel()))
    await over
    assert isinstance(await trigger(bus, b"", pipeline="one"), Started)


async def test_runs_that_are_active_when_a_limit_is_introduced_count_under_it(bus: Bus, scheduler: None) -> None:
    """The set of active runs is built from the records if it is missing."""
    await trigger(bus, b"")
    await publish_pipeline(bus, "demo", a_bundle(main_py="print(1)"), max_instances=1)
    assert isinstance(await trigger(bus, b""), Skipped)


async def test_a_pending_run_is_cancelled_by_a_command(bus: Bus, scheduler: None) -> None:
    """Without a runner."""
    run = await run_of(bus, await trigger(bus, b""))
    over = asyncio.create_task(ended(bus, run))
    await bus.publish(subjects.command(run.ref), messages.CANCEL.encode(Cancel()))
    assert (await over).status is RunStatus.INTERRUPTED


async def test_cancelling_a_running_run_marks_it_for_its_runner(bus: Bus, scheduler: None) -> None:
    """The record says that the runner must stop it."""
    run = await run_of(bus, await trigger(bus, b""))
    await RunStore(bus).change(run.ref, Claim(attempt=1, runner="r"))

    def is_marked(record: RunRecord) -> bool:
        return isinstance(record.state, Running) and record.state.cancel_requested_at is not None

    marked = asyncio.create_task(seen(bus, run.ref, is_marked))
    await bus.publish(subjects.command(run.ref), messages.CANCEL.encode(Cancel()))
    await marked


async def test_a_finished_run_can_be_started_once_more_with_its_own_input(bus: Bus, scheduler: None) -> None:
    """Same bundle, same variables; a new run that names the first."""
    run = await run_of(bus, await trigger(bus, b'{"parameters": {"day": "monday"}}'))
    again = messages.Trigger(triggered_by="manual", retry_of=run.id)
    refused = await start(bus, again)
    assert isinstance(refused, Skipped)
    assert refused.status == 409
    over = asyncio.create_task(ended(bus, run))
    await bus.publish(subjects.command(run.ref), messages.CANCEL.encode(Cancel()))
    await over
    new = await run_of(bus, await start(bus, again))
    assert (new.order.parent_run_id, new.order.bundle) == (run.id, run.order.bundle)
    assert (await RunStore(bus).input(new)).overrides == {"day": "monday"}


@pytest.mark.parametrize(
    ("spec", "removed_at", "reason"),
    [({}, T0, "there is no pipeline demo"), ({"enabled": False}, None, "demo is disabled")],
)
async def test_a_run_of_a_pipeline_that_may_not_start_is_not_started_once_more(
    bus: Bus, scheduler: None, spec: dict[str, bool], removed_at: datetime | None, reason: str
) -> None:
    """Its code still exists, but its pipeline is removed or disabled."""
    run = await run_of(bus, await trigger(bus, b""))
    over = asyncio.create_task(ended(bus, run))
    await bus.publish(subjects.command(run.ref), messages.CANCEL.encode(Cancel()))
    await over
    record = await publish_pipeline(bus, "demo", a_bundle(main_py="print(1)"), **spec)
    gone = PIPELINE.encode(replace(record, removed_at=removed_at))
    await bus.put(subjects.PIPELINES, subjects.pipeline_key(record.name), gone)
    answer = await start(bus, messages.Trigger(retry_of=run.id))
    assert isinstance(answer, Skipped)
    assert answer.status == 404
    assert reason in answer.reason
    (kept,) = await notices(bus, "ff.skipped.>")
    assert kept.reason == answer.reason


async def seen(bus: Bus, ref: RunRef, wanted: object) -> RunRecord:
    """Return the run once *wanted* holds for its record."""
    assert callable(wanted)
    subject = f"$KV.ff_runs.{subjects.run_key(ref)}"
    async with asyncio.timeout(10), aclosing(feed(bus, streams.bucket_stream("ff_runs"), subject)) as changes:
        async for batch in changes:
            for message in batch.messages:
                run = RUN.decode(message.data)
                if wanted(run):
                    return run
    raise AssertionError


async def ended(bus: Bus, run: RunRecord) -> RunRecord:
    return await seen(bus, run.ref, lambda r: r.is_over)
