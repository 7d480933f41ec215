"""Schedulers and gateways die over starts that are refused: no message is lost, and no announced run is missing."""

from __future__ import annotations

import asyncio
import re
import secrets
from contextlib import aclosing
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.feed import feed
from fastflow_contracts.ids import RunId, run_id_for_key
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.messages import TRIGGER_TYPE, SkipRecord, Trigger
from fastflow_contracts.runs.run import RunRecord, RunStatus
from fastflow_contracts.runs.skips import SkipStore
from fastflow_contracts.runs.state_machine import Cancel
from fastflow_contracts.runs.store import RunStore
from tests.chaos.world import World, world
from tests.support.processes import Service
from tests.support.records import a_bundle, a_run, publish_pipeline
from tests.support.tripwire import Moment, Tripwire

FULL: Final = PipelineName("full")
TOKEN: Final = secrets.token_urlsafe(24)
DECIDED_S: Final = 120.0
STARTS: Final = 11
KILLS: Final = 4
REFUSING: Final[list[tuple[bytes, Moment]]] = [
    (b"PUB ff.dead.", "before"),
    (b"PUB ff.dead.", "after"),
    (b"PUB ff.skipped.", "before"),
    (b"PUB ff.skipped.", "after"),
    (b"PUB $KV.ff_runs.run.", "before"),
    (b"PUB $KV.ff_runs.run.", "after"),
]
REDRIVING: Final[list[tuple[bytes, Moment]]] = [
    (b"PUB $KV.ff_runs.run.", "before"),
    (b"PUB $KV.ff_runs.run.", "after"),
    (b"PUB ff.skipped.", "before"),
    (b"PUB ff.skipped.", "after"),
]


async def full(here: World) -> RunRecord:
    """A pipeline with a run that takes all its room."""
    await publish_pipeline(here.bus, FULL, a_bundle(main_py="1"), max_instances=1)
    blocker = a_run(FULL)
    assert await RunStore(here.bus).create(blocker, None)
    return blocker


async def decided(here: World) -> None:
    """Wait until nothing that starts a run waits for its decision."""
    async with asyncio.timeout(DECIDED_S):
        while (await here.bus.js.stream_info(streams.TRIGGERS)).state.messages:
            await asyncio.sleep(0.05)


async def skips(here: World) -> dict[RunId, SkipRecord]:
    """All skips as they are now."""
    found: dict[RunId, SkipRecord] = {}
    async with aclosing(feed(here.bus, streams.NOTICES, subjects.SKIPS, after=0)) as batches:
        async for batch in batches:
            for message in batch.messages:
                skip = messages.SKIP.decode(message.data)
                assert skip.id is not None
                found[skip.id] = skip
            if batch.caught_up:
                return found
    return found


async def send(here: World, trigger: Trigger) -> None:
    await here.bus.publish(
        subjects.start(FULL), messages.TRIGGER.encode(trigger), headers={"Content-Type": TRIGGER_TYPE}
    )


async def record(here: World, run_id: RunId) -> RunRecord:
    return (await RunStore(here.bus).find(run_id)).run


async def dies_over(here: World, scheduler: Service, trigger: Trigger, step: bytes, moment: Moment) -> None:
    """Kill a scheduler at that step of handling the trigger, and let the next one finish it."""
    async with Tripwire(here.url, scheduler.die, step, moment).url() as url:
        await scheduler.start(FASTFLOW_NATS_URL=url)
        await send(here, trigger)
        await scheduler.ended()
    await scheduler.start()
    await decided(here)


@pytest.mark.parametrize(("step", "moment"), REFUSING)
async def test_a_scheduler_that_dies_while_it_refuses_loses_nothing(
    tmp_path: Path, store_volume: str, step: bytes, moment: Moment
) -> None:
    """One skip with the whole message, and the run whose id the caller has."""
    async with world(tmp_path, store_volume) as here:
        await full(here)
        scheduler = here.scheduler()
        await dies_over(here, scheduler, Trigger(key="k", event=b"payload", accepted=True), step, moment)
        run_id = run_id_for_key(FULL, "k")
        run = await record(here, run_id)
        assert (run.status, run.is_refused) == (RunStatus.INTERRUPTED, True)
        assert set(await skips(here)) == {run_id}
        letter = await SkipStore(here.bus).letter(FULL, run_id)
        assert letter is not None
        assert messages.TRIGGER.decode(letter.payload).event == b"payload"


@pytest.mark.parametrize(("step", "moment"), REDRIVING)
async def test_a_scheduler_that_dies_over_a_redrive_starts_one_run(
    tmp_path: Path, store_volume: str, step: bytes, moment: Moment
) -> None:
    """And the skip says which, also if it is asked twice."""
    async with world(tmp_path, store_volume) as here:
        blocker = await full(here)
        scheduler = here.scheduler()
        await scheduler.start()
        await send(here, Trigger(key="k", event=b"payload"))
        await decided(here)
        (skip_id,) = await skips(here)
        await scheduler.kill()
        await RunStore(here.bus).change(blocker.ref, Cancel())
        wanted = Trigger(redrive_of=skip_id)
        await dies_over(here, scheduler, wanted, step, moment)
        await send(here, wanted)
        await decided(here)
        runs = [run for run in await RunStore(here.bus).all_of(FULL) if run.id != blocker.id]
        assert [run.id for run in runs] == [skip_id]
        assert (await skips(here))[skip_id].redriven_as == skip_id


async def test_what_was_accepted_while_schedulers_are_killed_is_a_run_record(here: World) -> None:
    """Eleven starts over HTTP for a pipeline without room; every id that a caller got has its record and its reason."""
    await full(here)
    gateway, schedulers = here.gateway(FASTFLOW_ADMIN_TOKEN=TOKEN), [here.scheduler(), here.scheduler()]
    await gateway.start()
    (address,) = re.findall(r'"event": "address opened".*"url": "(http://[^"]+)"', "\n".join(gateway.log))
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(headers=headers) as http, asyncio.TaskGroup() as group:

        async def start(number: int) -> tuple[int, str]:
            async with http.post(f"{address}/api/pipelines/full/events", data=str(number)) as answer:
                return answer.status, (await answer.json()).get("id", "")

        async with http.post(f"{address}/api/pipelines/nosuch/events", data=b"refused at the door") as answer:
            assert answer.status == 404

        async def die(scheduler: Service) -> None:
            for _ in range(KILLS):
                await scheduler.start()
                await scheduler.kill()

        starts = [group.create_task(start(number)) for number in range(STARTS)]
        await asyncio.wait(starts[:1])  # without any scheduler: at least these are accepted
        for scheduler in schedulers:
            group.create_task(die(scheduler))
    answers = [task.result() for task in starts]
    await schedulers[0].start()
    await decided(here)
    accepted = {RunId(run_id) for status, run_id in answers if status == 202}
    assert accepted
    assert {status for status, _ in answers} <= {202, 429}
    for run_id in accepted:
        run = await record(here, run_id)
        assert run.is_refused, run
    kept = await skips(here)
    assert accepted <= set(kept)
    letters = [
        await SkipStore(here.bus).letter(FULL, skip_id) for skip_id, skip in kept.items() if skip.pipeline == FULL
    ]
    events = {messages.TRIGGER.decode(letter.payload).event for letter in letters if letter}
    assert events == {str(number).encode() for number in range(STARTS)}
    (at_the_door,) = (skip for skip in kept.values() if skip.pipeline == "nosuch")
    assert at_the_door.id is not None
    assert await SkipStore(here.bus).letter("nosuch", at_the_door.id)


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_gateway_that_dies_before_it_accepts_leaves_a_run_or_a_skip(
    tmp_path: Path, store_volume: str, moment: Moment
) -> None:
    """Its caller got no answer; the start is not lost."""
    async with world(tmp_path, store_volume) as here:
        await full(here)
        gateway, scheduler = here.gateway(FASTFLOW_ADMIN_TOKEN=TOKEN), here.scheduler()
        async with Tripwire(here.url, gateway.die, b'"accepted":true', moment).url() as url:
            await gateway.start(FASTFLOW_NATS_URL=url)
            (address,) = re.findall(r'"event": "address opened".*"url": "(http://[^"]+)"', "\n".join(gateway.log))
            async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as http:
                with pytest.raises(aiohttp.ClientError):
                    await http.post(f"{address}/api/pipelines/full/events", data=b"payload")
            await gateway.ended()
        await scheduler.start()
        await decided(here)
        (skip_id,) = await skips(here)
        refused = [run for run in await RunStore(here.bus).all_of(FULL) if run.is_refused]
        assert [run.id for run in refused] == ([skip_id] if moment == "after" else [])
