"""The versions of a pipeline, as the API and the pages show them."""

from __future__ import annotations

from fastflow_api import shapes
from fastflow_contracts.pipelines.records import PipelineRecord
from fastflow_gateway.readmodel.model import ReadModel
from fastflow_gateway.views import versions as shown


async def versions(model: ReadModel, record: PipelineRecord) -> shapes.PipelineVersions:
    """The kept versions of a pipeline, newest first, with the runs of each. Raises ``BusError``."""
    kept = await model.versions_of(record.name)
    counts = {each.version.bundle: model.runs.counts_of_version(record.name, each.version.bundle) for each in kept}
    return shown.versions(record, kept, counts)
