"""The times around a silent runner keep their order with any settings."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fastflow_contracts.runs.lease import CLUSTER_SILENCE_S, Lease

LEASES = st.builds(Lease, lease_s=st.floats(1, 3600), fence_s=st.floats(0, 86_400))


@given(LEASES)
def test_a_run_is_taken_away_only_after_its_sandbox_had_time_to_end(lease: Lease) -> None:
    """The runner stops the sandbox first, then the sandbox stops itself, and only then may another runner start the
    run.
    """
    assert lease.cut_off_s < lease.dead_s < lease.take_over_s


@given(LEASES)
def test_one_lost_renewal_or_heartbeat_changes_nothing(lease: Lease) -> None:
    """At least two fit into the time after which they are missed."""
    assert 2 * lease.renew_s < lease.lease_s
    assert 2 * lease.beat_s < lease.dead_s


def test_times_too_short_for_a_change_of_leader_are_reported() -> None:
    """A single server has no such silence. The defaults are long enough."""
    short = Lease(lease_s=6, fence_s=10)
    assert short.complaint(copies=1) is None
    assert Lease().complaint(copies=3) is None
    said = short.complaint(copies=3)
    assert said is not None
    assert "FASTFLOW_LEASE_S 6 and FASTFLOW_FENCE_S 10 are too short" in said
    assert "stop their scripts after 12 s" in said


@given(LEASES)
def test_accepted_times_are_longer_than_a_change_of_leader(lease: Lease) -> None:
    """A runner that renewed just before the silence renews again before it stops its runs."""
    if lease.complaint(copies=3) is None:
        assert lease.renew_s + CLUSTER_SILENCE_S <= lease.cut_off_s < lease.take_over_s
