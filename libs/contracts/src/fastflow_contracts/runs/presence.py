"""The presence of a runner: the record that it renews, and the one rule for a runner that is gone. Data only."""

from __future__ import annotations

from fastflow_contracts.base import Amount, Count, Duration, Fact, Instant
from fastflow_contracts.codec import Codec, Malformed

PRESENCE_S = 5.0
"""How often a runner renews its presence."""
LEASE_S = 30.0
"""How long a runner may be silent, unless FASTFLOW_LEASE_S says otherwise."""
LEASE_S_MAX = 86_400.0
"""Longer than the bus keeps a presence that is not renewed."""


class Presence(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A runner is alive. Stored under ``runner.<id>`` and renewed by compare-and-set every ``PRESENCE_S``."""

    v: Count = 1
    runner: str
    instance: str
    """Random per process: a second process with the same runner id takes over, the first one notices and ends."""
    host: str
    version: str
    sandbox: str
    """``docker`` or ``process``."""
    sandbox_reason: str = ""
    """Why it is not Docker, if its settings leave the choice: one clause, for people."""
    daemon: str | None = None
    """The Docker daemon's id, only for people: clones of a machine have the same id."""
    slots: Count
    busy: Count = 0
    load: Amount = 0.0
    """Of its host: processes that ran or wanted to, mean of the last minute, for each core."""
    environments: Count = 0
    """Number of ready environments in its store, as far as it knows."""
    kinds: tuple[str, ...] = ("script",)
    labels: tuple[str, ...] = ()
    """What runs may ask for with ``runs_on``."""
    only_labelled: bool = False
    """Whether it takes no run that asks for no label."""
    unenforced: tuple[str, ...] = ()
    """What this runner's sandbox cannot enforce, one sentence each."""
    started_at: Instant
    seen_at: Instant
    """Its own clock; readers judge age by the bus's timestamp of the record."""
    leaving: bool = False
    """It takes no more work."""
    paused: bool = False
    """It takes no work for now: its Docker daemon does not answer."""
    degraded: tuple[str, ...] = ()
    """Its parts that failed and are not well again yet, one clause each."""
    gone: bool = False
    """It has ended, and other runners on that daemon may take over its sandboxes."""
    lease_s: Duration = LEASE_S
    """How long it may be silent."""


PRESENCE = Codec(Presence)


def check_presence(runner: str, presence: Presence) -> None:
    """Check a stored presence. Raises ``Malformed`` if it is another runner's, or says what no runner says."""
    if presence.runner != runner:
        raise Malformed(f"it is the presence of runner {presence.runner[:64]!r}")
    if not 0 < presence.lease_s <= LEASE_S_MAX:
        raise Malformed(f"its lease of {presence.lease_s:g} s is not between 0 and {LEASE_S_MAX:g}")


def is_gone(presence: Presence | None, *, silent_s: float, lease_s: float = LEASE_S) -> bool:
    """Return whether a runner counts as gone: the one rule for all callers.

    Args:
        presence: Its presence; None if it is missing or unreadable.
        silent_s: For how long it was not renewed: by the age that the bus gives the record, or as it was observed here.
        lease_s: How long a runner without a presence may be silent.

    Returns:
        True if it reported its end, or was silent for longer than its lease.
    """
    if presence is None:
        return silent_s > lease_s
    return presence.gone or silent_s > presence.lease_s
