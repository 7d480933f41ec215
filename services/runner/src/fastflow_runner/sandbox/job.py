"""The job as the runner states it: what a supervisor is to run, once, and what that must find. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from fastflow_contracts.pipelines.bundle import Bundle


class JobFile(msgspec.Struct, frozen=True):
    """A file given to the script beside its folder; its path is in the variable *env*."""

    env: str
    name: str
    data: bytes


class Hold(msgspec.Struct, frozen=True):
    """What keeps an environment from being collected: a shared lock on a byte of a file of the store."""

    path: str
    """Of that file, inside the sandbox."""
    byte: int
    python: str
    """The interpreter that must be there once the lock is held."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What a supervisor is to run, once."""

    argv: tuple[str, ...]
    """The command; an element ``{python}`` stands for *python*."""
    cwd: str
    """Name of the fresh directory that holds the unpacked bundle."""
    python: str | None = None
    """The interpreter's path inside the sandbox; None is the supervisor's own."""
    holds: tuple[Hold, ...] = ()
    """The environments it uses. If one is gone by now, user code is not started: see ``Exited``."""
    env: Mapping[str, str] = {}
    """Secrets included; on top of the sandbox's own few variables."""
    files: tuple[JobFile, ...] = ()
    timeout_s: float = 0
    """From the start of user code; 0 is none."""
    grace_s: float = 10
    """Between SIGTERM and SIGKILL."""
    dead_after_s: float = 180
    """Without a beat for this long the supervisor stops the job."""
    sample_s: float = 1
    """Between two samples of cpu and memory; 0 is none."""
    memory_bytes: int | None = None
    """Watched by the supervisor where no kernel limit holds (process sandboxes), else ignored."""
    cell_events: bool = False
    """Give the script a descriptor for events, one JSON object a line, named in ``FASTFLOW_CELL_EVENTS_FD``."""

    def stated(self, bundle: Bundle | None) -> dict[str, Any]:
        """The fields of its JOB frame; the files' bytes and the bundle's follow it as DATA."""
        return {
            "argv": self.argv,
            "cwd": self.cwd,
            "python": self.python,
            "holds": msgspec.to_builtins(self.holds),
            "env": dict(self.env),
            "timeout_s": self.timeout_s,
            "grace_s": self.grace_s,
            "dead_after_s": self.dead_after_s,
            "sample_s": self.sample_s,
            "memory_bytes": self.memory_bytes,
            "cell_events": self.cell_events,
            "files": [{"env": f.env, "name": f.name, "size_bytes": len(f.data)} for f in self.files],
            "bundle": None if bundle is None else {"sha256": bundle.sha256, "size_bytes": len(bundle.data)},
        }
