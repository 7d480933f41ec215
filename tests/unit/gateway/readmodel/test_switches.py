"""The newest record of a switch counts."""

from __future__ import annotations

from fastflow_contracts.bus.subjects import JobRef
from fastflow_contracts.names import PipelineName
from fastflow_gateway.readmodel.switches import Switches


def test_the_newest_revision_of_a_switch_counts() -> None:
    """A late record of an older revision changes nothing."""
    switches, job = Switches(), JobRef(PipelineName("beat"), "schedule")
    switches.put(job, 3, is_on=False)
    switches.put(job, 2, is_on=True)
    assert switches.off == {job}
    switches.put(job, 4, is_on=True)
    switches.put(job, 3, is_on=False)
    assert switches.off == set()
