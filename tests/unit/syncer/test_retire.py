"""Which bundles may be deleted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from fastflow_contracts.bus.objects import Uploaded
from fastflow_syncer.retire import KEPT_S, retirable, unused

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_bundle_is_deleted_only_if_it_is_old_and_unused_twice() -> None:
    """A young one stays, and so does a used one, or one that is unused for the first time."""
    at = T0 + timedelta(seconds=2 * KEPT_S)
    young = Uploaded(at - timedelta(seconds=KEPT_S - 1), 1)
    uploaded = {"old": Uploaded(T0, 1), "used": Uploaded(T0, 1), "young": young}
    assert unused(uploaded, {"used"}, at) == {"old"}
    assert retirable(uploaded, {"used"}, frozenset(), at) == frozenset()
    assert retirable(uploaded, {"used"}, frozenset({"old", "used", "young"}), at) == {"old"}
