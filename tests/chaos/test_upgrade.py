"""A rolling upgrade from an older version of this repository.

The old services leave runs in every state; today's start beside them one by one and take over.
``FASTFLOW_UPGRADE_FROM=<commit>`` names the older version; without it the test skips, because not every checkout has a
history.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from asyncio.subprocess import DEVNULL
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest

from fastflow_contracts.bus.subjects import RunRef
from fastflow_contracts.runs.lease import Lease
from fastflow_contracts.runs.run import Pending, RunRecord, RunStatus
from tests.chaos.evidence import gather
from tests.chaos.verdict import wrongs
from tests.chaos.world import COUNT, LOOK_S, World
from tests.support.processes import Service

FROM: Final = os.environ.get("FASTFLOW_UPGRADE_FROM", "")
ROOT: Final = Path(__file__).parents[2]
SOURCES: Final = (
    *("libs/contracts/src", "services/syncer/src", "services/scheduler/src", "services/runner/src"),
    *("services/gateway/src", "cli/src"),
)
SWEEP_S: Final = Lease().sweep_s
LONG_LINES: Final = 1500
INTERVAL_S: Final = 4
AGAIN: Final = "import os\nprint(0)\nraise SystemExit(os.environ['FASTFLOW_ATTEMPT'] == '1')\n"
PIPELINES: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "long": (COUNT.format(lines=LONG_LINES, pause_s=0.02), {}),
    "again": (
        AGAIN,
        {"retry_attempts": 1, "retry_strategy": {"type": "fixed_delay", "delay": 20}},
    ),
    "timed": ("print(0)", {"schedule_interval_seconds": INTERVAL_S, "downstream_triggers": [{"pipeline": "after"}]}),
    "after": ("print(0)", {}),
    "quick": ("print(0)", {}),
}
LINES: Final = {"long": LONG_LINES, "again": 1, "timed": 1, "after": 1, "quick": 1}

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(not FROM, reason="FASTFLOW_UPGRADE_FROM names no older version"),
]


def unpacked(directory: Path) -> dict[str, str]:
    """Unpack the older version's source in *directory*; return the environment that runs it."""
    directory.mkdir()
    archive = subprocess.run(["git", "archive", FROM], cwd=ROOT, capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", str(directory)], input=archive, check=True)
    return {"PYTHONPATH": os.pathsep.join(str(directory / source) for source in SOURCES)}


async def ensured(world: World, **environ: str) -> None:
    """Create the streams as one version wants them."""
    command = [sys.executable, "-m", "fastflow", "bus", "ensure", "--nats-url", world.url]
    process = await asyncio.create_subprocess_exec(*command, env=os.environ | environ, stdout=DEVNULL)
    assert await process.wait() == 0


def pipelines(directory: Path) -> Path:
    for name, (main, spec) in PIPELINES.items():
        folder = directory / name
        folder.mkdir(parents=True)
        (folder / "main.py").write_text(main)
        (folder / "pipeline.json").write_text(json.dumps(spec))
    return directory


def of_old(service: Service, old: dict[str, str]) -> Service:
    """Return the older version of *service*, which may not yet know separate users."""
    service.environ |= old
    del service.environ["FASTFLOW_NATS_CREDENTIALS"]
    return service


async def replace(old: Service, new: Service) -> None:
    assert await old.terminate() == 0
    await new.start()


async def test_nothing_is_lost_or_doubled_when_one_service_after_the_other_is_upgraded(
    here: World, tmp_path: Path
) -> None:
    """Old and new services work in parallel on the same records; a script moves from the old runner to the new."""
    old = unpacked(tmp_path / "old")
    folder = pipelines(tmp_path / "pipelines")
    leaving = {"FASTFLOW_LEAVE_RUNNING": "yes", "FASTFLOW_GRACE_S": "0"}
    await ensured(here, **old)
    olds = {
        "scheduler": of_old(here.scheduler(), old),
        "syncer": of_old(here.syncer(folder), old),
        "gateway": of_old(here.gateway(), old),
        "runner": of_old(here.runner("one", **leaving), old),
    }
    news = {
        "scheduler": here.scheduler(),
        "syncer": here.syncer(folder),
        "gateway": here.gateway(),
        "runner": here.runner("one", **leaving),
    }
    refs: set[RunRef] = set()

    async def quick(tag: str) -> RunRef:
        ref = await here.start("quick", key=tag, from_outside=True)
        refs.add(ref)
        return ref

    await here.running(*olds.values())
    long = await here.start("long", key="long", from_outside=True)
    again = await here.start("again", key="again", from_outside=True)
    refs |= {long, again}
    await here.first_output(long)
    container = await here.container(long)
    await here.until(again, lambda run: isinstance(run.state, Pending) and run.state.attempt == 2)
    await here.end(await quick("all-old"))

    await ensured(here)
    other = here.runner("two", **leaving)
    await other.start()  # beside the old one: it takes the old scheduler's hints
    for number in range(4):
        await here.end(await quick(f"old-scheduler-{number}"))
    second = here.scheduler()
    await second.start()  # beside the old one: both do all the work
    for number in range(4):
        await here.end(await quick(f"both-{number}"))
    await replace(olds["scheduler"], news["scheduler"])
    for number in range(4):
        await here.end(await quick(f"old-runner-{number}"))
    assert await olds["runner"].terminate() == 0
    assert await other.terminate() == 0
    waits = await quick("nobody-there")
    await here.until(waits, lambda run: isinstance(run.state, Pending))
    assert await here.container(long) == container
    await news["runner"].start()
    await here.adopted(long)
    assert await here.container(long) == container
    await replace(olds["syncer"], news["syncer"])
    await replace(olds["gateway"], news["gateway"])
    changed = PIPELINES["timed"][1] | {"schedule_interval_seconds": 999}
    (folder / "timed" / "pipeline.json").write_text(json.dumps(changed))

    ended = [await here.end(ref) for ref in refs]
    by_themselves = [run for run in await _is_quiet(here) if run.pipeline in ("timed", "after")]
    async with asyncio.timeout(2 * SWEEP_S):
        while await here.containers():  # one that an older version named differently is removed
            await asyncio.sleep(LOOK_S)
    assert await news["runner"].terminate() == 0
    assert wrongs(await gather(here), refs | {run.ref for run in by_themselves}, lines=LINES) == []
    assert {run.status for run in (*ended, *by_themselves)} == {RunStatus.SUCCESS}
    assert {run.pipeline: len(run.attempts) for run in ended} == {"long": 1, "again": 2, "quick": 1}
    slots = Counter(run.order.scheduled_for for run in by_themselves if run.pipeline == "timed")
    assert set(slots.values()) == {1}
    times = sorted(slot for slot in slots if slot is not None)
    gaps = {round((later - former).total_seconds()) for former, later in pairwise(times)}
    assert gaps == {INTERVAL_S}
    parents = Counter(run.order.parent_run_id for run in by_themselves if run.pipeline == "after")
    assert set(parents.values()) == {1}
    assert parents.keys() == {run.id for run in by_themselves if run.pipeline == "timed"}


async def _is_quiet(world: World) -> list[RunRecord]:
    """Return all runs once every one is over, its followups exist, and nothing has come for longer than a slot."""
    before: set[RunRef] = set()
    async with asyncio.timeout(90):
        while True:
            runs = [revisions[-1] for revisions in (await gather(world)).revisions.values()]
            followed = {run.order.parent_run_id for run in runs if run.pipeline == "after"}
            timed = {run.id for run in runs if run.pipeline == "timed"}
            found = {run.ref for run in runs}
            if found == before and timed == followed and all(run.is_over for run in runs):
                return runs
            before = found
            print([run for run in runs if not run.is_over], timed ^ followed)
            await asyncio.sleep(1.5 * INTERVAL_S)
