"""How many warm sandboxes there are, and which: the plan, step by step."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fastflow_contracts.ids import fresh_run_id
from fastflow_runner.naming import AttemptId, attempt_name, attempt_of, is_warm, warm_name
from fastflow_runner.pool import Limits, Open, Remove, plan

FREE, SMALL, BIG = Limits(), Limits(64, 1.0), Limits(512, 2.0)
MEMORY_ONLY = Limits(64, None)

any_limits = st.sampled_from([FREE, SMALL, BIG, MEMORY_ONLY])


def settled(waiting: list[Limits], wanted: list[Limits], size_max: int) -> tuple[list[Limits], int]:
    """What a pool comes to, and in how many steps."""
    waiting, steps = list(waiting), 0
    while (step := plan(waiting, wanted, size_max)) is not None:
        steps += 1
        assert steps < 100
        match step:
            case Open(limits=limits):
                waiting.append(limits)
            case Remove(index=index):
                del waiting[index]
    return waiting, steps


def test_one_waits_before_anybody_has_asked() -> None:
    """The first run of a runner is a warm one, whatever its limits."""
    assert settled([], [], 4) == ([FREE], 1)


def test_as_many_wait_as_were_wanted_lately() -> None:
    """Up to the bound, each with the limits that were asked for."""
    assert settled([], [SMALL, SMALL, BIG], 4)[0] == [SMALL, SMALL, BIG]
    assert settled([], [SMALL] * 9, 4)[0] == [SMALL] * 4


def test_less_demand_means_less_waiting() -> None:
    """What exceeds it is removed, the unlikely ones first."""
    assert settled([BIG, SMALL, SMALL], [SMALL], 4)[0] == [SMALL]


def test_a_change_of_demand_costs_nothing_that_still_serves() -> None:
    """Other limits can be set on what waits, so it is not thrown away for them."""
    assert plan([SMALL], [BIG], 4) is None
    assert plan([FREE], [BIG], 4) is None


def test_what_can_serve_nobody_makes_way() -> None:
    """A limit is never lifted: a run without limits wants a sandbox without."""
    assert settled([SMALL], [FREE], 4)[0] == [FREE]
    assert not SMALL.can_become(FREE)
    assert not MEMORY_ONLY.can_become(Limits(None, 1.0))
    assert MEMORY_ONLY.can_become(SMALL)


@given(st.lists(any_limits, max_size=6), st.lists(any_limits, max_size=6), st.integers(min_value=1, max_value=5))
def test_a_pool_comes_to_rest_and_serves_what_was_wanted(
    waiting: list[Limits], wanted: list[Limits], size_max: int
) -> None:
    """From any state, in few steps, within the bound; afterwards each recent wish can be met."""
    rest, steps = settled(waiting, wanted, size_max)
    assert len(rest) == min(size_max, max(1, len(wanted)))
    assert steps <= len(waiting) + 2 * size_max
    for wish in wanted[: len(rest)]:
        assert any(each.can_become(wish) for each in rest)


def test_a_name_tells_the_attempt() -> None:
    """What a restarted runner reads from it; warm ones and preparers are nobody's."""
    attempt = AttemptId(fresh_run_id(), 12)
    assert attempt_of(attempt_name("0123456789abcdef", attempt)) == attempt
    for name in (warm_name("0123456789abcdef"), "ff-prepare-0123456789abcdef", "ff-x", f"ff-01234567-{attempt.run_id}"):
        assert attempt_of(name) is None
    assert is_warm(warm_name("0123456789abcdef"))
    assert not is_warm(attempt_name("0123456789abcdef", attempt))
