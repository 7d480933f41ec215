"""``max_instances`` of a pipeline with a long history: what its starts read after a deploy."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace
from nats.aio.msg import Msg

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.clock import now
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.records import PIPELINE
from fastflow_contracts.runs.limits import LIMIT
from fastflow_contracts.runs.messages import Started
from fastflow_contracts.runs.run import RUN, Ended, Verdict
from tests.support.chains import schedulers
from tests.support.records import T0, a_bundle, a_run, publish_pipeline
from tests.wire.scheduler.test_scheduler import trigger

FEW = PipelineName("few")
MOST = 5
AT_ONCE = 50
PAST = 2_000


async def test_after_a_deploy_fifty_starts_at_once_do_not_read_the_runs_that_are_over(bus_url: str, bus: Bus) -> None:
    """Reading them for each start took minutes and gigabytes. Whoever reads them needs a consumer of their stream."""
    ended = Ended(verdict=Verdict.SUCCESS, at=T0)
    for _ in range(PAST // 100):
        runs = [replace(a_run(FEW), state=ended) for _ in range(100)]
        await asyncio.gather(*(bus.put(subjects.RUNS, subjects.run_key(run.ref), RUN.encode(run)) for run in runs))
    record = await publish_pipeline(bus, FEW, a_bundle(main_py="1"), max_instances=MOST)
    async with schedulers(bus_url, bus):
        assert isinstance(await trigger(bus, b"", pipeline=FEW), Started)
        readers: list[Msg] = []

        async def hear(advisory: Msg) -> None:
            readers.append(advisory)

        await bus.client.subscribe(
            f"$JS.EVENT.ADVISORY.CONSUMER.CREATED.{streams.bucket_stream(subjects.RUNS)}.>", cb=hear
        )
        assert record.live is not None
        deployed = replace(record, live=replace(record.live, live_since=now()))
        await bus.put(subjects.PIPELINES, subjects.pipeline_key(FEW), PIPELINE.encode(deployed))
        answers = await asyncio.gather(*(trigger(bus, b"", pipeline=FEW) for _ in range(AT_ONCE)))
        await bus.client.flush()
    assert sum(isinstance(answer, Started) for answer in answers) == MOST - 1
    assert readers == []
    entry = await bus.get(subjects.RUNS, subjects.instances_key(FEW))
    assert entry is not None
    made = LIMIT.decode(entry.value)
    assert (made.since, len(made.members)) == (deployed.live.live_since.isoformat(), MOST)  # type: ignore[union-attr]
