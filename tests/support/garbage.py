"""What any client with write access could leave on the bus: invalid bytes under every key and subject."""

from __future__ import annotations

from typing import Final, get_args

import nats.errors

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.subjects import JobRef, RunRef
from fastflow_contracts.ids import RunId
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.messages import TRIGGER_TYPE
from tests.support.ids import fresh_run_id

GARBAGE: Final = (b"{", b"null", b'{"v":1}', b"\xff\xfe\x00", b'"' + b"x" * 1000, b"[" * 10_000)
RUN_ID: Final = RunId("00000000-0000-4000-8000-000000000000")


def keys(pipeline: str, runner: str) -> dict[str, tuple[str, ...]]:
    """Return keys of every kind by bucket: of records that are needed, and some that name nothing."""
    name = PipelineName(pipeline)
    run, job = RunRef(name, RUN_ID), JobRef(name, "schedule")
    return {
        subjects.RUNS: (
            subjects.run_key(run),
            subjects.input_key(run),
            f"run.{pipeline}.no-id",
            "run.=ZZ.no-id",
            subjects.ALL_RUNNING,
            subjects.instances_key(name),
        ),
        subjects.INPUTS: (subjects.input_key(run), f"input.{pipeline}.no-id"),
        subjects.PIPELINES: ("pipeline.broken", "pipeline.=ZZ", subjects.SYNC_STATUS_KEY),
        subjects.SESSIONS: ("spent.broken",),
        subjects.RUNNERS: ("runner.broken", "service.scheduler.broken", subjects.runner_key(runner)),
        subjects.SCHEDULES: (
            subjects.schedule_state_key(job),
            subjects.schedule_switch_key(job),
            "sched.broken",
            "switch.=ZZ.=ZZ",
        ),
        subjects.LINKS: (subjects.links_key(name), "links.=ZZ"),
        subjects.OPERATIONS: (subjects.operation_key(RUN_ID), "operation.broken", "items.broken.x"),
    }


async def litter(bus: Bus, pipeline: str, runner: str = "runner-0") -> None:
    """Write garbage wherever services read: in each bucket, and on each subject that they consume."""
    for garbage in GARBAGE:
        for bucket, its_keys in keys(pipeline, runner).items():
            for key in its_keys:
                await bus.put(bucket, key, garbage)
        run = RunRef(PipelineName(pipeline), RUN_ID)
        for subject in (subjects.command(run), f"ff.command.run.{pipeline}.no-id", "ff.command.run.x"):
            await bus.publish(subject, garbage)
        for kind in get_args(subjects.Kind):
            await bus.publish(subjects.work(kind, RunRef(run.pipeline, fresh_run_id()), 1), garbage)
        # Also of a pipeline whose record is garbage: some garbage is a trigger.
        await bus.publish("ff.trigger.broken", garbage, headers={"Content-Type": TRIGGER_TYPE})
        await bus.publish("ff.trigger.=ZZ", garbage)
        for subject in (subjects.SYNC, subjects.run_event(run)):
            await bus.tell(subject, garbage)
    try:
        await bus.client.flush()
    except nats.errors.Error as error:
        raise AssertionError("the garbage did not arrive") from error
