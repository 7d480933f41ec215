"""Search for pipelines: one meaning for the API and the pages."""

from __future__ import annotations

import pytest

from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.spec import PipelineSpec
from fastflow_contracts.pipelines.records import PipelineRecord, Version
from fastflow_gateway.views import pipeline_shapes
from fastflow_gateway.views.run_counts import RunCounts
from fastflow_gateway.views.search import matches
from tests.support.records import T0


@pytest.mark.parametrize(
    ("q", "tags", "found"),
    [
        ("", [], True),
        ("LOADS orders", [], True),
        ("warehouse", ["etl"], True),
        ("prices", [], False),
        ("", ["etl", "daily"], True),
        ("", ["daily", "reports"], False),
    ],
)
def test_search_looks_at_name_description_and_tags(q: str, tags: list[str], found: bool) -> None:
    """Every word must be there, in any case, and one of the tags."""
    spec = PipelineSpec(description="Loads them", tags=("etl", "warehouse"))
    record = PipelineRecord(name=PipelineName("orders"), live=Version(bundle="b", spec=spec, live_since=T0), seen_at=T0)
    pipeline = pipeline_shapes.pipeline(record, counts=RunCounts(), last_runs=())
    assert matches(pipeline, q=q, tags=tags) is found
