"""Kills what takes part in a sandbox of bubblewrap, at random moments. A program: it prints what was left, as JSON.

Its arguments are an empty folder, what is killed (``runner``, or the name of a program below it), how often, and a
seed.
Each round opens one sandbox, with the network that runs get. All processes are below this one, also those that lose
their parent, so that it can count them.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import random
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from fastflow_runner.guest.supervisor.meters import descendants
from fastflow_runner.sandbox import SandboxError, SandboxSpec
from fastflow_runner.sandbox.bubble.cgroups import find_cgroups
from fastflow_runner.sandbox.bubble.launch import Launcher
from fastflow_runner.sandbox.bubble.network import BubbleNetworks
from fastflow_runner.sandbox.bubble.sandboxes import BubbleSandboxes
from fastflow_runner.sandbox.bubble.stage import Stage
from fastflow_runner.sandbox.bubble.syscalls import program
from fastflow_runner.sandbox.bubble.system import system_view
from fastflow_runner.sandbox.bubble.tools import find_bubblewrap

PATIENCE_S = 60.0
LATEST_S = 0.4
LOOK_S = 0.002
_PR_SET_CHILD_SUBREAPER = 36


def runner(root: Path) -> BubbleSandboxes:
    """Return the sandboxes of a new runner."""
    launcher = Launcher(find_bubblewrap(), system_view(), Stage(), program())
    return BubbleSandboxes(root, launcher, BubbleNetworks(network="fastflow"), find_cgroups())


def spec(name: str) -> SandboxSpec:
    return SandboxSpec(name=name, network="fastflow", memory_bytes=64 << 20, cpu_cores=1.0)


async def once(root: Path, name: str) -> str:
    """Open a sandbox and remove it; return what came of it."""
    sandboxes = runner(root)
    try:
        async with asyncio.timeout(PATIENCE_S):
            channel = await sandboxes.open(spec(name))
            await asyncio.sleep(LATEST_S / 2)  # a kill may come now
            await channel.close()
            await sandboxes.remove(name)
        return "opened"
    except SandboxError:
        return "refused"
    finally:
        await sandboxes.close()


async def kill_program(root: Path, name: str, program: str, after_s: float) -> str:
    """Kill the first process of *program* that is there *after_s* seconds after its runner began to open."""
    opening = asyncio.create_task(once(root, name))
    await asyncio.sleep(after_s)
    while not opening.done():
        found = [pid for pid in descendants(os.getpid()) if command(pid).startswith(program)]
        if found:
            with suppress(ProcessLookupError):
                os.kill(found[0], signal.SIGKILL)
            return f"killed, {await opening}"
        await asyncio.sleep(LOOK_S)
    return f"missed, {await opening}"


def kill_runner(root: Path, name: str, after_s: float) -> str:
    """Kill a runner that opens."""
    if (child := os.fork()) == 0:
        try:
            asyncio.run(once(root, name))
        finally:
            os._exit(0)
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    return "killed" if os.WIFSIGNALED(os.waitpid(child, 0)[1]) else "missed"


async def sweep(root: Path) -> None:
    """Do what the next runner does with what it does not know."""
    sandboxes = runner(root)
    for held in await sandboxes.held():
        await sandboxes.remove(held.name)
    await sandboxes.close()


async def left(root: Path, name: str) -> list[str]:
    """Return what is left, after the time that processes may take to end."""
    until, cgroups = time.monotonic() + PATIENCE_S, find_cgroups()
    while True:
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        found = [f"process {pid} {command(pid)}" for pid in descendants(os.getpid())]
        found += [f"file {path.name}" for path in root.glob("*")]
        groups = (each for each in cgroups.names() if each == name or is_stale_trial(each))
        found += [f"group {each}" for each in groups]
        if not found or time.monotonic() > until:
            return found
        await asyncio.sleep(LOOK_S)


def is_stale_trial(group: str) -> bool:
    """Whether a group is that of a runner that was killed while it found out what it may limit."""
    return group.startswith("ff-limits-") and not Path("/proc", group.removeprefix("ff-limits-")).exists()


def command(pid: int) -> str:
    """Return the name of a process, or "" if it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def main(root: Path, victim: str, rounds: int, seed: int) -> dict[str, Any]:
    """Return what came of each round, and the first thing that was left."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    dice, came = random.Random(seed), dict[str, int]()
    for number in range(rounds):
        name, after_s = f"ff-moments-{os.getpid()}-{number}", dice.uniform(0, LATEST_S)
        if victim == "runner":
            what = kill_runner(root, name, after_s)
        else:
            what = asyncio.run(kill_program(root, name, victim, after_s))
        came[what] = came.get(what, 0) + 1
        asyncio.run(sweep(root))
        if found := asyncio.run(left(root, name)):
            return {"came": came, "left": found, "round": number, "after_s": after_s}
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()  # others mount at the same time
    return {"came": came, "left": [line for line in mounts if str(root) in line]}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
