"""Why a chain of runs stops: the words of the two limits. Pure.

``followups.rules`` holds the depth, and ``starter`` the number of runs, which it counts with each start.
"""

from __future__ import annotations

from fastflow_contracts.ids import RunId

_ADVICE = "If its pipelines start each other in a cycle, remove a link; otherwise raise"


def too_deep(root: RunId, most: int) -> str:
    """*most*: downstream starts one after the other."""
    return (
        f"the chain that began with run {root} stops here: it has reached {most} starts one after the other. "
        f"{_ADVICE} FASTFLOW_CHAIN_DEPTH_MAX of the schedulers."
    )


def too_many_runs(root: RunId, most: int) -> str:
    """*most*: runs in the whole chain."""
    return (
        f"the chain that began with run {root} stops here: it has had {most} runs. "
        f"{_ADVICE} FASTFLOW_CHAIN_RUNS_MAX of the schedulers."
    )
