"""A bus whose streams an older version created."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.pull import Pull
from fastflow_contracts.bus.streams import WrongTopology
from fastflow_contracts.runs.messages import HINT, Hint
from tests.support.records import a_run


async def test_hints_of_an_older_version_are_taken_after_the_update_and_new_ones_too(bus: Bus) -> None:
    """Services do not start before it, and say what to do. What it drops, schedulers repeat."""
    run = a_run()
    hint = HINT.encode(Hint(pipeline=run.pipeline, run_id=run.id, attempt=1))
    await bus.js.delete_stream(streams.WORK)
    (wanted,) = (stream for stream in streams.STREAMS if stream.name == streams.WORK)
    old = replace(wanted, subjects=["ff.work.*"], max_msgs_per_subject=-1, discard_new_per_subject=None)
    await bus.js.add_stream(old)
    for name, consumer in streams.CONSUMERS:
        if name == streams.WORK:
            await bus.js.add_consumer(
                name, replace(consumer, filter_subjects=None, filter_subject=f"ff.work.{consumer.name}")
            )
    for _ in range(3):
        await bus.publish("ff.work.script", hint)
    with pytest.raises(WrongTopology, match=r"subject ff\.work\.>; run `fastflow bus ensure`"):
        await streams.verify(bus.js)
    await streams.ensure(bus.js)
    await streams.verify(bus.js)
    await bus.publish(subjects.work("script", run.ref, 1), hint)
    async with Pull(bus, streams.WORK, "script") as pull:
        taken = [message for _ in range(2) for message in await pull.take(1)]
    assert {message.subject for message in taken} == {"ff.work.script", subjects.work("script", run.ref, 1)}
