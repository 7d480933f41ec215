"""Delays between attempts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastflow_contracts.pipelines.format.retry import (
    CustomSchedule,
    ExponentialBackoff,
    FixedDelay,
    RetryStrategy,
    delay_s,
)

NUMBERS = st.floats(0, 1e6)


@pytest.mark.parametrize(
    ("strategy", "delays"),
    [
        (None, [60, 60, 60]),
        (FixedDelay(delay=120), [120, 120, 120]),
        (FixedDelay(), [60, 60, 60]),
        (CustomSchedule(delays=(60, 300, 3600)), [60, 300, 3600, 3600, 3600]),
        (
            ExponentialBackoff(initial_delay=60, max_delay=3600, multiplier=2),
            [60, 120, 240, 480, 960, 1920, 3600, 3600],
        ),
        (ExponentialBackoff(initial_delay=10, max_delay=5, multiplier=2), [5, 5]),
        (ExponentialBackoff(initial_delay=8, max_delay=100, multiplier=0.5), [8, 4, 2]),
    ],
)
def test_each_strategy_waits_as_the_format_says(strategy: RetryStrategy | None, delays: list[float]) -> None:
    """Counted from the first retry."""
    assert [delay_s(strategy, k) for k in range(1, len(delays) + 1)] == delays


@given(NUMBERS, NUMBERS, st.floats(1e-6, 1e6), st.integers(1, 10**6))
def test_back_off_is_bounded(initial: float, longest: float, multiplier: float, k: int) -> None:
    """With any number of retries, no delay exceeds the longest one or is negative."""
    strategy = ExponentialBackoff(initial_delay=initial, max_delay=longest, multiplier=multiplier)
    assert 0 <= delay_s(strategy, k) <= longest


@given(NUMBERS, st.floats(1, 100), st.integers(1, 1000))
def test_back_off_grows(initial: float, multiplier: float, k: int) -> None:
    """With a multiplier of at least 1 no delay is shorter than the one before."""
    strategy = ExponentialBackoff(initial_delay=initial, max_delay=1e9, multiplier=multiplier)
    assert delay_s(strategy, k) <= delay_s(strategy, k + 1)


def test_retries_count_from_one() -> None:
    """There is no retry 0."""
    with pytest.raises(ValueError, match="count from 1"):
        delay_s(None, 0)
