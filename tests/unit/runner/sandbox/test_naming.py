"""What the names of containers say."""

from __future__ import annotations

from fastflow_runner.sandbox.naming import AttemptId, attempt_name, attempt_of, is_warm, warm_name
from tests.support.ids import fresh_run_id


def test_the_attempt_is_read_from_the_name() -> None:
    """Warm sandboxes and preparers have no attempt."""
    attempt = AttemptId(fresh_run_id(), 12)
    assert attempt_of(attempt_name("0123456789abcdef", attempt)) == attempt
    for name in (warm_name("0123456789abcdef"), "ff-prepare-0123456789abcdef", "ff-x", f"ff-01234567-{attempt.run_id}"):
        assert attempt_of(name) is None
    assert is_warm(warm_name("0123456789abcdef"))
    assert not is_warm(attempt_name("0123456789abcdef", attempt))
