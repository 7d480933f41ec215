"""A program under the real ``bwrap``, without the rest of a sandbox: to try one of its walls at a time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache

INTERPRETER = [word for prefix in (sys.prefix, sys.base_prefix) for word in ("--ro-bind", prefix, prefix)]
"""The options that show this interpreter, which may be below /tmp."""


@cache
def missing() -> str:
    """Return why bubblewrap does not work here, or ""."""
    if shutil.which("bwrap") is None:
        return "no bwrap here"
    tried = subprocess.run(_command(["true"]), capture_output=True, text=True, check=False)
    return tried.stderr.strip() if tried.returncode else ""


def start(
    argv: Sequence[str],
    *,
    filter_program: bytes | None = None,
    joined: Callable[[int], None] = lambda pid: None,
    options: Sequence[str] = (),
    env: dict[str, str] | None = None,
    user: int | None = None,
) -> subprocess.Popen[str]:
    """Start *argv* as process 1.

    Args:
        filter_program: Its filter of system calls.
        joined: Gets the pid before *argv* runs.
        options: More options of bwrap.
        user: Who starts bwrap; None: this user.
    """
    info_read, info_write = os.pipe()
    block_read, block_write = os.pipe()
    given = [info_write, block_read]
    more = ["--info-fd", str(info_write), "--block-fd", str(block_read), *options]
    if filter_program is not None:
        given.append(os.memfd_create("filter"))
        os.write(given[-1], filter_program)
        os.lseek(given[-1], 0, os.SEEK_SET)
        more += ["--seccomp", str(given[-1])]
    process = subprocess.Popen(
        _command(argv, more),
        pass_fds=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        user=user,
        group=user,
        extra_groups=None if user is None else [],
    )
    for descriptor in given:
        os.close(descriptor)
    with open(info_read, "rb") as info:
        told = info.read()
    if told:  # else it failed before, and says why on its stderr
        joined(json.loads(told)["child-pid"])
    with suppress(BrokenPipeError):
        os.write(block_write, b"x")
    os.close(block_write)
    return process


def python(source: str, *, filter_program: bytes | None = None, options: Sequence[str] = ()) -> tuple[str, str, int]:
    """Run *source* and return its output, its errors and its exit code."""
    process = start([sys.executable, "-c", source], filter_program=filter_program, options=[*INTERPRETER, *options])
    stdout, stderr = process.communicate(timeout=120)
    return stdout, stderr, process.returncode


def _command(argv: Sequence[str], options: Sequence[str] = ()) -> list[str]:
    walls = ["--unshare-all", "--uid", "65532", "--gid", "65532", "--new-session", "--as-pid-1", "--cap-drop", "ALL"]
    files = ["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--chdir", "/tmp"]
    return ["bwrap", *walls, *files, *options, *argv]
