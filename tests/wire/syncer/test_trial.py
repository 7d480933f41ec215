"""A sync tries the expressions of what it reads."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from fastflow_contracts.bus.client import Bus
from tests.process.contracts.test_trial import SLOW
from tests.support.syncer import actions, folder_syncer, record_of, write


async def test_a_slow_expression_is_a_problem_and_the_last_good_version_stays(bus: Bus, tmp_path: Path) -> None:
    """The loop of the syncer goes on meanwhile, other pipelines are synced, and no process is left."""
    write(tmp_path, {"etl/main.py": "1", "etl/pipeline.json": '{"concurrency": {"key": "event.id"}}'})
    syncer = folder_syncer(bus, tmp_path)
    assert actions(await syncer.sync()) == {"etl": "added"}
    write(tmp_path, {"etl/pipeline.json": json.dumps({"concurrency": {"key": SLOW}}), "other/main.py": "2"})
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    report = await syncer.sync()
    counting.cancel()
    assert turns > 100
    assert actions(report) == {"etl": "refused", "other": "added"}
    record, _ = await record_of(bus, "etl")
    assert [problem.field for problem in record.problems] == ["concurrency.key"]
    assert record.live is not None
    assert record.live.spec.concurrency is not None
    assert record.live.spec.concurrency.key == "event.id"
    assert syncer._evaluator._process is None
