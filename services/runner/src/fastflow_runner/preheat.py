"""Prepares the environments of every live pipeline with runs for us before one needs them, one by one. I/O.

Nothing depends on it: a failure is only logged. The first run tries again and reports the failure to its owner.
"""

from __future__ import annotations

from contextlib import aclosing

from fastflow_contracts.bus.errors import BusError
from fastflow_contracts.labels import takes
from fastflow_contracts.log import get_logger
from fastflow_contracts.pipelines.folder.pep723 import BadInline
from fastflow_contracts.pipelines.folder.python_versions import choose
from fastflow_contracts.pipelines.records import Version
from fastflow_contracts.pipelines.store import PipelineStore
from fastflow_runner.attempts.context import AttemptContext
from fastflow_runner.environments.environments import EnvironmentFailed
from fastflow_runner.environments.store import requests_of

log = get_logger(__name__)


async def preheat(context: AttemptContext, *, default_python_version: str) -> None:
    """Prepare the environments of the enabled live versions whose labels we have. Follow changes until cancelled."""
    async with aclosing(PipelineStore(context.bus).records.follow()) as batches:
        async for batch in batches:
            for _, record, _, _ in batch.changes:
                if record is not None and record.live is not None and _is_ours(context, record.live):
                    await _prepare(context, record.name, record.live, default_python_version)


def _is_ours(context: AttemptContext, live: Version) -> bool:
    return live.spec.enabled and takes(live.spec.runs_on, context.labels, only_labelled=context.only_labelled)


async def _prepare(context: AttemptContext, name: str, live: Version, default_python_version: str) -> None:
    try:
        bundle = await context.bundles.get(live.bundle)
        version = choose(live.spec.python_version or live.python, default_python_version)
        for request in requests_of(version, bundle.data, live.spec.type):
            if context.environments.ready(request) is None:
                prepared = await context.environments.prepare(request, say=_ignored)
                log.info("environment prepared", pipeline=name, duration_s=round(prepared.seconds, 1))
    except (BusError, EnvironmentFailed, BadInline) as error:
        log.info("environment not prepared", pipeline=name, error=str(error))


async def _ignored(line: str) -> None:
    """Drop the preparer's output: no run is waiting for it."""
