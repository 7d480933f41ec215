"""A pipeline that floods the logs, on a real bus."""

from __future__ import annotations

from contextlib import aclosing

from msgspec.structs import replace

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.feed import feed
from fastflow_contracts.runs.logs import CHUNK
from fastflow_contracts.runs.run import RunRecord
from fastflow_contracts.runs.store import RunStore
from fastflow_runner.attempts.recorder import Recorder
from fastflow_runner.output.quota import OutputQuota
from tests.support.records import a_run
from tests.support.runner_bench import Bench

QUOTA = 20_000


async def test_the_logs_of_one_pipeline_stop_at_its_quota_and_others_are_whole(bench: Bench) -> None:
    """Its runs, many and each below the limit of one log, once pushed out the logs of all others."""
    context = replace(bench.context, quota=OutputQuota(QUOTA))
    stored: dict[str, list[str]] = {"flood": [], "quiet": []}
    for pipeline in ("flood", "flood", "flood", "quiet"):
        run = await running(bench, pipeline)
        recorder = Recorder(context, run)
        for _ in range(100):
            await recorder.say("x" * 99)
        await recorder.pump.close()
        stored[pipeline].append(await log_of(bench, run))
    assert sum(map(len, stored["flood"])) < QUOTA + 1000
    assert all("log truncated: the runs of flood wrote more than 20000 bytes" in log for log in stored["flood"][1:])
    assert "truncated" not in stored["quiet"][0]
    assert stored["quiet"][0].count("x" * 99) == 100


async def running(bench: Bench, pipeline: str) -> RunRecord:
    run = a_run(pipeline)
    assert await RunStore(bench.context.bus).create(run, None)
    return await bench.held(run)


async def log_of(bench: Bench, run: RunRecord) -> str:
    """Return what is stored of the log of the first attempt."""
    text = ""
    subject = subjects.log(run.ref, 1)
    async with aclosing(feed(bench.context.bus, streams.LOGS, subject, after=0)) as batches:
        async for batch in batches:
            for message in batch.messages:
                text += "".join(piece.text for piece in CHUNK.decode(message.data).lines)
            if batch.caught_up:
                break
    return text
