"""The events of a session, from the start of user code to the end of the sandbox. Data only."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypeAlias

import msgspec

Stream: TypeAlias = Literal["stdout", "stderr"]
Reason: TypeAlias = Literal["exited", "timeout", "stopped", "orphaned", "setup_error", "no_environment"]


class Offsets(msgspec.Struct, frozen=True):
    """How far each stream has got: bytes of stdout and stderr, number of events."""

    stdout: int = 0
    stderr: int = 0
    events: int = 0


class ScriptStarted(msgspec.Struct, frozen=True):
    """User code runs. Repeated to every session that attaches later."""

    at: datetime


class ScriptOutput(msgspec.Struct, frozen=True):
    """Bytes the script wrote: *offset* of the first in its stream, gapless and never twice in one session. The first
    of a resumed session may begin later than where that was to go on: see ``Session.resume``.
    """

    stream: Stream
    offset: int
    at: datetime
    data: bytes


class CellEvent(msgspec.Struct, frozen=True):
    """One line of JSON that a cell runner sent, counted from 0."""

    number: int
    at: datetime
    data: bytes


class UsageSample(msgspec.Struct, frozen=True):
    """What the sandbox used. Cores since the last sample; memory without the file cache, and its peak so far."""

    at: datetime
    cpu_cores: float
    memory_bytes: int
    memory_peak_bytes: int
    memory_limit_bytes: int | None


class Exited(msgspec.Struct, frozen=True):
    """The job is over and all its output has been received. The last event of a session. With ``setup_error`` and
    ``no_environment`` (see ``Job.holds``) user code was not started.

    ``exit_code`` is the script's own, 128 + n when signal n ended it, 126 or 127 when it could not be started.
    ``oom``: something was killed for want of memory. ``cpu_s``: processor time of all its processes.
    """

    exit_code: int
    reason: Reason
    oom: bool
    message: str
    at: datetime
    memory_peak_bytes: int
    cpu_s: float
    signal: int = 0
    """Which one ended the script; 0 = none did, or an older supervisor does not say."""


class Vanished(msgspec.Struct, frozen=True):
    """The sandbox ended without a word: killed from outside, or its supervisor was. The last event of a session."""

    exit_code: int | None
    oom_killed: bool


Event: TypeAlias = ScriptStarted | ScriptOutput | CellEvent | UsageSample | Exited | Vanished
