"""The bounds of a bubble sandbox that hold without control groups, and what a script cannot take from its supervisor."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fastflow_runner.sandbox import SandboxSpec
from tests.process.runner.sandbox.test_bubble import bubble_sandboxes
from tests.sandbox_contract import Place

pytestmark = pytest.mark.bubble


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    sandboxes = bubble_sandboxes(tmp_path / "sandboxes")
    place = Place(sandboxes, SandboxSpec(name=""))
    try:
        yield place
    finally:
        await place.clear()
        await sandboxes.close()


async def test_a_script_cannot_end_its_supervisor(place: Place) -> None:
    """It has the same user, but changes none of its limits, files and priorities, and no signal reaches it."""
    transcript = await place.run(
        """
        import os, resource, signal
        for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}: os.kill(1, number)
        for number in (signal.SIGKILL, signal.SIGSTOP): os.kill(1, number)
        attempts = [lambda limit=limit: resource.prlimit(1, limit, (0, 0)) for limit in range(16)]
        attempts += [
            lambda: os.sched_setaffinity(1, {min(os.sched_getaffinity(0))}),
            lambda: os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0)),
            lambda: os.setpriority(os.PRIO_PROCESS, 1, 19),
            lambda: os.setpriority(os.PRIO_PGRP, 1, 19),
            lambda: os.setpriority(os.PRIO_USER, os.getuid(), 19),
            lambda: open("/proc/1/oom_score_adj", "w").write("1000"),
            lambda: open("/proc/1/mem", "rb").read(1),
            lambda: os.listdir("/proc/1/fd"),
            lambda: os.setpgid(1, 0),
        ]
        for number, attempt in enumerate(attempts):
            try: print(number, attempt())
            except OSError: pass
        print("still here")
        """
    )
    assert (transcript.stdout, transcript.stderr) == (b"still here\n", b"")
    assert transcript.exited.exit_code == 0
