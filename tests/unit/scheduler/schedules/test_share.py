"""Which schedules belong to which scheduler."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from fastflow_contracts.bus.subjects import JobRef
from fastflow_contracts.names import PipelineName
from fastflow_scheduler.schedules.share import GONE_S, ID_CHARACTERS_MAX, OTHERS_MAX, Share

JOBS = [JobRef(PipelineName(f"p{number}"), "schedule") for number in range(300)]


def shares(ids: Sequence[str]) -> list[Share]:
    """Schedulers that know each other."""
    made = [Share(one) for one in ids]
    for share in made:
        for other in ids:
            share.hear(other, at=0)
    return made


@given(st.sets(st.text(max_size=8), min_size=1, max_size=5), st.text(max_size=20), st.text(max_size=20))
def test_each_schedule_belongs_to_exactly_one_of_those_who_know_each_other(
    ids: set[str], pipeline: str, schedule: str
) -> None:
    """Whatever their ids and names are, lone surrogates included."""
    job = JobRef(PipelineName(pipeline), schedule)
    assert sum(share.is_own(job) for share in shares(sorted(ids))) == 1


def test_a_single_scheduler_has_all_schedules() -> None:
    """Its own beat comes back to it, and changes nothing."""
    share = Share("a")
    assert not share.hear("a", at=0)
    assert all(map(share.is_own, JOBS))


def test_shares_are_about_equal() -> None:
    """So three schedulers need about a third of the time."""
    counts = Counter(share.own for job in JOBS for share in shares("abc") if share.is_own(job))
    assert set(counts) == set("abc")
    assert all(70 <= count <= 130 for count in counts.values())


def test_the_end_of_a_scheduler_moves_its_schedules_and_no_others() -> None:
    """Whether it says so or falls silent."""
    first, second, third = shares("abc")
    before = {job: share.own for job in JOBS for share in (first, second, third) if share.is_own(job)}
    first.leave("c")
    second.hear("a", at=GONE_S)
    second.forget_silent(at=GONE_S + 0.1)
    after = {job: share.own for job in JOBS for share in (first, second) if share.is_own(job)}
    assert set(after.values()) == {"a", "b"}
    assert {job for job in JOBS if before[job] != after[job]} == {job for job in JOBS if before[job] == "c"}


def test_a_scheduler_is_new_once_and_again_after_it_was_forgotten() -> None:
    """A new one is told at once that this one lives."""
    share = Share("a")
    assert [share.hear("b", at=at) for at in (0, 1)] == [True, False]
    share.forget_silent(at=1 + GONE_S)
    assert not share.hear("b", at=2)
    share.forget_silent(at=3 + GONE_S)
    assert share.hear("b", at=4 + GONE_S)


def test_no_number_or_length_of_ids_takes_the_memory() -> None:
    """Whatever is sent to it, it keeps a bounded number of short ids."""
    share = Share("a")
    assert not share.hear("b" * (ID_CHARACTERS_MAX + 1), at=0)
    assert sum(share.hear(f"s{number}", at=0) for number in range(2 * OTHERS_MAX)) == OTHERS_MAX
