"""What becomes of a sandbox that no attempt of this process holds."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from fastflow_contracts.runs.run import Running
from fastflow_runner.work.orphans import OrphanDecision, decide
from tests.support.records import T0, a_run

ADOPT, REMOVE, LEAVE = OrphanDecision.ADOPT, OrphanDecision.REMOVE, OrphanDecision.LEAVE


@pytest.mark.parametrize(
    ("holder", "is_prepared", "holder_is_gone", "expected"),
    [
        ("one", True, False, ADOPT),
        ("one", False, False, REMOVE),
        ("other", True, True, ADOPT),
        ("other", False, True, REMOVE),
        ("other", True, False, LEAVE),
        ("other", False, False, LEAVE),
    ],
)
def test_the_record_of_its_run_decides(
    holder: str, is_prepared: bool, holder_is_gone: bool, expected: OrphanDecision
) -> None:
    """Only the runner that opened a sandbox can use it before it was handed a job."""
    state = Running(attempt=2, runner=holder, epoch=1, claimed_at=T0, prepared_at=T0 if is_prepared else None)
    run = replace(a_run("demo"), state=state)
    assert decide(run, 2, runner="one", holder_is_gone=holder_is_gone) is expected
    assert decide(run, 1, runner="one", holder_is_gone=holder_is_gone) is REMOVE, "of an earlier attempt"


def test_without_a_running_run_it_is_removed() -> None:
    assert decide(None, 1, runner="one", holder_is_gone=False) is REMOVE
    assert decide(a_run("demo"), 1, runner="one", holder_is_gone=False) is REMOVE, "its run waits"
