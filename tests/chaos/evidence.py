"""Reads what is on the bus and on the daemon when everything is over. It only reads; ``verdict`` judges."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.subjects import RunRef
from fastflow_contracts.runs.logs import CHUNK, Chunk
from fastflow_contracts.runs.run import RUN, RunRecord
from tests.chaos.world import Container, World
from tests.support.system import stored


class Written(NamedTuple):
    """One chunk of a log, and where it is stored."""

    sequence: int
    chunk: Chunk


class Evidence(NamedTuple):
    """Everything stored about runs, in order, and the containers that are left."""

    revisions: dict[RunRef, list[RunRecord]]
    logs: dict[tuple[RunRef, int], list[Written]]
    """By run and attempt."""
    containers: list[Container]
    stored_at: dict[RunRef, list[int]]
    """The bus's sequence of each revision."""


async def gather(world: World) -> Evidence:
    """Read all of it. No run may still be active."""
    revisions: dict[RunRef, list[RunRecord]] = defaultdict(list)
    stored_at: dict[RunRef, list[int]] = defaultdict(list)
    bucket = f"$KV.{subjects.RUNS}."
    for message in await stored(world.bus, streams.bucket_stream(subjects.RUNS), bucket + subjects.RUN_KEYS):
        ref = subjects.parse_run_key(message.subject.removeprefix(bucket))
        revisions[ref].append(RUN.decode(message.data))
        stored_at[ref].append(message.sequence)
    logs: dict[tuple[RunRef, int], list[Written]] = {}
    for ref, runs in revisions.items():
        for number in range(1, len(runs[-1].attempts) + 1):
            found = await stored(world.bus, streams.LOGS, subjects.log(ref, number))
            logs[ref, number] = [Written(message.sequence, CHUNK.decode(message.data)) for message in found]
    return Evidence(revisions, logs, await world.containers(), stored_at)
