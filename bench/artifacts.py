"""One large artifact on its way from a script to the bus, and from there into the sandbox of the run that needs it.

``python -m bench.artifacts 1024`` takes a file of that many MiB. Its floor is ``dd`` of the same file, with fsync.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import tempfile
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.installation import KEY, Installation, installation
from bench.report import report
from bench.table import Table, Target, figure
from fastflow_runner.guest.supervisor.meters import descendants

SIZE_MIB = 1024
MEMORY_MIB_MAX = 64
"""Of more memory in any service."""
LOOK_S = 0.01
SETTLE_S = 5.0
LEAVES = """\
import os, pathlib, time
block = os.urandom(1024 * 1024)
with open(pathlib.Path(os.environ["FASTFLOW_ARTIFACTS_DIR"], "large.bin"), "wb") as file:
    for number in range({size}):
        file.write(number.to_bytes(8, "big") + block[8:])
print(time.time())
"""
NEEDS = """\
import os, pathlib
print(pathlib.Path(os.environ["FASTFLOW_PARENT_ARTIFACTS_DIR"], "large.bin").stat().st_size)
"""


async def measure(size_mib: int = SIZE_MIB) -> Table:
    """Measure once: from the last line of the script to its recorded end, and from the sandbox to the next script."""
    links = {"webhook_key": KEY, "downstream_triggers": [{"pipeline": "needs", "needs_artifacts": True}]}
    files = {"main.py": LEAVES.replace("{size}", str(size_mib)), "pipeline.json": json.dumps(links)}
    pipelines = {"leaves": files, "needs": {"main.py": NEEDS}, "warm": {"main.py": "print(1)"}}
    settings = {"FASTFLOW_ARTIFACTS_BYTES_MAX": str(2 * size_mib * 1024**2)}
    async with installation(pipelines, sandbox="process", settings=settings) as made:
        await made.run("warm")
        await asyncio.sleep(SETTLE_S)
        bus = int((made.data / "bus.pid").read_text())
        before = {pid: _memory_mib(pid) for pid in (made.pid, bus)}
        watch = _Watch(made.pid, bus)
        watching = asyncio.create_task(watch.look(), name="watch")
        run_id = await made.run("leaves")
        ended_at = time.time()
        async with made.http.get(f"{made.url}/api/runs/{run_id}/logs") as logs:
            out_s = ended_at - float((await logs.text()).split()[-1])
        needing = await _child(made)
        watching.cancel()
        async with made.http.get(f"{made.url}/api/runs/{needing['id']}/logs") as logs:
            assert int((await logs.text()).split()[-1]) == size_mib * 1024**2
        attempt = needing["attempts"][0]
        in_s = _moment(attempt["started_at"]) - _moment(attempt["prepared_at"])
    floor_s = await asyncio.to_thread(_copied_s, size_mib)
    most = (Target("median", MEMORY_MIB_MAX),)
    return Table(
        f"Artifacts: a file of {size_mib:,} MiB, in plain processes",
        (
            figure("from the script's last line to its recorded end", [out_s], "s", floor=[floor_s]),
            figure("from the sandbox of the next run to its start", [in_s], "s", floor=[floor_s]),
            figure("more memory of all four services", [watch.most[made.pid] - before[made.pid]], "MiB", targets=most),
            figure("memory of a supervisor", [watch.most[0]], "MiB", targets=most),
            figure("more memory of the bus server", [watch.most[bus] - before[bus]], "MiB"),
        ),
        ("The floor is `dd` of the file with `conv=fsync`.",),
    )


class _Watch:
    """The most memory that processes used at a look; 0 stands for all supervisors."""

    def __init__(self, *pids: int) -> None:
        self.most = dict.fromkeys((0, *pids), 0.0)

    async def look(self) -> None:
        while True:
            for pid in (pid for pid in self.most if pid):
                self.most[pid] = max(self.most[pid], _memory_mib(pid))
                for below in descendants(pid):
                    if "supervisor" in _command(below):
                        self.most[0] = max(self.most[0], _memory_mib(below))
            await asyncio.sleep(LOOK_S)


def _memory_mib(pid: int) -> float:
    """Return the memory that a process has for itself: the pages of files that it reads are not counted."""
    with suppress(OSError, IndexError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) / 1024
    return 0.0


def _command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


async def _child(made: Installation) -> dict[str, Any]:
    while True:
        runs = (await _get(made, "/api/runs?pipeline_name=needs"))["runs"]
        if runs and runs[0]["finished_at"]:
            run = await _get(made, f"/api/runs/{runs[0]['id']}")
            assert run["status"] == "SUCCESS", run
            return run
        await asyncio.sleep(0.1)


async def _get(made: Installation, path: str) -> dict[str, Any]:
    async with made.http.get(f"{made.url}{path}") as response:
        return dict(await response.json())


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _copied_s(size_mib: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "source"), Path(folder, "target")
        subprocess.run(
            ["dd", "if=/dev/urandom", f"of={source}", "bs=1M", f"count={size_mib}", "status=none"], check=True
        )
        began = time.perf_counter()
        subprocess.run(
            ["dd", f"if={source}", f"of={target}", "bs=1M", "conv=fsync", "status=none"],
            check=True,
        )
        return time.perf_counter() - began


if __name__ == "__main__":
    report(measure)
