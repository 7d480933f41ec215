"""What a change of a run costs the gateway beside 1,000 and beside 64,000 active runs: ``python -m bench.active``.

Of the newest active run and of the oldest, which is the next to be claimed.
"""

from collections.abc import Sequence
from statistics import median
from time import perf_counter

from msgspec.structs import replace
from tests.support.records import a_run, at

from fastflow_contracts.runs.run import Ended, Running, RunRecord, RunStatus, Verdict
from fastflow_gateway.readmodel.run_index import RunFilter, RunIndex

FEW, MANY = 1_000, 64_000
ROUNDS = 300


def _versions(run: RunRecord) -> tuple[RunRecord, ...]:
    running = Running(claimed_at=at(0), attempt=1, epoch=1, runner="r1")
    ended = Ended(verdict=Verdict.SUCCESS, at=at(1))
    return run, replace(run, state=running), replace(run, state=ended)


def change_us(active: int) -> tuple[float, float]:
    """Microseconds of one change, with a look at the first page of what runs, in a full index with *active* runs.

    First of the newest run, from its creation to its end, then of the oldest ones, from their claim to their end.
    """
    index = RunIndex(runs_max=active + ROUNDS)
    waiting = [a_run(f"p{number % 50}", created=number) for number in range(active)]
    for number, run in enumerate(waiting):
        index.put(run, number + 1)
    newest = [_timed(index, _versions(a_run("demo", created=created))) for created in range(active, active + ROUNDS)]
    oldest = [_timed(index, _versions(run)[1:]) for run in waiting[:ROUNDS]]
    return median(newest), median(oldest)


def _timed(index: RunIndex, versions: Sequence[RunRecord]) -> float:
    began = perf_counter()
    for revision, version in enumerate(versions, start=1_000_000):
        index.put(version, revision)
        index.page(RunFilter(status=RunStatus.RUNNING), limit=50)
    return (perf_counter() - began) / len(versions) * 1e6


def main() -> None:
    few, many = change_us(FEW), change_us(MANY)
    for name, less, more in zip(("newest", "oldest"), few, many, strict=True):
        print(f"of the {name}: beside {FEW:,} active {less:.1f} µs, beside {MANY:,} {more:.1f} µs: {more / less:.2f} ×")


if __name__ == "__main__":
    main()
