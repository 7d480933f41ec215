"""The runner's settings, read from its environment. No I/O."""

from __future__ import annotations

from typing import Annotated, Literal

from fastflow_contracts.runs.lease import FENCE_S
from fastflow_contracts.runs.presence import LEASE_S
from fastflow_contracts.service.settings import Env, ServiceSettings


class Settings(ServiceSettings, frozen=True, kw_only=True):
    """The defaults suit a laptop. Sizes are bytes, durations seconds."""

    runner_id: Annotated[
        str, Env("FASTFLOW_RUNNER_ID", "Name of this runner, kept across restarts; default: the host's name.")
    ] = ""
    slots: Annotated[int, Env("RUNNER_SLOTS", "Runs at once on this runner.", least=1)] = 10
    pool_size_max: Annotated[
        int,
        Env(
            "RUNNER_POOL_SIZE",
            "Docker sandboxes kept waiting for runs at most; how many, demand says. 0 = none.",
            least=0,
        ),
    ] = 24
    kinds: Annotated[str, Env("FASTFLOW_RUNNER_KINDS", "Kinds of work to take, separated by commas.")] = (
        "script,notebook"
    )
    sandbox: Annotated[
        Literal["auto", "docker", "process", "dummy"],
        Env(
            "FASTFLOW_SANDBOX",
            "Where scripts run: docker, process, or auto (Docker if a daemon answers). dummy runs nothing at all and "
            "is for measuring the rest.",
        ),
    ] = "auto"
    data_dir: Annotated[
        str, Env("FASTFLOW_DATA_DIR", "Directory for what process sandboxes keep: environments and working copies.")
    ] = ".fastflow"
    store_volume: Annotated[
        str, Env("FASTFLOW_STORE_VOLUME", "Docker volume for environments, shared by all runners of one daemon.")
    ] = "fastflow-store"
    environments_bytes_max: Annotated[
        int,
        Env(
            "FASTFLOW_ENVIRONMENTS_BYTES_MAX",
            "Disk space for environments, interpreters and uv's cache; those unused longest go first. 0 = any amount.",
            least=0,
        ),
    ] = 20_000_000_000
    network: Annotated[
        str, Env("FASTFLOW_NETWORK", "Docker network of runs; made when missing. none = no network.")
    ] = "fastflow"
    worker_base_image: Annotated[str, Env("WORKER_BASE_IMAGE", "Image that the worker image is built from.")] = (
        "debian:bookworm-slim"
    )
    worker_image: Annotated[
        str, Env("FASTFLOW_WORKER_IMAGE", "A worker image that exists already; default: build it once.")
    ] = ""
    ca_bundle: Annotated[
        str, Env("FASTFLOW_CA_BUNDLE", "PEM file with certificates that sandboxes trust besides the usual ones.")
    ] = ""
    pre_heat: Annotated[
        bool, Env("UV_PRE_HEAT", "Prepare environments when a pipeline goes live, not only at its first run.")
    ] = False
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
    encryption_key: Annotated[
        str, Env("ENCRYPTION_KEY", "Fernet keys, separated by commas; the first one encrypts.", secret=True)
    ] = ""
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
            "Seconds after which a sandbox without news from its runner stops itself; the same for all services.",
            least=1,
        ),
    ] = FENCE_S
    grace_s: Annotated[
        float, Env("FASTFLOW_GRACE_S", "Seconds that running scripts get to finish when this runner stops.", least=0)
    ] = 30.0
    leave_running: Annotated[
        bool,
        Env(
            "FASTFLOW_LEAVE_RUNNING",
            "What still runs after the grace time: yes = left to the next runner (Docker only), no = stopped.",
        ),
    ] = True
    log_bytes_max: Annotated[int, Env("FASTFLOW_LOG_BYTES_MAX", "Log bytes kept of one attempt.", least=1)] = (
        250_000_000
    )
    tmp_bytes: Annotated[int, Env("FASTFLOW_TMP_BYTES", "Size of /tmp in a Docker sandbox.", least=1024**2)] = (
        256 * 1024**2
    )
    work_bytes: Annotated[
        int, Env("FASTFLOW_WORK_BYTES", "Size of the working copy's file system in a Docker sandbox.", least=1024**2)
    ] = 512 * 1024**2
    processes_max: Annotated[int, Env("FASTFLOW_PROCESSES_MAX", "Processes in one Docker sandbox.", least=16)] = 512
