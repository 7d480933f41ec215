"""The events of a session, from the start of user code to the end of the sandbox. Data only."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypeAlias

import msgspec

from fastflow_runner.sandbox.folders import LeftFolder

Stream: TypeAlias = Literal["stdout", "stderr"]
Reason: TypeAlias = Literal["exited", "timeout", "stopped", "orphaned", "setup_error", "no_environment"]


class Offsets(msgspec.Struct, frozen=True):
    """Position in each stream: bytes of stdout and stderr, number of events."""

    stdout: int = 0
    stderr: int = 0
    events: int = 0


class ScriptStarted(msgspec.Struct, frozen=True):
    """User code has started. Every session that attaches later gets it again."""

    at: datetime


class ScriptOutput(msgspec.Struct, frozen=True):
    """Bytes that the script wrote; *offset* is the position of the first byte in its stream.

    One session gets each byte once, without gaps. The first output of a resumed session may start later than
    requested: see ``Session.resume``.
    """

    stream: Stream
    offset: int
    at: datetime
    data: bytes


class CellRunnerEvent(msgspec.Struct, frozen=True):
    """One line of JSON from a cell runner, numbered from 0."""

    number: int
    at: datetime
    data: bytes


class UsageSample(msgspec.Struct, frozen=True):
    """Resources that the sandbox used: cores since the last sample, memory without the file cache, its peak so far."""

    at: datetime
    cpu_cores: float
    memory_bytes: int
    memory_peak_bytes: int
    memory_limit_bytes: int | None


class Answer(msgspec.Struct, frozen=True):
    """What the script wrote to one of its answer files, or why that could not be read."""

    data: bytes = b""
    problem: str = ""


class Exited(msgspec.Struct, frozen=True):
    """The job has ended and all its output has been received. The last event of a session.

    With ``setup_error`` and ``no_environment`` (see ``Job.holds``), user code did not start. ``exit_code`` is the
    script's, 128 + n if signal n ended it, 126 or 127 if it could not start. ``oom``: a process was killed because
    memory ran out. ``cpu_s``: processor time of all processes.
    """

    exit_code: int
    reason: Reason
    oom: bool
    message: str
    at: datetime
    memory_peak_bytes: int
    cpu_s: float
    signal: int = 0
    """The signal that ended the script; 0 = none, or unknown (an older supervisor)."""
    answers: dict[str, Answer] = {}
    """By the name of the file; without those that the script left empty."""
    files_bytes: int = 0
    """How much memory files take at the end. 0 = none, or they are not in memory, or unknown."""
    folders: dict[str, LeftFolder] = {}
    """By name, those of the job that go back; none if user code did not start."""


class Vanished(msgspec.Struct, frozen=True):
    """The sandbox ended without ``Exited``: it or its supervisor was killed. The last event of a session."""

    exit_code: int | None
    oom_killed: bool


Event: TypeAlias = ScriptStarted | ScriptOutput | CellRunnerEvent | UsageSample | Exited | Vanished
