"""Retry strategies of the format, and the delays before each attempt. Pure.

The run state machine decides whether a run gets another attempt.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias, assert_never

import msgspec

from fastflow_contracts.pipelines.format.value_types import Factor, Retries, Seconds, says

DEFAULT_DELAY_S = 60.0
"""Delay between attempts without a strategy."""


class ExponentialBackoff(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="exponential_backoff"):
    """Waits longer before each retry."""

    initial_delay: Annotated[Seconds, says("Seconds before the first retry.")] = 60.0
    max_delay: Annotated[Seconds, says("Longest delay in seconds.")] = 3600.0
    multiplier: Annotated[Factor, says("Factor from each delay to the next.")] = 2.0


class FixedDelay(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="fixed_delay"):
    """Waits the same time before each retry."""

    delay: Annotated[Seconds, says("Seconds before every retry.")] = 60.0


class CustomSchedule(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="custom_schedule"):
    """Waits the listed times."""

    delays: Annotated[
        tuple[Seconds, ...],
        msgspec.Meta(description="Seconds before each retry; the last one repeats.", min_length=1),
    ]


RetryStrategy: TypeAlias = ExponentialBackoff | FixedDelay | CustomSchedule


class CellRetry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Retries of one code cell of a notebook."""

    retries: Annotated[Retries, says("Attempts after the first.")] = 0
    delay_seconds: Annotated[Seconds, says("Seconds before each retry.")] = 1.0


def delay_s(strategy: RetryStrategy | None, k: int) -> float:
    """Return the seconds to wait before retry *k*, counted from 1."""
    if k < 1:
        raise ValueError(f"retries count from 1, not {k}")
    match strategy:
        case None:
            return DEFAULT_DELAY_S
        case ExponentialBackoff():
            return _exponential_s(strategy, k)
        case FixedDelay():
            return strategy.delay
        case CustomSchedule():
            return strategy.delays[min(k, len(strategy.delays)) - 1]
        case _:
            assert_never(strategy)


def _exponential_s(strategy: ExponentialBackoff, k: int) -> float:
    try:
        growth = strategy.multiplier ** (k - 1)
    except OverflowError:  # larger than any float, so larger than max_delay; but 0 does not grow
        return strategy.max_delay if strategy.initial_delay else 0.0
    return min(strategy.initial_delay * growth, strategy.max_delay)
