"""Settings of the scheduler, from its environment. No I/O."""

from __future__ import annotations

from typing import Annotated

from fastflow_contracts.runs.lease import FENCE_S
from fastflow_contracts.runs.presence import LEASE_S
from fastflow_contracts.service.settings import Env, ServiceSettings

CONCURRENT_MOST = 10_000
"""Every claim writes the set of active runs: one megabyte at this size. For more runs, use no limit."""


class Settings(ServiceSettings, frozen=True, kw_only=True):
    """The defaults suit a laptop."""

    default_python_version: Annotated[
        str,
        Env(
            "DEFAULT_PYTHON_VERSION",
            "Interpreter of pipelines that name none; default: the sandbox's own (Docker: 3.11, processes: the one "
            "that runs the runner).",
            pattern=r"\d+\.\d+(\.\d+)?",
            like="3.12 or 3.12.4",
        ),
    ] = ""
    container_timeout_s: Annotated[
        float,
        Env("CONTAINER_TIMEOUT", "Seconds an attempt may take where the pipeline says nothing; 0 = no limit.", least=0),
    ] = 0.0
    retry_attempts: Annotated[
        int, Env("RETRY_ATTEMPTS", "Attempts after a failed one where the pipeline says nothing.", least=0)
    ] = 0
    concurrent_runs_max: Annotated[
        int,
        Env(
            "MAX_CONCURRENT_RUNS",
            "Runs at once on all runners together; those beyond wait. 0 = no limit.",
            least=0,
            most=CONCURRENT_MOST,
        ),
    ] = 0
    lease_s: Annotated[
        float,
        Env(
            "FASTFLOW_LEASE_S",
            "Seconds of silence after which a runner may be gone; the same for all services.",
            least=1,
        ),
    ] = LEASE_S
    fence_s: Annotated[
        float,
        Env(
            "FASTFLOW_FENCE_S",
            "Seconds after which a sandbox without news from its runner has stopped itself; the same for all services.",
            least=1,
        ),
    ] = FENCE_S
