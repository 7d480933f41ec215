"""What a runner looks up before it claims a run: its code, and whether its environments are ready. I/O."""

from __future__ import annotations

import msgspec
from cachetools import LRUCache

from fastflow_contracts.bus.errors import Rejected
from fastflow_contracts.bus.subjects import Kind
from fastflow_contracts.pipelines.folder.bundle import Bundle
from fastflow_contracts.pipelines.folder.pep723 import BadInline
from fastflow_contracts.runs.run import RunRecord
from fastflow_runner.attempts.context import AttemptContext
from fastflow_runner.environments.environments import ReadyEnvironment
from fastflow_runner.environments.store import EnvironmentRequest, requests_of

_KEPT_MAX = 64
_requests: LRUCache[tuple[str, str, Kind], tuple[EnvironmentRequest, ...]] = LRUCache(_KEPT_MAX)
"""What the code of recent runs needs, by the hash of their bundles: reading a bundle costs more than a claim."""


class Code(msgspec.Struct, frozen=True):
    """The code of a run.

    ``requests`` are the environments it needs, its own first. ``ready`` are those environments, or None if any of
    them must be prepared.
    """

    bundle: Bundle
    requests: tuple[EnvironmentRequest, ...]
    ready: tuple[ReadyEnvironment, ...] | None


class NoCode(msgspec.Struct, frozen=True):
    """No runner can carry out the run. It must be claimed so that it can be failed."""

    reason: str


async def fetch(context: AttemptContext, run: RunRecord) -> Code | NoCode:
    """Fetch the code of *run*. Raises ``Unavailable``."""
    try:
        bundle = await context.bundles.get(run.order.bundle)
    except Rejected as error:
        return NoCode(f"the code of this run cannot be read: {error}; sync the pipeline and start it again")
    try:
        requests = _requests_of(run, bundle)
    except BadInline as error:  # the version went live before the sync checked such blocks
        return NoCode(f"the block `# /// script` of main.py is not usable: {error}")
    ready = tuple(filter(None, map(context.environments.ready, requests)))
    return Code(bundle, requests, ready if len(ready) == len(requests) else None)


def _requests_of(run: RunRecord, bundle: Bundle) -> tuple[EnvironmentRequest, ...]:
    """Raises ``BadInline``."""
    key = (run.order.python_version, bundle.sha256, run.order.kind)
    if (found := _requests.get(key)) is None:
        found = _requests[key] = requests_of(run.order.python_version, bundle.data, run.order.kind)
    return found
