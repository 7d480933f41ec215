"""How many runs of a pipeline or of a schedule there may be at once. Data only.

``runs.concurrency`` holds the limit.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from fastflow_contracts.pipelines.format.value_types import Expression, RunsAtOnce, says

OnLimit = Literal["queue", "reject", "replace"]


class ConcurrencySpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How many runs there may be at once, of all or of those with the same key."""

    limit: Annotated[RunsAtOnce, says("Most runs at once.")] = 1
    key: Annotated[
        Expression | None,
        says("Runs with the same value of this expression share the limit; without it all runs do."),
    ] = None
    on_limit: Annotated[
        OnLimit,
        says(
            "What a start beyond the limit does: `queue` waits for its turn, `reject` starts no run, `replace` ends "
            "the older run."
        ),
    ] = "queue"
