"""Opens the bubblewrap backend as a runner does, and prints ``works`` or why not. A program for the tests.

Its arguments are the data folder and the network of runs.
"""

from __future__ import annotations

import asyncio
import os
import sys

from fastflow_runner.backend.bubble import bubble_backend
from fastflow_runner.sandbox.bubble.tools import NoBubble
from fastflow_runner.settings import RunnerSettings


async def trial(data_dir: str, network: str) -> str:
    settings = RunnerSettings(data_dir=data_dir, network=network)
    try:
        backend = await bubble_backend(settings, "runner-1", os.environ, "test")
    except NoBubble as no:
        return f"{no}: {no.hint}"
    assert await backend.sandboxes.held() == ()
    await backend.sandboxes.close()
    return "works"


if __name__ == "__main__":
    print(asyncio.run(trial(sys.argv[1], sys.argv[2])))
