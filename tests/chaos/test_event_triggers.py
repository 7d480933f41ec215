"""Messages of another program's stream while schedulers and the bus are killed. ``CHAOS_SEED`` repeats the kills."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any, Final

import nats.errors
from nats.js.api import StreamConfig

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import BusError
from fastflow_contracts.bus.subjects import TriggerRef
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.event_triggers import BatchSpec, TriggerSpec
from fastflow_contracts.runs.event_cursors import event_cursors
from fastflow_contracts.runs.run import RunStatus
from fastflow_contracts.runs.store import RunStore
from tests.chaos.evidence import gather
from tests.chaos.verdict import wrongs
from tests.chaos.world import LOOK_S, World, world
from tests.support.processes import Service
from tests.support.profile import lasting

KINDS: Final[dict[str, dict[str, Any]]] = {
    "each": {},
    "keyed": {"key": "string(event.n)"},
    "batch": {"batch": BatchSpec(max=7, within_seconds=0.5)},
    "quiet": {"debounce_seconds": 0.5, "key": "string(event.n)"},
}
ONE_IN: Final = 10
MESSAGES: Final = lasting(1_200, long=12_000)
KILLS: Final = lasting(10, long=100)
BUS_KILLS_ONE_IN: Final = 5
PAUSE_S_MAX: Final = 0.6
SCHEDULERS: Final = 3
PATIENCE_S: Final = 300.0


async def test_each_message_that_passes_has_one_run_under_any_kill(tmp_path: Path) -> None:
    """However it is started: by itself, by its key, in a batch, or after quiet. No other message starts one."""
    seed = int(os.environ.get("CHAOS_SEED") or random.randrange(1 << 32))
    print(f"CHAOS_SEED={seed}")
    async with world(tmp_path, "none") as here:
        schedulers, runner = [here.scheduler() for _ in range(SCHEDULERS)], here.runner(sandbox="process")
        await here.running(*schedulers, runner)
        await here.bus.js.add_stream(StreamConfig(name="EVENTS", subjects=["events.*"], allow_direct=True))
        for name, kind in KINDS.items():
            spec = TriggerSpec(id="all", subject="events.*", when=f"event.n % {ONE_IN} == 0", **kind)
            await here.pipeline(name, "print('0')", triggers=(spec,))
        async with asyncio.TaskGroup() as group:
            killing = group.create_task(_kill(here, schedulers, random.Random(seed)))
            last = await _publish(here.bus, killing)
        for name in KINDS:
            await _read_to(here.bus, name, last)
        runs = {name: await RunStore(here.bus).all_of(PipelineName(name)) for name in KINDS}
        for name, found in runs.items():
            numbers: Counter[int] = Counter()
            for run in found:
                event = (await RunStore(here.bus).input(run)).event
                numbers.update(json.loads(line)["n"] for line in (event or b"").splitlines())
                assert (await here.end(run.ref)).status is RunStatus.SUCCESS
            assert numbers == Counter(range(0, MESSAGES, ONE_IN)), name
        assert await runner.terminate() == 0
        refs = [run.ref for found in runs.values() for run in found]
        assert wrongs(await gather(here), refs, lines=dict.fromkeys(KINDS, 1)) == []


async def _publish(bus: Bus, killing: asyncio.Task[None]) -> int:
    """Publish all messages, spread over the kills, each until it is stored. Return the sequence of the last one."""
    last = 0
    for number in range(MESSAGES):
        while True:
            try:
                headers = {"Nats-Msg-Id": str(number)}
                last = (await bus.js.publish("events.new", b'{"n": %d}' % number, headers=headers, timeout=2)).seq
                break
            except (nats.errors.Error, TimeoutError):
                await asyncio.sleep(LOOK_S)
        if not killing.done():
            await asyncio.sleep(KILLS * PAUSE_S_MAX / MESSAGES)
    return last


async def _kill(here: World, schedulers: list[Service], dice: random.Random) -> None:
    """Kill some schedulers at once, at times all of them, or the bus; each is back before the next kill."""
    for _ in range(KILLS):
        await asyncio.sleep(dice.uniform(0, PAUSE_S_MAX))
        down_s = dice.uniform(0, PAUSE_S_MAX)
        if dice.randrange(BUS_KILLS_ONE_IN) == 0:
            print(f"killing the bus for {down_s:.2f} s")
            await here.server.kill()
            await asyncio.sleep(down_s)
            await here.server.start()
            continue
        victims = dice.sample(schedulers, dice.randint(1, SCHEDULERS))
        print(f"killing {len(victims)} schedulers for {down_s:.2f} s")
        for each in victims:
            await each.kill()
        await asyncio.sleep(down_s)
        await here.running(*victims)


async def _read_to(bus: Bus, pipeline: str, sequence: int) -> None:
    """Wait until all messages up to *sequence* have started what they start."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                cursor = await event_cursors(bus).get(TriggerRef(PipelineName(pipeline), "all"), is_exact=True)
            except BusError:
                cursor = None
            if cursor is not None and cursor.value.done >= sequence:
                return
            await asyncio.sleep(LOOK_S)
