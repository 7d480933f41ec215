"""A chain gives no parameters, so one whose target needs some starts nothing."""

from __future__ import annotations

import pytest

from fastflow_contracts.pipelines.format.spec import DownstreamRule, PipelineSpec, ScheduleEntry
from fastflow_contracts.pipelines.parameters.chains import chain_notices

TARGET = PipelineSpec(
    parameters={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
    schedules=(ScheduleEntry(id="with", parameters={"n": 1}), ScheduleEntry(id="without")),
)


@pytest.mark.parametrize(("config", "count"), [(None, 1), ("without", 1), ("with", 0), ("nosuch", 0)])
def test_a_chain_that_the_schema_of_its_target_refuses_is_noted(config: str | None, count: int) -> None:
    rule = DownstreamRule(pipeline="report", run_config_id=config)
    notices = list(chain_notices(PipelineSpec(downstream_triggers=(rule,)), {"report": TARGET}))
    assert [notice.field for notice in notices] == ["downstream_triggers[0]"] * count
    assert all("/n: is missing" in notice.text for notice in notices)


def test_a_target_that_is_not_here_or_needs_nothing_is_good() -> None:
    rules = (DownstreamRule(pipeline="elsewhere"), DownstreamRule(pipeline="plain"))
    assert list(chain_notices(PipelineSpec(downstream_triggers=rules), {"plain": PipelineSpec()})) == []
