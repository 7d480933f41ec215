"""An open backend: its sandboxes, its environments, and the specification of a run. No I/O."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from fastflow_contracts.runs.run import Running, RunRecord
from fastflow_runner.environments.environments import Environments
from fastflow_runner.errors import RunnerError
from fastflow_runner.sandbox import Sandboxes, SandboxSpec
from fastflow_runner.sandbox.docker.firewall import Firewall
from fastflow_runner.sandbox.docker.image_gc import ImageGc
from fastflow_runner.sandbox.limits import least
from fastflow_runner.sandbox.naming import AttemptId, attempt_name
from fastflow_runner.sandbox.network import NetworkMax, run_network
from fastflow_runner.sandbox.pool import Pool

CORES_MIN = 0.01
"""Docker's smallest limit."""


class NoSandbox(RunnerError):
    """The sandbox that the settings ask for is not available."""


class Backend(msgspec.Struct, frozen=True, kw_only=True):
    """Where this runner's scripts run. ``daemon`` is the Docker daemon's own id."""

    kind: str
    why: str = ""
    """Why it is not Docker when the settings leave the choice: one clause, for people."""
    daemon: str | None
    sandboxes: Sandboxes
    environments: Environments
    blank: SandboxSpec
    """The sandbox of any run, without name and limits."""
    cell_runner: str
    """Path of ``cells`` inside a sandbox."""
    installation: str
    outlives: bool = False
    """Whether its sandboxes go on after this runner, for the next one."""
    cores: int | None = None
    """The daemon's processor cores; it refuses a higher limit. None: any limit is accepted."""
    memory_bytes_max: int | None = None
    """The most memory of one sandbox; None: no bound."""
    network: str = "none"
    """The network of runs."""
    network_max: NetworkMax = "internet"
    """The most network that a pipeline may have."""
    pool: Pool[Any] | None = None
    """The warm part of ``sandboxes``; its ``keep`` must run."""
    image_gc: ImageGc | None = None
    """Removes old worker images; its ``keep`` must run."""
    firewall: Firewall | None = None
    """Closes the network of runs; its ``keep`` must run."""

    def name(self, attempt: AttemptId) -> str:
        """The name of the sandbox of *attempt*."""
        return attempt_name(self.installation, attempt)

    def spec(self, run: RunRecord) -> SandboxSpec:
        """The specification of the sandbox for *run*, which must be running."""
        assert isinstance(run.state, Running)
        limits = run.order.limits
        network = run_network(run.order.network, self.network_max, usual=self.network)
        return replace(
            self.blank,
            name=self.name(AttemptId(run.id, run.state.attempt)),
            memory_bytes=least(limits.memory_bytes, self.memory_bytes_max),
            cpu_cores=_cores(limits.cpu_cores, self.cores),
            network=network.name,
            reach=network.reach,
        )


def _cores(limit: float | None, most: int | None) -> float | None:
    """*limit* as the daemon accepts it: at least ``CORES_MIN``, at most the cores it has."""
    return limit if limit is None or most is None else min(max(limit, CORES_MIN), most)
