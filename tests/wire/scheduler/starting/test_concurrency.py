"""``concurrency`` of pipelines and schedules on a real bus: keys, refusals, and what a start without a key says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping

import pytest
import pytest_asyncio

from fastflow_contracts.bus import streams
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.pull import Pull
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.concurrency import ConcurrencySpec
from fastflow_contracts.pipelines.format.spec import ScheduleEntry
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.messages import DECISION, HINT, REPLY_HEADER, Decision, Skipped, Started, Trigger
from fastflow_contracts.runs.run import Turn
from fastflow_contracts.runs.store import RunStore
from tests.support.gateway import claim, finish, running_scheduler
from tests.support.records import a_bundle, publish_pipeline

SHOP = PipelineName("shop")


@pytest_asyncio.fixture
async def scheduler(bus: Bus) -> AsyncIterator[None]:
    async with running_scheduler(bus):
        yield


async def publish(bus: Bus, concurrency: ConcurrencySpec | None, **fields: object) -> None:
    await publish_pipeline(bus, SHOP, a_bundle(main_py="1"), concurrency=concurrency, **fields)


async def start(bus: Bus, payload: bytes, headers: Mapping[str, str] | None = None) -> Decision:
    inbox = bus.client.new_inbox()
    answers = await bus.client.subscribe(inbox)
    await bus.publish("ff.trigger.shop", payload, headers={REPLY_HEADER: inbox, **(headers or {})})
    return DECISION.decode((await answers.next_msg(timeout=60)).data)


async def turn_of(bus: Bus, decision: Decision) -> Turn:
    assert isinstance(decision, Started), decision
    turn = (await RunStore(bus).find(decision.run_id)).run.order.turn
    assert turn is not None
    return turn


async def end(bus: Bus, decision: Decision) -> None:
    assert isinstance(decision, Started)
    await finish(bus, await claim(bus, (await RunStore(bus).find(decision.run_id)).run))


async def next_hint(bus: Bus) -> str:
    async with Pull(bus, streams.WORK, "script") as work, asyncio.timeout(60):
        (message,) = await work.take(1)
        await message.ack_soon()
        return HINT.decode(message.data).run_id


async def test_equal_keys_share_a_limit_and_others_do_not(bus: Bus, scheduler: None) -> None:
    """A key has a type, and the hostile ones are keys as any other."""
    await publish(bus, ConcurrencySpec(limit=3, key="event.k"))
    keys = ["acme", "Acme", "1", 1, True, "true", "", " ", "a.b.>", "*", "ü☃\u0000", "x" * 100_000, -(2**63), 1.5]
    turns = [await turn_of(bus, await start(bus, json.dumps({"k": key, "n": 0}).encode())) for key in keys]
    again = [await turn_of(bus, await start(bus, json.dumps({"k": key, "n": 1}).encode())) for key in keys]
    assert len({turn.token for turn in turns}) == len(keys)
    assert turns == again
    assert turns[0] == Turn(limit=3, token=turns[0].token, key="acme", on_limit="queue")
    assert all(len(turn.key) <= 64 and turn.key.isprintable() for turn in turns)
    assert (await turn_of(bus, await start(bus, b'{"k": 1.0}'))).token == turns[3].token


async def test_the_next_run_gets_its_hint_when_the_one_before_has_ended(bus: Bus, scheduler: None) -> None:
    await publish(bus, ConcurrencySpec(key="event.k"))
    first, second, third = [await start(bus, json.dumps({"k": "a", "n": n}).encode()) for n in range(3)]
    other = await start(bus, b'{"k": "b"}')
    assert isinstance(first, Started)
    assert isinstance(second, Started)
    assert isinstance(other, Started)
    assert {await next_hint(bus), await next_hint(bus)} == {first.run_id, other.run_id}
    await end(bus, first)
    assert await next_hint(bus) == second.run_id
    await end(bus, second)
    assert isinstance(third, Started)
    assert await next_hint(bus) == third.run_id


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b'{"x": 1}', "there is no field 'k'"),
        (b"", "does not fit"),
        (b"not json", "does not fit"),
        (b"\xff\xfe", "does not fit"),
        (b'{"k": {"a": 1}}', "it gives an object"),
        (b'{"k": null}', "it gives null"),
        (b"[" * 100_000, "does not fit"),
    ],
)
async def test_a_start_without_a_key_is_a_skip_that_names_the_expression(
    bus: Bus, scheduler: None, payload: bytes, reason: str
) -> None:
    await publish(bus, ConcurrencySpec(key="event.k"))
    decision = await start(bus, payload)
    assert isinstance(decision, Skipped)
    assert decision.status == 422
    assert "concurrency.key: the expression 'event.k' has no value here" in decision.reason
    assert reason in decision.reason
    await turn_of(bus, await start(bus, b'{"k": "the scheduler goes on"}'))


async def test_a_limit_that_rejects_counts_waiting_runs_and_lets_ended_ones_go(bus: Bus, scheduler: None) -> None:
    await publish(bus, ConcurrencySpec(limit=1, key="event.k", on_limit="reject"))
    first = await start(bus, b'{"k": "a", "n": 1}')
    await turn_of(bus, await start(bus, b'{"k": "b"}'))
    refused = await start(bus, b'{"k": "a", "n": 2}')
    assert refused == Skipped(
        status=429, reason="concurrency: 1 run(s) of shop with the key 'a' are pending or running already."
    )
    await publish(bus, ConcurrencySpec(limit=1, key="event.k", on_limit="reject"), description="a new version")
    assert isinstance(await start(bus, b'{"k": "a", "n": 3}'), Skipped)
    await end(bus, first)
    await turn_of(bus, await start(bus, b'{"k": "a", "n": 4}'))


async def test_a_schedules_own_limit_counts_its_runs_only(bus: Bus, scheduler: None) -> None:
    own = ScheduleEntry(id="own", concurrency=ConcurrencySpec(limit=2))
    await publish(bus, ConcurrencySpec(limit=5), schedules=(own, ScheduleEntry(id="plain")))

    async def turn(config: str | None) -> Turn:
        body = messages.TRIGGER.encode(Trigger(run_config_id=config))
        return await turn_of(bus, await start(bus, body, {"Content-Type": messages.TRIGGER_TYPE}))

    pipeline, plain, special = await turn(None), await turn("plain"), await turn("own")
    assert pipeline == plain
    assert special.limit == 2
    assert special.token != pipeline.token


async def test_a_key_from_variables_parameters_and_headers(bus: Bus, scheduler: None) -> None:
    key = 'env.REGION + "/" + string(parameters.n) + "/" + pipeline.name + "/" + headers["x-github-event"]'
    await publish(bus, ConcurrencySpec(key=key), default_env={"REGION": "eu"}, accepts_env=("n",))
    trigger = Trigger(
        parameters={"n": "7"}, json_parameters=("n",), event=b"{}", event_headers={"x-github-event": "push"}
    )
    headers = {"Content-Type": messages.TRIGGER_TYPE}
    turn = await turn_of(bus, await start(bus, messages.TRIGGER.encode(trigger), headers))
    assert turn.key == "eu/7/shop/push"


async def test_a_key_sees_the_defaults_of_parameters(bus: Bus, scheduler: None) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "default": 7}}}
    await publish(bus, ConcurrencySpec(key="parameters.n + 1"), parameters=schema)
    assert (await turn_of(bus, await start(bus, b""))).key == "8"
