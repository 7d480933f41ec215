"""What a run needs before it can be claimed wisely: its code, and whether its environment stands ready. I/O."""

from __future__ import annotations

import msgspec

from fastflow_contracts.bundle import Bundle
from fastflow_contracts.run import Run
from fastflow_contracts.wire import Rejected
from fastflow_runner.environments import Prepared
from fastflow_runner.store import Request, request_of
from fastflow_runner.tools import Tools


class Code(msgspec.Struct, frozen=True):
    """``ready``: its environment, if no preparation is needed."""

    bundle: Bundle
    request: Request
    ready: Prepared | None


class NoCode(msgspec.Struct, frozen=True):
    """The run cannot be carried out by anybody: it must be claimed to be failed."""

    reason: str


async def fetch(tools: Tools, run: Run) -> Code | NoCode:
    """The code of *run*. Raises ``wire.Unavailable``."""
    try:
        bundle = await tools.bundles.get(run.order.bundle)
    except Rejected as error:
        return NoCode(f"the code of this run cannot be read: {error}; sync the pipeline and start it anew")
    request = request_of(run.order.python_version, bundle.data, run.order.kind)
    return Code(bundle, request, tools.environments.ready(request))
