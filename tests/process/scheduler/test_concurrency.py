"""Three schedulers share limits on concurrent runs, and are killed again and again: the limits hold, nothing waits."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from functools import partial
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Literal, TypeAlias

import aiohttp
import pytest
import pytest_asyncio

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.feed import feed
from fastflow_contracts.bus.pull import Pull
from fastflow_contracts.bus.subjects import RunRef
from fastflow_contracts.clock import now
from fastflow_contracts.ids import RunId
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.concurrency import ConcurrencySpec
from fastflow_contracts.runs.concurrency import Full, limit_sets, turn_limit
from fastflow_contracts.runs.messages import HINT
from fastflow_contracts.runs.run import REPLACED, RUN, Ended, Pending, Running, RunRecord, RunStatus
from fastflow_contracts.runs.state_machine import AttemptOutcome, Claim, Finish, Prepare
from fastflow_contracts.runs.store import NoSuchRun, RunStore
from tests.support.gateway_process import GatewayProcess, running_gateway_process
from tests.support.processes import BusServer, Service
from tests.support.records import a_bundle, publish_pipeline

NAME = PipelineName("shop")
HOOK = "/api/webhooks/shop/key"
KEYS = ("acme", "ünïcode ☃", "a.b > *", "x" * 5_000, " ")
AT_ONCE = 50
KILLS = 3
"""Kills that hit while starts are under way, in each test."""
LIMIT = 2
WITHIN_S = 300.0
WORKERS = 8


Starting: TypeAlias = Callable[[int, str], Awaitable[None]]
"""Starts the run of a number, for a key."""


class ThreeSchedulers:
    """A bus, three schedulers, and what claims and finishes their runs as runners do."""

    def __init__(self, bus: Bus, schedulers: Sequence[Service]) -> None:
        self.bus = bus
        self.schedulers = schedulers
        self.runs = RunStore(bus)
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.sent = 0
        self.answering = 0
        """Starts that a gateway has not answered yet."""

    async def work(self) -> None:
        """Take hints, and carry out their runs at once."""
        async with asyncio.TaskGroup() as group, Pull(self.bus, streams.WORK, "script") as work:
            while True:
                for message in await work.take(WORKERS):
                    hint = HINT.decode(message.data)
                    group.create_task(self._carry_out(RunRef(hint.pipeline, hint.run_id), hint.attempt))
                    await message.ack_soon()

    async def _carry_out(self, ref: RunRef, attempt: int) -> None:
        try:
            known = await self.runs.load(ref)
            limit = turn_limit(known.run)
            assert limit is not None
            changed = await self.runs.change(ref, Claim(attempt=attempt, runner="r"), known=known, limits=[limit])
        except (Full, NoSuchRun):
            return
        if not changed.events:
            return
        epoch = changed.run.epoch
        await self.runs.change(ref, Prepare(epoch=epoch))
        await asyncio.sleep(0.02)
        stopped = False
        while not (self.may_end.is_set() or stopped):
            state = (await self.runs.load(ref)).run.state
            stopped = isinstance(state, Running) and state.is_stopping
            await asyncio.sleep(0.02)
        outcome = AttemptOutcome(finished_at=now(), exit_code=0, stopped=stopped)
        await self.runs.change(ref, Finish(epoch=epoch, outcome=outcome))

    async def kill_among_starts(self, services: Sequence[Service], random: Random, *, by_gateway: bool = False) -> int:
        """Kill one service after the other while starts are under way, and start it again.

        Returns after ``KILLS`` kills after which there still were starts that no scheduler had carried out, or, with
        *by_gateway*, that no gateway had answered. All services ran when one of them was killed.
        """
        hits = 0
        while hits < KILLS:
            while not await self.under_way(by_gateway=by_gateway):
                await asyncio.sleep(0)
            victim = random.choice(services)
            victim.die()
            hits += await self.under_way(by_gateway=by_gateway)
            await victim.ended()
            await asyncio.sleep(random.uniform(0.1, 0.5))
            await victim.start()
        return hits

    async def under_way(self, *, by_gateway: bool = False) -> bool:
        """Whether starts were sent that are not carried out."""
        if by_gateway:
            return self.answering > 0
        return (await self.bus.js.stream_info(streams.TRIGGERS)).state.messages > 0

    async def burst_until(self, kills: Sequence[asyncio.Task[int]], start: Starting, keys: Sequence[str] = KEYS) -> int:
        """Send ``AT_ONCE`` starts at once, again until all *kills* are done; return the number of all starts so far."""
        async with asyncio.timeout(WITHIN_S):
            while not self.sent or not all(task.done() for task in kills):
                numbers = range(self.sent, self.sent + AT_ONCE)
                self.sent += AT_ONCE
                await asyncio.gather(*(start(number, keys[number % len(keys)]) for number in numbers))
                while await self.under_way():
                    await asyncio.sleep(0.05)
        assert [task.result() for task in kills] == [KILLS] * len(kills)
        return self.sent

    async def trigger(self, number: int, key: str) -> None:
        await self.bus.publish("ff.trigger.shop", json.dumps({"customer": key}).encode(), message_id=f"m{number}")

    async def start_by(self, gateways: Sequence[GatewayProcess], number: int, key: str) -> None:
        """Start a run as a sender of webhooks: by the next gateway, until one says that it has the start."""
        headers = {"Idempotency-Key": f"m{number}"}
        self.answering += 1
        try:
            async with asyncio.timeout(WITHIN_S):
                for gateway in cycle([*gateways[number % 3 :], *gateways[: number % 3]]):
                    with suppress(aiohttp.ClientError):
                        answer = await gateway.post(HOOK, json={"customer": key}, headers=headers)
                        if answer.status in (200, 202):
                            return
                        assert answer.status >= 500, answer.text
                    await asyncio.sleep(0.1)
        finally:
            self.answering -= 1

    async def until(self, count: int, *, over: bool) -> list[RunRecord]:
        """Return all runs when there are *count*, or when so many are over."""
        known: dict[RunId, RunRecord] = {}
        async with asyncio.timeout(WITHIN_S), aclosing(self.runs.records.follow()) as batches:
            async for batch in batches:
                known |= {change.value.id: change.value for change in batch.changes if change.value is not None}
                if sum(run.is_over or not over for run in known.values()) >= count:
                    break
        return sorted(known.values(), key=lambda run: (run.created_at, run.id))

    async def history(self) -> list[RunRecord]:
        """Every version of every record, in the order of the bus."""
        found: list[RunRecord] = []
        subject = f"$KV.{subjects.RUNS}.{subjects.run_keys_of(NAME)}"
        async with aclosing(feed(self.bus, streams.bucket_stream(subjects.RUNS), subject, after=0)) as changes:
            async for batch in changes:
                found += [RUN.decode(message.data) for message in batch.messages]
                if batch.caught_up:
                    return found
        raise AssertionError


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[tuple[BusServer, str]]:
    server = BusServer(tmp_path / "bus")
    url = await server.start()
    try:
        async with connect(url, name="setup") as admin:
            await streams.ensure(admin.js)
        yield server, url
    finally:
        await server.end()


@asynccontextmanager
async def three_gateways(server: tuple[BusServer, str]) -> AsyncIterator[list[GatewayProcess]]:
    bus_server, url = server
    environ = {
        "FASTFLOW_NATS_CREDENTIALS": bus_server.credentials("gateway"),
        "FASTFLOW_WEBHOOK_CALLS_PER_MINUTE": "100000",
    }
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(running_gateway_process(url, **environ)) for _ in range(3)]


@asynccontextmanager
async def installation(
    server: tuple[BusServer, str], on_limit: Literal["queue", "reject", "replace"]
) -> AsyncIterator[ThreeSchedulers]:
    bus_server, url = server
    environ = {"FASTFLOW_NATS_URL": url, "FASTFLOW_NATS_CREDENTIALS": bus_server.credentials("scheduler")}
    schedulers = [Service("scheduler", environ) for _ in range(3)]
    async with connect(url, name="test") as bus:
        limit = 1 if on_limit == "replace" else LIMIT
        spec = ConcurrencySpec(limit=limit, key="event.customer", on_limit=on_limit)
        await publish_pipeline(bus, "shop", a_bundle(main_py="1"), concurrency=spec, webhook_key="key")
        try:
            for scheduler in schedulers:
                await scheduler.start()
            made = ThreeSchedulers(bus, schedulers)
            working = asyncio.create_task(made.work())
            yield made
            working.cancel()
            with suppress(asyncio.CancelledError):
                await working
        finally:
            for scheduler in schedulers:
                await scheduler.remove()


def most_running(history: list[RunRecord]) -> int:
    """Return the most runs of one key that ran after any write."""
    running: defaultdict[str, set[RunId]] = defaultdict(set)
    most = 0
    for run in history:
        assert run.order.turn is not None
        group = running[run.order.turn.token]
        (group.add if isinstance(run.state, Running) else group.discard)(run.id)
        most = max(most, len(group))
    return most


def begun(history: list[RunRecord]) -> list[RunId]:
    """Return the runs in the order in which they were claimed."""
    return list(dict.fromkeys(run.id for run in history if isinstance(run.state, Running)))


@pytest.mark.slow
async def test_fifty_starts_at_once_queue_by_key_while_schedulers_are_killed(server: tuple[BusServer, str]) -> None:
    async with installation(server, "queue") as three:
        three.may_end.clear()
        for number in range(LIMIT * len(KEYS)):  # each key is taken, so that what follows has to wait
            await three.trigger(number, KEYS[number % len(KEYS)])
        three.sent = LIMIT * len(KEYS)
        first = await three.until(three.sent, over=False)
        async with asyncio.TaskGroup() as group:
            killing = group.create_task(three.kill_among_starts(three.schedulers, Random(1)))
            total = await three.burst_until([killing], three.trigger)
        await three.until(total, over=False)
        three.may_end.set()
        runs = await three.until(total, over=True)
        history = await three.history()
        assert {run.status for run in runs} == {RunStatus.SUCCESS}
        assert len(runs) == total
        assert len({run.order.turn.token for run in runs if run.order.turn}) == len(KEYS)
        assert most_running(history) == LIMIT
        later = [run for run in runs if run.id not in {each.id for each in first}]
        order = begun(history)
        for token in {run.order.turn.token for run in later if run.order.turn}:
            waited = [run.id for run in later if run.order.turn and run.order.turn.token == token]
            for place, run_id in enumerate(sorted(waited, key=order.index)):
                # Those whose turn it is at once are claimed in any order.
                assert abs(waited.index(run_id) - place) < LIMIT
        for run in runs:  # the sets of keys go with their last runs
            await three.runs.remove(await three.runs.load(run.ref))
        assert await limit_sets(three.bus).items(subjects.LIMIT_KEYS) == []


@pytest.mark.slow
async def test_fifty_starts_at_once_through_three_gateways_are_exact_while_all_are_killed(
    server: tuple[BusServer, str],
) -> None:
    """Each start is one run, however often its sender repeats it, and never more than the limit run at once."""
    async with installation(server, "queue") as three, three_gateways(server) as gateways:
        three.may_end.clear()
        services = [gateway.service for gateway in gateways]
        async with asyncio.TaskGroup() as group:
            kills = [
                group.create_task(three.kill_among_starts(three.schedulers, Random(4))),
                group.create_task(three.kill_among_starts(services, Random(5), by_gateway=True)),
            ]
            total = await three.burst_until(kills, partial(three.start_by, gateways))
        await three.until(total, over=False)
        three.may_end.set()
        runs = await three.until(total, over=True)
        assert len(runs) == total
        assert {run.status for run in runs} == {RunStatus.SUCCESS}
        assert most_running(await three.history()) == LIMIT


@pytest.mark.slow
async def test_a_newer_run_replaces_the_older_ones_though_its_scheduler_is_killed(
    server: tuple[BusServer, str],
) -> None:
    async with installation(server, "replace") as three:
        three.may_end.clear()
        async with asyncio.TaskGroup() as group:
            killing = group.create_task(three.kill_among_starts(three.schedulers, Random(2)))
            total = await three.burst_until([killing], three.trigger, ["acme"])
        await three.until(total - 1, over=True)
        three.may_end.set()
        runs = await three.until(total, over=True)
        assert len(runs) == total
        *older, newest = runs
        assert newest.status is RunStatus.SUCCESS
        assert all(isinstance(run.state, Ended) and run.state.reason == REPLACED for run in older)
        assert {run.status for run in older} == {RunStatus.INTERRUPTED}
        assert most_running(await three.history()) == 1


@pytest.mark.slow
async def test_starts_beyond_a_limit_that_rejects_become_skips(server: tuple[BusServer, str]) -> None:
    async with installation(server, "reject") as three:
        three.may_end.clear()
        async with asyncio.TaskGroup() as group:
            killing = group.create_task(three.kill_among_starts(three.schedulers, Random(3)))
            total = await three.burst_until([killing], three.trigger, KEYS[:2])
        runs = await three.until(LIMIT * 2, over=False)
        assert len(await three.bus.subjects_in(streams.NOTICES, subjects.SKIPS)) == total - LIMIT * 2
        assert len(runs) == LIMIT * 2
        assert all(isinstance(run.state, Pending | Running) for run in runs)
        three.may_end.set()
        await three.until(LIMIT * 2, over=True)
