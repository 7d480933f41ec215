"""Which bundles are used, and by which pipeline. I/O only."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any, NamedTuple

from fastflow_contracts.bus.bucket import Changes
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.store import PipelineStore
from fastflow_contracts.pipelines.versions import newest_bundle
from fastflow_contracts.runs.store import RunStore


class BundleUse(NamedTuple):
    """The pipelines by the bundles that their records name."""

    needed: dict[str, PipelineName]
    """A version is live or waits to be, or a run that is not over has it."""
    ended: dict[str, PipelineName]
    """Only the list of versions and runs that are over name it: a start, a pin or a retry would need it again."""


async def bundle_use(bus: Bus) -> BundleUse | None:
    """Read all records. None if one is unreadable: it may name any bundle.

    Waits for the bus without a limit: set a timeout.
    """
    needed: dict[str, PipelineName] = {}
    ended: dict[str, PipelineName] = {}
    async with aclosing(PipelineStore(bus).records.once()) as pipelines:
        async for batch in pipelines:
            if _may_name_bundles(batch):
                return None
            for each in batch.changes:
                if (pipeline := each.value) is not None and pipeline.live is not None:
                    needed |= {pipeline.live.bundle: pipeline.name, newest_bundle(pipeline): pipeline.name}
    async with aclosing(PipelineStore(bus).versions.once()) as versions:
        async for listed in versions:
            if _may_name_bundles(listed):
                return None
            ended |= {each.value.version.bundle: each.value.pipeline for each in listed.changes if each.value}
    async with aclosing(RunStore(bus).records.once()) as runs:
        async for records in runs:
            if _may_name_bundles(records):
                return None
            for record in records.changes:
                if (run := record.value) is not None and run.order.bundle:
                    (ended if run.is_over else needed)[run.order.bundle] = run.pipeline
    return BundleUse(needed, {name: pipeline for name, pipeline in ended.items() if name not in needed})


def _may_name_bundles(batch: Changes[Any, Any]) -> bool:
    return any(not each.is_deleted for each in batch.unread)
