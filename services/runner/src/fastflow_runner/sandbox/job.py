"""A job: what a supervisor runs once, and the files and environments that it needs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from fastflow_contracts.pipelines.folder.bundle import Bundle
from fastflow_runner.sandbox.folders import CarriedFolder


class JobFile(msgspec.Struct, frozen=True):
    """A file for the script, outside its folder. The variable *env* holds its path."""

    env: str
    name: str
    data: bytes


class AnswerFile(msgspec.Struct, frozen=True):
    """A file that the script may write. The variable *env* holds its path; ``Exited.answers`` has its content."""

    env: str
    name: str
    bytes_max: int
    """Of a longer file, one byte more comes back."""


class Hold(msgspec.Struct, frozen=True):
    """Protects an environment from removal: a shared lock on one byte of a file in the store."""

    path: str
    """The file's path inside the sandbox."""
    byte: int
    python: str
    """The interpreter that must exist once the lock is held."""


class SandboxJob(msgspec.Struct, frozen=True, kw_only=True):
    """A command that a supervisor runs once."""

    argv: tuple[str, ...]
    """The command. An element ``{python}`` is replaced by *python*."""
    cwd: str
    """Name of the new directory for the unpacked bundle."""
    python: str | None = None
    """The interpreter's path inside the sandbox; None = the supervisor's interpreter."""
    holds: tuple[Hold, ...] = ()
    """The environments that the job uses. If one no longer exists, user code does not start: see ``Exited``."""
    env: Mapping[str, str] = {}
    """Added to the sandbox's own variables. Includes secrets."""
    files: tuple[JobFile, ...] = ()
    answers: tuple[AnswerFile, ...] = ()
    folders: tuple[CarriedFolder, ...] = ()
    timeout_s: float = 0
    """Counted from the start of user code; 0 = no limit."""
    grace_s: float = 10
    """Time between SIGTERM and SIGKILL."""
    dead_after_s: float = 180
    """The supervisor stops the job after this time without a heartbeat."""
    sample_s: float = 1
    """Interval between samples of processor and memory use; 0 = no samples."""
    memory_bytes: int | None = None
    """The supervisor watches it where the kernel sets no limit (process sandboxes); otherwise ignored."""
    cell_events: bool = False
    """Give the script a descriptor for events (JSON lines); ``FASTFLOW_CELL_EVENTS_FD`` holds its number."""

    def stated(self, bundle: Bundle | None) -> dict[str, Any]:
        """Return the fields of the JOB frame. DATA frames with the files and the bundle follow it."""
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
            "answers": msgspec.to_builtins(self.answers),
            "folders": msgspec.to_builtins(self.folders),
            "bundle": None if bundle is None else {"sha256": bundle.sha256, "size_bytes": len(bundle.data)},
        }
