"""What 10,000 runs in sandboxes of bubblewrap leave: processes, mounts, groups, files, descriptors, memory.

All is counted three times when no run is under way: after the first runs, half way, and at the end. The load of the
machine does not matter.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from bench.installation import Installation
from bench.machine import memory_mib
from bench.report import report
from bench.start import installations
from bench.table import Figure, Table, Target, Unit, figure, shown
from fastflow_runner.guest.supervisor.meters import descendants
from fastflow_runner.sandbox.bubble.cgroups import find_cgroups
from fastflow_runner.sandbox.naming import attempt_of

RUNS = 10_000
FIRST = 200
"""Runs before the first count: all that is made once has been made."""
SLOTS = 4
REST_S = 10.0
"""Pause before a count: what ends after a run has ended."""
SLACK = 4
"""Threads, descriptors and mounts that the service has now and then: idle connections and workers, other mounts."""
_PR_SET_CHILD_SUBREAPER = 36


async def measure(runs: int = RUNS) -> Table:
    """Count before, half way and after."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)  # a process that loses its parent is still below this one
    counts, ids = list[dict[str, float]](), set[str]()
    with tempfile.TemporaryDirectory() as folder:
        async with installations("bubble", RUNNER_SLOTS=str(SLOTS), TMPDIR=folder) as found:
            made = found["bubble"]
            for upto in (FIRST, FIRST + runs // 2, FIRST + runs):
                await _run(made, upto, ids)
                await asyncio.sleep(REST_S)
                _reap(made.pid)
                counts.append(_counts(made, Path(folder), ids))
                print(upto, counts[-1], file=sys.stderr, flush=True)
    return Table(f"Leaks: {runs:,} runs in `bubble`, after the first {FIRST}", tuple(_figures(counts)))


async def _run(made: Installation, upto: int, ids: set[str]) -> None:
    """Run until there are *upto* runs."""
    started = len(ids)

    async def one_after_the_other() -> None:
        nonlocal started
        while started < upto:
            started += 1
            ids.add(await made.run("hello"))
            _reap(made.pid)

    async with asyncio.TaskGroup() as group:
        for number in range(2 * SLOTS):
            group.create_task(one_after_the_other(), name=f"load-{number}")


def _reap(service: int) -> None:
    """Forget processes that lost their parent and have ended, as the first process of a machine does."""
    with suppress(ChildProcessError):
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and ended.si_pid != service:
            os.waitpid(ended.si_pid, 0)


def _counts(made: Installation, temporary: Path, ids: set[str]) -> dict[str, float]:
    """Count all that a run may leave."""
    below = descendants(os.getpid())
    names = [attempt_of(name) for name in find_cgroups().names()]
    places = (made.data / "bubble" / "sandboxes", temporary)
    return {
        "processes": len(below),
        "of these, helpers of networks": sum(_command(pid) in ("pasta", "pasta.avx2", "slirp4netns") for pid in below),
        "of these, bubblewrap": sum(_command(pid) == "bwrap" for pid in below),
        "mount namespaces": len(set(_namespaces(below, "mnt"))),
        "network namespaces": len(set(_namespaces(below, "net"))),
        "mounts of the service": len(Path(f"/proc/{made.pid}/mountinfo").read_text().splitlines()),
        "control groups of the runs": sum(each is not None and each.run_id in ids for each in names),
        "files of sandboxes and temporary ones": sum(len(list(place.rglob("*"))) for place in places),
        "descriptors of the service": len(os.listdir(f"/proc/{made.pid}/fd")),
        "threads of the service": len(os.listdir(f"/proc/{made.pid}/task")),
        "memory of the service": memory_mib(made.pid),
    }


def _command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def _namespaces(pids: list[int], kind: str) -> Iterator[str]:
    """Yield the namespaces of all threads of processes."""
    for pid in pids:
        with suppress(OSError):
            for thread in os.listdir(f"/proc/{pid}/task"):
                yield os.readlink(f"/proc/{pid}/task/{thread}/ns/{kind}")


def _figures(counts: list[dict[str, float]]) -> Iterator[Figure]:
    """Yield a line for each count: the last, which may not be above the first. Memory may: histories are kept in it."""
    first, half, last = counts
    for name in first:
        unit: Unit = "MiB" if name.startswith("memory") else ""
        slack = SLACK if name.endswith("of the service") else 0
        targets = () if unit else (Target("median", first[name] + slack),)
        before = f"{name}: {shown(first[name], unit).strip()} before, {shown(half[name], unit).strip()} half way, after"
        yield figure(before, [last[name]], unit, targets=targets)


if __name__ == "__main__":
    report(measure)
