"""How many warm sandboxes there are, and with which limits: the remembered demand, and the plan step by step."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fastflow_runner.sandbox.demand import (
    AT_ONCE_S,
    DEMAND_S,
    Demand,
    Open,
    Remove,
    WarmLimits,
    plan,
)

FREE, SMALL, BIG = WarmLimits(), WarmLimits(64, 1.0), WarmLimits(512, 2.0)
MEMORY_ONLY = WarmLimits(64, None)

any_limits = st.sampled_from([FREE, SMALL, BIG, MEMORY_ONLY])


def settled(waiting: list[WarmLimits], likely: list[WarmLimits]) -> tuple[list[WarmLimits], int]:
    """Return the final pool, and the number of steps."""
    waiting, steps = list(waiting), 0
    while (step := plan(waiting, likely)) is not None:
        steps += 1
        assert steps < 100
        match step:
            case Open(limits=limits):
                waiting.append(limits)
            case Remove(index=index):
                del waiting[index]
    return waiting, steps


def likely(*wishes: tuple[float, WarmLimits], at: float, size_max: int = 8) -> list[WarmLimits]:
    """Return what is likely at a time, after *wishes*."""
    demand = Demand(size_max)
    for then, limits in wishes:
        demand.note(then, limits)
    return demand.likely(at)


def test_one_sandbox_waits_before_any_run() -> None:
    """The first run of a runner gets a warm sandbox, with any limits; so does the first one after a long time."""
    assert likely(at=0) == [FREE]
    assert likely((0, SMALL), at=DEMAND_S + 1) == [FREE]


def test_one_run_a_minute_needs_one_warm_sandbox() -> None:
    """It is replaced long before the next run."""
    assert likely(*((60.0 * minute, SMALL) for minute in range(10)), at=600) == [SMALL]


def test_as_many_are_likely_as_were_wanted_at_once() -> None:
    """Up to the bound, the latest first, until that was long ago."""
    burst = [(2.0, BIG), (2.0, SMALL), (2.0 + AT_ONCE_S / 2, SMALL)]
    assert likely(*burst, at=60) == [SMALL, SMALL, BIG]
    assert likely(*burst, at=60, size_max=2) == [SMALL, SMALL]
    assert likely(*burst, (300, MEMORY_ONLY), at=DEMAND_S) == [MEMORY_ONLY, SMALL, SMALL]
    assert likely(*burst, (300, MEMORY_ONLY), at=DEMAND_S + 8) == [MEMORY_ONLY]


def test_limits_that_are_not_available_are_left_out() -> None:
    """Other wishes stay."""
    demand = Demand(8)
    for limits in (SMALL, BIG, FREE):
        demand.note(1, limits)
    demand.forget(BIG)
    assert set(demand.likely(2)) == {SMALL, FREE}


@given(
    st.lists(st.tuples(st.integers(min_value=0, max_value=900), any_limits), max_size=30),
    st.integers(min_value=1, max_value=5),
)
def test_demand_is_the_peak_within_its_time(wishes: list[tuple[int, WarmLimits]], size_max: int) -> None:
    """The size equals a plain count, and every sandbox has limits that were requested."""
    wishes.sort(key=lambda wish: wish[0])
    times = [at for at, _ in wishes]
    heights = [
        sum(0 <= at - then < AT_ONCE_S for then in times[: index + 1])
        for index, at in enumerate(times)
        if 900 - at <= DEMAND_S
    ]
    found = likely(*wishes, at=900, size_max=size_max)
    assert len(found) == min(size_max, max(heights, default=1))
    assert set(found) <= ({limits for at, limits in wishes if 900 - at <= DEMAND_S} or {FREE})


def test_as_many_wait_as_are_likely_to_be_wanted() -> None:
    """Each with the requested limits."""
    assert settled([], [SMALL, SMALL, BIG])[0] == [SMALL, SMALL, BIG]


def test_less_demand_means_fewer_sandboxes() -> None:
    """The excess is removed, the unlikely ones first."""
    assert settled([BIG, SMALL, SMALL], [SMALL])[0] == [SMALL]


def test_a_change_of_limits_keeps_the_sandboxes() -> None:
    """A waiting sandbox gets other limits instead of being replaced."""
    assert plan([SMALL], [BIG]) is None
    assert plan([FREE], [BIG]) is None


def test_a_sandbox_that_no_run_can_use_is_removed() -> None:
    """A limit is never lifted: a run without limits needs a sandbox without."""
    assert settled([SMALL], [FREE])[0] == [FREE]
    assert not SMALL.can_become(FREE)
    assert not MEMORY_ONLY.can_become(WarmLimits(None, 1.0))
    assert MEMORY_ONLY.can_become(SMALL)


@given(st.lists(any_limits, max_size=6), st.lists(any_limits, min_size=1, max_size=5))
def test_a_pool_settles_and_serves_what_is_likely(waiting: list[WarmLimits], likely: list[WarmLimits]) -> None:
    """From any state, in few steps; then each wish can be met."""
    rest, steps = settled(waiting, likely)
    assert len(rest) == len(likely)
    assert steps <= len(waiting) + 2 * len(likely)
    for wish in likely:
        assert any(each.can_become(wish) for each in rest)
