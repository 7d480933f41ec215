"""Stopping a gateway. ``test_runner`` has the same for a runner."""

from __future__ import annotations

import asyncio
import re
import secrets

import aiohttp

from fastflow_contracts.bus import streams
from fastflow_contracts.bus.subjects import RunRef
from fastflow_contracts.ids import RunId
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.run import RunStatus
from tests.chaos.settled import settled
from tests.chaos.world import COUNT, LOOK_S, World

TOKEN = secrets.token_urlsafe(24)


async def test_a_stopping_gateway_answers_open_requests(here: World) -> None:
    """A start that waits for a scheduler is accepted, even if the gateway stops before the decision, and becomes a
    run.
    """
    gateway = here.gateway(FASTFLOW_ADMIN_TOKEN=TOKEN)
    await here.pipeline("script", COUNT.format(lines=1, pause_s=0))
    await gateway.start()
    (address,) = re.findall(r'"event": "address opened".*"url": "(http://[^"]+)"', "\n".join(gateway.log))
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as http:
        asking = asyncio.create_task(http.post(f"{address}/api/pipelines/script/run", json={}), name="asking")
        while not (await here.bus.stream(streams.TRIGGERS)).state.messages:
            await asyncio.sleep(LOOK_S)
        assert await gateway.terminate() == 0
        answer = await asking
        assert answer.status == 202
        ref = RunRef(PipelineName("script"), RunId((await answer.json())["id"]))
    runner = here.runner(sandbox="process")
    await here.running(here.scheduler(), runner)
    (run,) = await settled(here, runner, ref, lines=1)
    assert run.status is RunStatus.SUCCESS
