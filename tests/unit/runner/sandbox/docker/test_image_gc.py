"""Which old worker images are removed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fastflow_runner.sandbox.docker.image_gc import OLD_KEPT, unneeded

images = st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers(0, 9), max_size=6)


@given(images, st.text("abc", min_size=1, max_size=3))
def test_the_current_one_and_the_newest_before_it_stay(created: dict[str, int], current: str) -> None:
    """All others go, the oldest first."""
    gone = unneeded(created, current)
    kept = created.keys() - {current, *gone}
    assert current not in gone
    assert len(kept) == min(OLD_KEPT, len(created.keys() - {current}))
    assert [created[each] for each in gone] == sorted(created[each] for each in gone)
    assert all(created[old] <= created[new] for old in gone for new in kept)
