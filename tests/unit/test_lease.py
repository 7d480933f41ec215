"""The times around a silent runner keep their order, whatever the settings."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fastflow_contracts.lease import Lease

LEASES = st.builds(Lease, lease_s=st.floats(1, 3600), fence_s=st.floats(0, 86_400))


@given(LEASES)
def test_a_run_is_taken_away_only_when_its_sandbox_has_had_time_to_end(lease: Lease) -> None:
    """Stopped by its runner before it stops itself, and that before anybody else may start it again."""
    assert lease.cut_off_s < lease.dead_s < lease.take_over_s


@given(LEASES)
def test_one_lost_renewal_or_heartbeat_changes_nothing(lease: Lease) -> None:
    """At least two fit into the time after which they are missed."""
    assert 2 * lease.renew_s < lease.lease_s
    assert 2 * lease.beat_s < lease.dead_s
