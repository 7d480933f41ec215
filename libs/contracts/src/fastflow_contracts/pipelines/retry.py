"""How long a run waits before its next attempt: the strategies of the format, and their delays. Pure.

Whether a run gets another attempt is the Run machine's decision.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias, assert_never

import msgspec

from fastflow_contracts.pipelines.value_types import Factor, Retries, Seconds, says

DEFAULT_DELAY_S = 60.0
"""Between attempts of a pipeline that names no strategy."""


class ExponentialBackoff(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="exponential_backoff"):
    """Waits longer each time."""

    initial_delay: Annotated[Seconds, says("Seconds before the first retry.")] = 60.0
    max_delay: Annotated[Seconds, says("Seconds no delay exceeds.")] = 3600.0
    multiplier: Annotated[Factor, says("How many times longer each delay is than the one before.")] = 2.0


class FixedDelay(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="fixed_delay"):
    """Waits equally long each time."""

    delay: Annotated[Seconds, says("Seconds before every retry.")] = 60.0


class CustomSchedule(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="custom_schedule"):
    """Waits as listed."""

    delays: Annotated[
        tuple[Seconds, ...],
        msgspec.Meta(description="Seconds before each retry; the last one repeats.", min_length=1),
    ]


RetryStrategy: TypeAlias = ExponentialBackoff | FixedDelay | CustomSchedule


class CellRetry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one code cell of a notebook is retried."""

    retries: Annotated[Retries, says("Attempts after the first.")] = 0
    delay_seconds: Annotated[Seconds, says("Seconds before each retry.")] = 1.0


def delay_s(strategy: RetryStrategy | None, k: int) -> float:
    """Seconds to wait before retry *k*, the first one being 1."""
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
    except OverflowError:  # beyond every float, hence beyond max_delay, unless nothing is to grow
        return strategy.max_delay if strategy.initial_delay else 0.0
    return min(strategy.initial_delay * growth, strategy.max_delay)
