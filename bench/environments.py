"""The cost of a cached environment at a start: one script with no requirements, with a small one, with a heavy one.

The three take turns in random order, and each round's difference is against the same round without requirements. The
machine's pip fetches the packages once, into a store of the measurement's own.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.installation import installation
from bench.report import report
from bench.start import METADATA, PAUSE_S, SCRIPT, trigger_once, worker_image
from bench.table import Table, Target, figure, ms
from fastflow_runner.environments.store import STORE_PATH
from fastflow_runner.sandbox.docker.image import WORKER_PYTHON

SMALL = ("tzdata",)
HEAVY = ("pandas", "pyarrow")
ROUNDS = 25
WARM_UP = 3


async def measure(rounds: int = ROUNDS) -> Table:
    """Measure all three."""
    pipelines = {
        "bare": {"main.py": SCRIPT, "pipeline.json": METADATA},
        "small": {"main.py": SCRIPT, "pipeline.json": METADATA, "requirements.txt": _requirements(SMALL)},
        "heavy": {"main.py": SCRIPT, "pipeline.json": METADATA, "requirements.txt": _requirements(HEAVY)},
    }
    first: dict[str, list[float]] = {name: [] for name in pipelines}
    made_s = {}
    chosen, image = random.Random(1), worker_image()
    with _volume() as volume:
        async with installation(pipelines, settings={"FASTFLOW_STORE_VOLUME": volume}) as made:
            await asyncio.to_thread(_fill, volume, image)
            for name in pipelines:
                _, made_s[name] = await trigger_once(made, name)
            for number in range(-WARM_UP, rounds):
                for name in chosen.sample(sorted(pipelines), len(pipelines)):
                    await asyncio.sleep(PAUSE_S)
                    line_s, _ = await trigger_once(made, name)
                    if number >= 0:
                        first[name].append(line_s)
    bare = ms(first["bare"])
    small, heavy = ([a - b for a, b in zip(ms(first[name]), bare, strict=True)] for name in ("small", "heavy"))
    within = (Target("median", 5),)
    return Table(
        "Environments: webhook → first line of the same script, in turn",
        (
            figure("without requirements", bare, "ms"),
            figure(f"with {' and '.join(SMALL)}, cached", ms(first["small"]), "ms", floor=bare),
            figure("what that adds, round by round", small, "ms", targets=within),
            figure(f"with {' and '.join(HEAVY)}, cached", ms(first["heavy"]), "ms", floor=bare),
            figure("what that adds, round by round", heavy, "ms", targets=within),
            figure(f"the very first run with {' and '.join(HEAVY)}, from local files", [made_s["heavy"]], "s"),
        ),
    )


def _requirements(packages: tuple[str, ...]) -> str:
    return "\n".join(["--no-index", f"--find-links {STORE_PATH}/links", *packages, ""])


def _fill(volume: str, image: str) -> None:
    """Put the packages where preparers find them."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # the container runs as another user
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:"]
        subprocess.run([*pip, f"--python-version={WORKER_PYTHON}", f"--dest={folder}", *SMALL, *HEAVY], check=True)
        mounts = [f"--volume={volume}:{STORE_PATH}", f"--volume={folder}:/from:ro"]
        copy = ["--network=none", "--entrypoint=cp", image, "-r", "/from", f"{STORE_PATH}/links"]
        subprocess.run(["docker", "run", "--rm", *mounts, *copy], check=True)


@contextmanager
def _volume() -> Iterator[str]:
    name = f"fastflow-bench-{uuid.uuid4().hex[:8]}"
    try:
        yield name
    finally:
        subprocess.run(["docker", "volume", "rm", "--force", name], check=False, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    report(measure)
