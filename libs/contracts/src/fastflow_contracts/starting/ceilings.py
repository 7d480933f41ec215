"""How many runs one chain may have, and one chain or pipeline may have waiting; and the words for starts beyond. Pure.

``followups.rules`` holds the depth of a chain, and ``starter`` the number of its runs, which it counts with each start.
The ceilings for waiting runs are not exact: each scheduler compares with what it knows, which lacks the runs that it
and others are creating. ``starter`` bounds how many of one pipeline a scheduler creates at once.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from fastflow_contracts.ids import RunId
from fastflow_contracts.pipelines.links import CHAIN_RUNS_MAX
from fastflow_contracts.runs.messages import Skipped
from fastflow_contracts.runs.run import RunRecord, Turn
from fastflow_contracts.starting.active_runs import ActiveRuns

WAITING_MAX: Final = 10_000
CHAIN_WAITING_MAX: Final = 500

_ADVICE = "If its pipelines start each other in a cycle, remove a link; otherwise raise"


class Ceilings(NamedTuple):
    """What an operator allows. The settings have the same names."""

    chain_runs: int = CHAIN_RUNS_MAX
    """Runs in one chain."""
    waiting: int = WAITING_MAX
    """Runs of one pipeline that wait for a runner or for their next attempt."""
    chain_waiting: int = CHAIN_WAITING_MAX
    """The same in one chain."""

    def refusal(self, run: RunRecord, active: ActiveRuns) -> Skipped | None:
        """Return why *run* may not wait as well, or None.

        The restart of a daemon may: it takes the place of the run that ended, and nobody would start it again.
        """
        if run.order.triggered_by == "daemon_restart":
            return None
        if active.waiting_of(run.pipeline) >= self.waiting:
            return Skipped(status=429, reason=too_many_waiting(run.pipeline, self.waiting))
        if active.waiting_from(run.root_run_id) >= self.chain_waiting:
            return Skipped(status=429, reason=too_many_waiting_in_chain(run.root_run_id, self.chain_waiting))
        return None


CEILINGS: Final = Ceilings()


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


def too_many_waiting(pipeline: str, most: int) -> str:
    """*most*: waiting runs of the pipeline."""
    return (
        f"{most} runs of {pipeline} are waiting already. Start it again when some of them have begun, cancel some, "
        f"add runners, or raise FASTFLOW_WAITING_RUNS_MAX of the schedulers."
    )


def too_many_waiting_in_chain(root: RunId, most: int) -> str:
    """*most*: waiting runs of the chain."""
    return (
        f"{most} runs of the chain that began with run {root} are waiting already. "
        f"{_ADVICE} FASTFLOW_CHAIN_WAITING_RUNS_MAX of the schedulers."
    )


def too_many_instances(pipeline: str, most: int) -> str:
    """*most*: ``max_instances`` of the pipeline."""
    return f"max_instances: {most} run(s) of {pipeline} are pending or running already."


def too_many_sharing(pipeline: str, turn: Turn) -> str:
    """*turn*: the limit that rejects the start."""
    key = f" with the key {turn.key!r}" if turn.key else ""
    return f"concurrency: {turn.limit} run(s) of {pipeline}{key} are pending or running already."
