"""How long a runner may be silent, and what follows when. Pure: the times that runners and schedulers must agree on.

All of them count from the last renewal of the runner's presence that the bus acknowledged::

    0 ─────────── lease ─────────────────── cut off ───────────── dead ─────────────── take over
      heartbeats to       no heartbeats; on       it stops its own      they have stopped    its runs may be
      its sandboxes       its daemon others       sandboxes             themselves           started again
                          may adopt them
"""

from __future__ import annotations

import msgspec

from fastflow_contracts.runs.presence import LEASE_S, PRESENCE_S

FENCE_S = 180.0
CLUSTER_SILENCE_S = 45.0
"""How long a bus of several servers may be silent when one of them freezes (measured: up to 37 s; killed: up to 10)."""


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """``lease_s``: a runner that is silent for longer may be gone. ``fence_s``: how much longer its sandboxes run.

    Seconds; the same for all services of an installation.
    """

    lease_s: float = LEASE_S
    fence_s: float = FENCE_S

    def complaint(self, *, copies: int) -> str | None:
        """Why these times are too short for a bus that keeps *copies* of everything; None if they are not."""
        if copies == 1 or self.cut_off_s >= self.renew_s + CLUSTER_SILENCE_S:
            return None
        return (
            f"FASTFLOW_LEASE_S {self.lease_s:g} and FASTFLOW_FENCE_S {self.fence_s:g} are too short for a bus of "
            f"several servers: when one of them fails, no message may arrive for {CLUSTER_SILENCE_S:g} s, and runners "
            f"stop their scripts after {self.cut_off_s:.0f} s (a third of the lease, and the fence)."
        )

    @property
    def renew_s(self) -> float:
        """Between two renewals of the presence."""
        return min(PRESENCE_S, self.lease_s / 6)

    @property
    def beat_s(self) -> float:
        """Between two heartbeats to a sandbox."""
        return self.lease_s / 3

    @property
    def sweep_s(self) -> float:
        """Between two checks of what exists on the daemon."""
        return self.lease_s / 2

    @property
    def cut_off_s(self) -> float:
        """A runner that cannot renew stops its sandboxes; their scripts have the rest of the time to clean up."""
        return self.dead_s - self.lease_s * 2 / 3

    @property
    def dead_s(self) -> float:
        """A sandbox without heartbeats from its runner stops itself."""
        return self.lease_s + self.fence_s

    @property
    def take_over_s(self) -> float:
        """The run is taken away. A sandbox that stopped itself has had time to end."""
        return self.dead_s + self.lease_s / 2
