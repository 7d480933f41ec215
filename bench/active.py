"""What a change of a run costs the gateway beside 1,000 and beside 64,000 active runs: ``python -m bench.active``."""

from statistics import median
from time import perf_counter

from msgspec.structs import replace
from tests.support.records import a_run, at

from fastflow_contracts.runs.run import Ended, Running, RunRecord, RunStatus, Verdict
from fastflow_gateway.readmodel.run_index import RunFilter, RunIndex

FEW, MANY = 1_000, 64_000
ROUNDS = 300


def _versions(created: int) -> tuple[RunRecord, ...]:
    run = a_run("demo", created=created)
    running = Running(claimed_at=at(created), attempt=1, epoch=1, runner="r1")
    ended = Ended(verdict=Verdict.SUCCESS, at=at(created + 1))
    return run, replace(run, state=running), replace(run, state=ended)


def change_us(active: int) -> float:
    """Microseconds of one change with a look at the first page of what runs, in a full index with *active* runs."""
    index = RunIndex(runs_max=active + ROUNDS)
    for number in range(active):
        index.put(a_run(f"p{number % 50}", created=number), number + 1)
    samples = []
    for created in range(active, active + 2 * ROUNDS):
        began = perf_counter()
        for revision, version in enumerate(_versions(created), start=1):
            index.put(version, revision)
            index.page(RunFilter(status=RunStatus.RUNNING), limit=50)
        samples.append((perf_counter() - began) / 3 * 1e6)
    return median(samples[ROUNDS:])


def main() -> None:
    few, many = change_us(FEW), change_us(MANY)
    print(f"beside {FEW:6,} active runs  {few:8.1f} µs a change")
    print(f"beside {MANY:6,} active runs  {many:8.1f} µs a change: {many / few:.2f} ×")


if __name__ == "__main__":
    main()
