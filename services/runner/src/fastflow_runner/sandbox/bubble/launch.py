"""Starts one sandbox: bubblewrap, and between its walls and its first instruction what the runner adds. I/O.

Bubblewrap makes the namespaces and waits. Meanwhile the runner limits the process and orders its network, then lets it
go on. It is handed out when its supervisor has started and its network is there, whichever comes later.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack, suppress
from functools import cache, partial
from time import monotonic
from typing import Any, Final

import msgspec

from fastflow_runner.guest.supervisor.meters import descendants
from fastflow_runner.sandbox import SandboxError, SandboxSpec
from fastflow_runner.sandbox.bubble.command import Descriptors, bubble_command
from fastflow_runner.sandbox.bubble.failures import BubblewrapFailed, NetworkFailed
from fastflow_runner.sandbox.bubble.folder import SandboxFolder
from fastflow_runner.sandbox.bubble.network import NetworkPlan
from fastflow_runner.sandbox.bubble.stage import Stage, can_be
from fastflow_runner.sandbox.bubble.system import SystemView, small_files
from fastflow_runner.sandbox.bubble.tools import Bubblewrap

START_S: Final = 60.0
"""A machine that is this slow starts nothing."""
END_S: Final = 30.0
"""How long killed processes may take to end: one in the middle of a write to a slow disk ends after it."""
END_PAUSE_S: Final = 0.002
NAMED_S: Final = 1.0
"""How long bubblewrap may take to tell the process of a sandbox. If it ended first, that process would wait forever."""
_INFO_BYTES_MAX: Final = 4096


class Launcher(msgspec.Struct, frozen=True):
    """What all sandboxes of a runner are started with."""

    bubblewrap: Bubblewrap
    view: SystemView
    stage: Stage
    seccomp: bytes | None = None
    """The program that filters system calls; None: there is none."""


Prepare = Callable[[int], Awaitable[asyncio.Task[None] | None]]
"""Called with the process id of a sandbox that waits before its first instruction.

The task that it returns goes on while the supervisor starts, which runs nothing before the sandbox is handed out.
"""


async def launch(
    launcher: Launcher,
    folder: SandboxFolder,
    spec: SandboxSpec,
    plan: NetworkPlan,
    prepare: Prepare,
    *,
    limits_processes: bool = False,
) -> subprocess.Popen[bytes]:
    """Start the sandbox of *folder*, and return its bubblewrap.

    Args:
        plan: Its network, which *prepare* gives it.
        limits_processes: Whether its supervisor limits the number of its processes.

    Raises:
        SandboxError: It did not start; no process of it is left.
    """
    with ExitStack() as ours:
        with ExitStack() as theirs:
            info, its_info = _pipe(ours, theirs)
            its_block, block = _pipe(theirs, ours)
            began, its_began = _pipe(ours, theirs)
            *standard, status = theirs.enter_context(folder.for_the_sandbox())
            mounts = (*launcher.view.mounts, *spec.mounts)
            contents = {**launcher.view.files, **small_files(spec.user, plan.hosts, plan.resolv_conf)}
            files = {path: _file(content, theirs) for path, content in contents.items()}
            seccomp = [] if launcher.seccomp is None else [_file(launcher.seccomp, theirs)]
            argv = bubble_command(
                launcher.bubblewrap.path,
                launcher.view.python,
                spec,
                mounts,
                launcher.view.links,
                launcher.view.env,
                files,
                Descriptors(its_info, status, its_block, its_began, seccomp=seccomp[0] if seccomp else None),
                shares_network=plan.is_shared,
                limits_processes=limits_processes,
            )
            passed = [its_info, its_block, its_began, status, *files.values(), *seccomp]
            spawn = partial(_spawn, argv, spec.user, standard, passed)
            process = launcher.stage.call(
                spawn, [*launcher.bubblewrap.files, *(mount.source for mount in mounts)], spec.user
            )
        going_on: asyncio.Task[None] | None = None
        is_there = False
        try:
            async with asyncio.timeout(START_S):
                if (pid := _pid(await _read(info))) is not None:
                    going_on = await prepare(pid)
                    with suppress(BrokenPipeError):  # it has ended
                        os.write(block, b"x")
                    is_there = bool(await _read(began))  # only the sandbox has the other end: else it has ended
                    if going_on is not None:
                        await going_on
            if not is_there:
                raise BubblewrapFailed(folder.said())
        except BaseException as error:
            said = folder.said()
            if going_on is not None:
                going_on.cancel()
                await asyncio.wait((going_on,))
            await asyncio.shield(end(folder, process))
            is_result = error.part == "sandbox" if isinstance(error, NetworkFailed) else bool(said)
            if is_result and isinstance(error, SandboxError):  # bubblewrap had ended: what came of it matters less
                raise BubblewrapFailed(said) from error
            if isinstance(error, TimeoutError):
                raise SandboxError(f"bubblewrap did not start the sandbox within {START_S:.0f} s.") from None
            raise
        return process


async def end(folder: SandboxFolder, process: subprocess.Popen[bytes] | None = None) -> None:
    """Kill all processes of a sandbox, and wait until they are gone. Can be repeated.

    Args:
        process: Its bubblewrap, if this runner started it.

    Raises:
        SandboxError: They do not end.
    """
    began = monotonic()
    while (process is not None and process.poll() is None) or folder.is_alive():
        if (first := folder.process()) is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(first, signal.SIGKILL)  # the kernel then kills all others in it
            os.close(first)
        elif folder.pid() is None and monotonic() > began + NAMED_S:  # bubblewrap did not tell, or the folder is gone
            for pid in (*folder.holders(), *(() if process is None else descendants(process.pid))):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if monotonic() > began + END_S:
            raise SandboxError(f"the processes of the sandbox {folder.name} do not end; see {folder.path}.")
        await asyncio.sleep(END_PAUSE_S)


def _spawn(argv: list[str], user: int, standard: Sequence[int], passed: Sequence[int]) -> subprocess.Popen[bytes]:
    """Start bubblewrap as the sandbox's user if this process is root, so that nobody in it is the host's root.

    A program changes the user if it is here: for that Python itself copies this process first, which takes longer than
    all that bubblewrap does.
    """
    stdin, stdout, stderr = standard
    other: dict[str, Any] = {}
    if can_be(user) and (setpriv := _setpriv()) is not None:
        argv = [setpriv, f"--reuid={user}", f"--regid={user}", "--clear-groups", *argv]
    elif can_be(user):
        other = {"user": user, "group": user, "extra_groups": []}
    try:
        return subprocess.Popen(
            argv,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=tuple(passed),
            cwd="/",
            env={},
            start_new_session=True,  # Ctrl-C in the terminal must reach only the runner
            **other,
        )
    except OSError as error:
        raise BubblewrapFailed(f"it cannot be started ({error})") from error


@cache
def _setpriv() -> str | None:
    """Return the path of util-linux's ``setpriv``; None if it is not here."""
    found = shutil.which("setpriv")
    return found if found and "util-linux" in _version(found) else None


def _version(program: str) -> str:
    try:
        return subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""


def _pipe(read: ExitStack, write: ExitStack) -> tuple[int, int]:
    """Return a pipe's two ends, which the two stacks close."""
    ends = os.pipe()
    read.callback(os.close, ends[0])
    write.callback(os.close, ends[1])
    return ends


def _file(content: bytes, stack: ExitStack) -> int:
    """Return a descriptor from which *content* can be read once."""
    descriptor = os.memfd_create("fastflow", os.MFD_CLOEXEC)
    stack.callback(os.close, descriptor)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


async def _read(descriptor: int) -> bytes:
    """Read a pipe to its end."""
    loop = asyncio.get_running_loop()
    os.set_blocking(descriptor, False)
    data = b""
    while True:
        try:
            if not (more := os.read(descriptor, _INFO_BYTES_MAX)):
                return data
            data += more
        except BlockingIOError:
            ready = asyncio.Event()
            loop.add_reader(descriptor, ready.set)
            try:
                await ready.wait()
            finally:
                loop.remove_reader(descriptor)


def _pid(info: bytes) -> int | None:
    """Return the process id of the sandbox as this machine counts; None if bubblewrap failed."""
    try:
        return msgspec.json.decode(info, type=_Info).child_pid
    except msgspec.MsgspecError:
        return None


class _Info(msgspec.Struct, rename="kebab"):
    child_pid: int
