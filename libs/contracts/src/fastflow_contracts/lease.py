"""How long a runner may be silent, and what follows when. Pure: the times that runners and schedulers must agree on.

All of them count from the last renewal of the runner's presence that the bus acknowledged::

    0 ─────────── lease ─────────────────── cut off ───────────── dead ─────────────── take over
      heartbeats to       no heartbeats; on       it stops its own      they have stopped    its runs may be
      its sandboxes       its daemon others       sandboxes             themselves           started again
                          may adopt them
"""

from __future__ import annotations

import msgspec

from fastflow_contracts.messages import PRESENCE_S

LEASE_S = 30.0
FENCE_S = 180.0


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """``lease_s``: a runner that is silent for longer may be gone. ``fence_s``: how much longer its sandboxes go on.

    Seconds; the same for all services of an installation.
    """

    lease_s: float = LEASE_S
    fence_s: float = FENCE_S

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
        """Between two looks at what exists on the daemon."""
        return self.lease_s / 2

    @property
    def cut_off_s(self) -> float:
        """A runner that cannot renew stops its sandboxes; their scripts have the rest of the time for last words."""
        return self.dead_s - self.lease_s * 2 / 3

    @property
    def dead_s(self) -> float:
        """A sandbox without news of its runner stops itself."""
        return self.lease_s + self.fence_s

    @property
    def take_over_s(self) -> float:
        """The run is taken away. What stopped itself has had time to end."""
        return self.dead_s + self.lease_s / 2
