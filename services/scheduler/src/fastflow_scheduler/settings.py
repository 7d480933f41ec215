"""Settings of the scheduler, from its environment. No I/O."""

from __future__ import annotations

from typing import Annotated

from fastflow_contracts.limit_settings import LimitSettings
from fastflow_contracts.pipelines.links import CHAIN_RUNS_MAX, HOPS_MAX
from fastflow_contracts.runs.lease import FENCE_S
from fastflow_contracts.runs.presence import LEASE_S, LEASE_S_MAX
from fastflow_contracts.runs.room import FULL_PERCENT
from fastflow_contracts.service.settings import Env
from fastflow_contracts.starting.ceilings import CHAIN_WAITING_MAX, WAITING_MAX

CONCURRENT_MOST = 10_000
"""Every claim writes the set of active runs: one megabyte at this size. For more runs, use no limit."""

OPERATION_RUNS_MAX = 4


class SchedulerSettings(LimitSettings, frozen=True, kw_only=True):
    """The defaults suit a laptop."""

    default_python_version: Annotated[
        str,
        Env(
            "DEFAULT_PYTHON_VERSION",
            "Python version of pipelines that set none; it also decides within the range of a `requires-python`. "
            "Default: the sandbox's (Docker: 3.11; bubble, process: the runner's).",
            pattern=r"\d+\.\d+(\.\d+)?",
            like="3.12 or 3.12.4",
        ),
    ] = ""
    retry_attempts: Annotated[
        int, Env("RETRY_ATTEMPTS", "Retries after a failed attempt if the pipeline sets none.", least=0)
    ] = 0
    concurrent_runs_max: Annotated[
        int,
        Env(
            "MAX_CONCURRENT_RUNS",
            "Maximum number of concurrent runs on all runners; more runs wait. 0 = no limit.",
            least=0,
            most=CONCURRENT_MOST,
        ),
    ] = 0
    chain_runs_max: Annotated[
        int,
        Env(
            "FASTFLOW_CHAIN_RUNS_MAX",
            "Most runs in one chain: its first run and all that follow from it by downstream triggers.",
            least=1,
        ),
    ] = CHAIN_RUNS_MAX
    chain_depth_max: Annotated[
        int,
        Env("FASTFLOW_CHAIN_DEPTH_MAX", "Most downstream starts one after the other in a chain.", least=1),
    ] = HOPS_MAX
    waiting_runs_max: Annotated[
        int,
        Env(
            "FASTFLOW_WAITING_RUNS_MAX",
            "Most runs of one pipeline that wait for a runner or for a retry; more starts are refused. Starts at one "
            "instant may exceed it by about 128 for each scheduler.",
            least=1,
        ),
    ] = WAITING_MAX
    chain_waiting_runs_max: Annotated[
        int,
        Env(
            "FASTFLOW_CHAIN_WAITING_RUNS_MAX",
            "Most waiting runs of one chain: its first run and all that follow from it.",
            least=1,
        ),
    ] = CHAIN_WAITING_MAX
    operation_runs_max: Annotated[
        int,
        Env(
            "FASTFLOW_OPERATION_RUNS_MAX",
            "Most runs of one operation, such as a backfill, that wait or run at once. Few leave room for what is due "
            "now.",
            least=1,
        ),
    ] = OPERATION_RUNS_MAX
    artifacts_days: Annotated[
        int,
        Env(
            "FASTFLOW_ARTIFACTS_DAYS",
            "Days after the end of a run when the content of its artifacts is removed; sooner if the run is removed.",
            least=1,
            most=90,
        ),
    ] = 30
    runs_full_percent: Annotated[
        float,
        Env(
            "FASTFLOW_RUNS_FULL_PERCENT",
            "How full the buckets of runs and of their inputs may be when a run is created; the rest is for runs that "
            "exist. The oldest ended runs are removed from 5 % less on. Must be equal in all services.",
            least=30,
            most=95,
        ),
    ] = FULL_PERCENT
    lease_s: Annotated[
        float,
        Env(
            "FASTFLOW_LEASE_S",
            "Seconds without a sign of life after which a runner counts as lost; must be equal in all services.",
            least=1,
            most=LEASE_S_MAX,
        ),
    ] = LEASE_S
    fence_s: Annotated[
        float,
        Env(
            "FASTFLOW_FENCE_S",
            "Seconds without a heartbeat from its runner after which a sandbox stops; must be equal in all services.",
            least=1,
        ),
    ] = FENCE_S
