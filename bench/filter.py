"""Messages of another program's stream: through a filter that lets one in a hundred pass, and in batches.

First at a steady pace, beside other starts, as long as it takes to see whether the scheduler keeps up. Then all of them
at once, as a backlog, in turn with a consumer that reads the same messages and does nothing.
"""

from __future__ import annotations

import asyncio
import time

from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, StreamConfig
from tests.support.records import a_bundle, publish_pipeline

from bench.control_plane import ControlPlane, control_plane
from bench.machine import cpu_with_children_s
from bench.report import report
from bench.table import Table, Target, figure, ms
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.subjects import TriggerRef
from fastflow_contracts.names import check_name
from fastflow_contracts.pipelines.format.event_triggers import BatchSpec, TriggerSpec
from fastflow_contracts.runs.event_cursors import event_cursors
from fastflow_contracts.runs.run import RUN, RunRecord

STREAM = "EVENTS"
MESSAGES_PER_S = 1_000
LOAD_S = 20
ONE_IN = 100
FILTER = f"event.n % {ONE_IN} == 0"
STARTS_PER_S = 5
TICK_S = 0.01
"""As many messages as are due are published in each."""
ROUNDS = 5
BATCH = 100
READ_AT_ONCE = 500
DRAIN_S = 60.0
"""Time limit for what is left when the last message is published."""
LOOK_S = 0.01


class Runs:
    """When the run of each message was on the bus, by the message's number."""

    def __init__(self) -> None:
        self.at_s: dict[int, float] = {}

    async def hear(self, message: Msg) -> None:
        """Handle a repeated change of a run's record."""
        at_s = time.perf_counter()
        run: RunRecord = RUN.decode(message.data)
        if run.epoch == 0 and run.order.event_subject is not None:
            number = int(run.order.event_subject.rpartition(".")[2])
            assert number not in self.at_s, f"message {number} started two runs"
            self.at_s[number] = at_s


async def measure(load_s: int = LOAD_S, rounds: int = ROUNDS) -> Table:
    """Measure both."""
    count = load_s * MESSAGES_PER_S
    async with control_plane() as made:
        await made.bus.js.add_stream(StreamConfig(name=STREAM, subjects=["events.*"], allow_direct=True))
        alone = await _starts(made, load_s)
        late, beside, used = await _paced(made, load_s)
        filtered, batched, consumed = list[float](), list[float](), list[float]()
        for number in range(rounds):
            consumed.append(count / await _consume(made.bus, count))
            filtered.append(count / await _drain(made.bus, f"filtered{number}", when=FILTER))
            batched.append(count / await _drain(made.bus, f"batched{number}", batch=BatchSpec(max=BATCH)))
    pace = f"{MESSAGES_PER_S:,} messages a second for {load_s} s"
    at_least = (Target("median", MESSAGES_PER_S, least=True),)
    return Table(
        f"Filter: messages of another stream, one in {ONE_IN} starts a run",
        (
            figure(f"{pace}: message → its run on the bus", ms(late), "ms", targets=(Target("p99", 1_000),)),
            figure(
                f"beside them, {STARTS_PER_S} starts a second: trigger → claimed", ms(beside), "ms", floor=ms(alone)
            ),
            figure("floor: the same starts without messages", ms(alone), "ms"),
            figure("processor time of the scheduler and its evaluators meanwhile, of one core", [used], "%"),
            figure(f"a backlog of {count:,}, one in {ONE_IN}", filtered, "/s", floor=consumed, targets=at_least),
            figure(f"the same in batches of {BATCH}", batched, "/s", floor=consumed, targets=at_least),
            figure("floor: a consumer that reads them and does nothing", consumed, "/s"),
        ),
    )


async def _paced(made: ControlPlane, load_s: int) -> tuple[list[float], list[float], float]:
    """Return the seconds from message to run, those of the starts beside, and the scheduler's share of a core."""
    runs = Runs()
    subscription = await made.bus.client.subscribe("ff.event.run.paced.*", cb=runs.hear)
    await _deploy(made.bus, "paced", when=FILTER)
    await _read_to(made.bus, "paced", 0)
    before_s, began_s = cpu_with_children_s(made.pids["scheduler"]), time.perf_counter()
    async with asyncio.TaskGroup() as group:
        starts = group.create_task(_starts(made, load_s), name="starts")
        publishing = group.create_task(_publish(made.bus, load_s), name="publish")
    used = 100 * (cpu_with_children_s(made.pids["scheduler"]) - before_s) / (time.perf_counter() - began_s)
    published = publishing.result()
    wanted = range(0, len(published), ONE_IN)
    async with asyncio.timeout(DRAIN_S):
        while len(runs.at_s) < len(wanted):
            await asyncio.sleep(LOOK_S)
    await _read_to(made.bus, "paced", len(published))
    await subscription.unsubscribe()
    assert sorted(runs.at_s) == list(wanted)
    return [runs.at_s[number] - published[number] for number in wanted], starts.result(), used


async def _publish(bus: Bus, load_s: int) -> list[float]:
    """Publish at a steady pace; return when each message was published."""
    published: list[float] = []
    began_s = time.perf_counter()
    while len(published) < load_s * MESSAGES_PER_S:
        due = min(int((time.perf_counter() - began_s) * MESSAGES_PER_S), load_s * MESSAGES_PER_S)
        for number in range(len(published), due):
            published.append(time.perf_counter())
            await bus.client.publish(f"events.{number}", b'{"n": %d}' % number)
        await asyncio.sleep(TICK_S)
    await bus.client.flush()
    async with asyncio.timeout(DRAIN_S):
        while (await bus.js.stream_info(STREAM)).state.messages < len(published):
            await asyncio.sleep(LOOK_S)
    return published


async def _starts(made: ControlPlane, load_s: int) -> list[float]:
    """Start runs at a steady pace; return the seconds until each was claimed."""

    async def start(number: int) -> float:
        await asyncio.sleep(number / STARTS_PER_S)
        claimed_s, _ = await made.run()
        return claimed_s

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(start(number), name=f"start-{number}") for number in range(load_s * STARTS_PER_S)]
    return [task.result() for task in tasks]


async def _drain(bus: Bus, pipeline: str, **trigger: object) -> float:
    """Return the seconds from the deployment of a trigger until it has read all messages, and their runs exist."""
    last = (await bus.js.stream_info(STREAM)).state.last_seq
    began_s = time.perf_counter()
    await _deploy(bus, pipeline, **trigger)
    await _read_to(bus, pipeline, last)
    return time.perf_counter() - began_s


async def _deploy(bus: Bus, pipeline: str, **trigger: object) -> None:
    """Publish a pipeline whose trigger reads all messages of the stream."""
    spec = TriggerSpec(id="all", subject="events.*", **trigger)  # type: ignore[arg-type]
    await publish_pipeline(bus, pipeline, a_bundle(main_py="print()"), triggers=(spec,))


async def _read_to(bus: Bus, pipeline: str, sequence: int) -> None:
    """Wait until the trigger has found its stream, and started what messages up to *sequence* start."""
    cursors, ref = event_cursors(bus), TriggerRef(check_name(pipeline), "all")
    async with asyncio.timeout(DRAIN_S):
        while True:
            found = await cursors.get(ref, is_exact=True)
            if found is not None and found.value.stream and found.value.done >= sequence:
                return
            await asyncio.sleep(LOOK_S)


async def _consume(bus: Bus, count: int) -> float:
    """Return the seconds that a consumer takes for all messages."""
    began_s = time.perf_counter()
    config = ConsumerConfig(ack_policy=AckPolicy.NONE)
    subscription = await bus.js.pull_subscribe("events.*", stream=STREAM, config=config)
    read = 0
    while read < count:
        read += len(await subscription.fetch(READ_AT_ONCE))
    await subscription.unsubscribe()
    return time.perf_counter() - began_s


if __name__ == "__main__":
    report(measure)
