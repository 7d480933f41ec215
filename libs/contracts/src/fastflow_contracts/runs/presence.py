"""TODO."""

from __future__ import annotations

from datetime import datetime

from fastflow_contracts.base import Fact
from fastflow_contracts.codec import Codec


class Presence(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A runner is alive. Stored under ``runner.<id>`` and renewed by compare-and-set every ``PRESENCE_S``."""

    v: int = 1
    runner: str
    instance: str
    """Random per process: a second process with the same runner id takes over, the first one notices and ends."""
    host: str
    version: str
    sandbox: str
    """``docker`` or ``process``."""
    sandbox_reason: str = ""
    """Why it is not Docker, where its settings leave the choice: one clause, for people."""
    daemon: str | None = None
    """What the Docker daemon calls itself, for people: clones of a machine say the same, so nothing follows from it."""
    slots: int
    busy: int = 0
    load: float = 0.0
    """Of its host: processes that ran or wanted to, mean of the last minute, for each core."""
    environments: int = 0
    """That stand ready in its store, as far as it knows."""
    kinds: tuple[str, ...] = ("script",)
    unenforced: tuple[str, ...] = ()
    """What this runner's sandbox cannot enforce, one sentence each."""
    started_at: datetime
    seen_at: datetime
    """Its own clock; readers judge age by the bus's timestamp of the record."""
    leaving: bool = False
    """It takes no more work."""
    paused: bool = False
    """It takes no work for now: its Docker daemon does not answer."""
    gone: bool = False
    """Its last words: it has ended, and whatever sandboxes it left are for others on that daemon."""


PRESENCE_S = 5.0
"""How often a runner renews its presence."""

PRESENCE = Codec(Presence)
