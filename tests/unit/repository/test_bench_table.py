"""The table of measurements, and what its verdicts mean."""

from __future__ import annotations

import statistics

import msgspec
import pytest
from bench.table import Table, Target, figure, quantile
from hypothesis import given
from hypothesis import strategies as st

samples = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=300)


@given(samples, st.floats(0, 1))
def test_a_quantile_is_the_smallest_sample_with_the_share_at_or_below_it(values: list[float], share: float) -> None:
    """The share of smaller samples is at most that."""
    found = quantile(values, share)
    assert found in values
    assert sum(value < found for value in values) <= share * len(values)
    assert sum(value <= found for value in values) >= min(1, share) * len(values) - 1e-9 or found == max(values)


@given(samples, st.floats(0.001, 1e6))
def test_a_target_is_met_or_missed(values: list[float], bound: float) -> None:
    """At the bound it is met; the verdict is about the figure that the target names."""
    at_most = figure("f", values, "ms", targets=(Target("p99", bound),))
    at_least = figure("f", values, "ms", targets=(Target("median", bound, least=True),))
    assert (": met" in at_most.row) == (quantile(values, 0.99) <= bound)
    assert (": met" in at_least.row) == (statistics.median(values) >= bound)


def test_one_missed_target_of_several_is_a_miss() -> None:
    """The ratio is the median against the floor's."""
    made = figure("f", [30, 40, 50], "ms", floor=[300, 500], targets=(Target("median", 40), Target("ratio", 0.05)))
    assert made.ratio == pytest.approx(0.1)
    assert made.row == "| f | 40 ms |  |  | 30 ms – 50 ms | 0.10 × | ≤ 40 ms, ≤ 0.05 ×: **missed** |"


def test_few_samples_have_no_far_quantiles() -> None:
    """A p99 of ten samples would only be their maximum."""
    rows = [figure("f", [float(number) for number in range(count)], "s").row for count in (1, 10, 20, 100)]
    assert [[bool(cell.strip()) for cell in row.split("|")[2:6]] for row in rows] == [
        [True, False, False, False],
        [True, False, False, True],
        [True, True, False, True],
        [True, True, True, True],
    ]


def test_a_table_survives_its_file() -> None:
    """``make bench`` reads the tables of earlier calls."""
    table = Table("t", (figure("f", [1, 2], "/s", targets=(Target("median", 1, least=True),)),), ("It was quiet.",))
    assert msgspec.json.decode(msgspec.json.encode(table), type=Table) == table
