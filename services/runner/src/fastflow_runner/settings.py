"""The runner's settings, read from its environment. No I/O."""

from __future__ import annotations

from typing import Annotated, Literal

from fastflow_contracts.bus.subjects import RUNNER_ID_PATTERN
from fastflow_contracts.labels import LABEL_RULE, RUNNER_LABELS_MAX, RUNNER_LABELS_PATTERN
from fastflow_contracts.pipelines.folder.origins import ALLOWED_HELP, ALLOWED_LIKE, ALLOWED_PATTERN
from fastflow_contracts.runs.artifacts.manifest import ARTIFACTS_MAX
from fastflow_contracts.runs.lease import FENCE_S
from fastflow_contracts.runs.presence import LEASE_S, LEASE_S_MAX
from fastflow_contracts.service.settings import BadSettings, Env, ServiceSettings
from fastflow_runner.output.quota import PIPELINE_BYTES_MAX


class RunnerSettings(ServiceSettings, frozen=True, kw_only=True):
    """The defaults suit a laptop. Sizes are bytes, durations seconds."""

    runner_id: Annotated[
        str,
        Env(
            "FASTFLOW_RUNNER_ID",
            "Name of this runner, constant across restarts. Default: the host's name.",
            pattern=RUNNER_ID_PATTERN,
            like="`runner-1`: letters, digits, `_`, `-`, `=` and `/`",
        ),
    ] = ""
    slots: Annotated[int, Env("RUNNER_SLOTS", "Maximum number of concurrent runs on this runner.", least=1)] = 10
    pool_size_max: Annotated[
        int,
        Env(
            "RUNNER_POOL_SIZE",
            "Maximum number of warm sandboxes (Docker, bubble); recent demand determines how many. Twice as many of "
            "ended runs may wait for their removal. 0 = none.",
            least=0,
        ),
    ] = 24
    kinds: Annotated[str, Env("FASTFLOW_RUNNER_KINDS", "Kinds of work to take, separated by commas.")] = (
        "script,notebook"
    )
    labels: Annotated[
        str,
        Env(
            "RUNNER_LABELS",
            "Labels of this runner, separated by commas, for pipelines with `runs_on`. It also takes runs that ask for "
            "none.",
            pattern=RUNNER_LABELS_PATTERN,
            like=f"`gpu,zone-a`: at most {RUNNER_LABELS_MAX} labels; each is {LABEL_RULE}",
        ),
    ] = ""
    only_labelled: Annotated[
        bool,
        Env("RUNNER_ONLY_LABELLED", "Take only runs that ask for at least one label, of those of `RUNNER_LABELS`."),
    ] = False
    sandbox: Annotated[
        Literal["auto", "docker", "bubble", "process", "dummy"],
        Env(
            "FASTFLOW_SANDBOX",
            "Where scripts run: docker; bubble (bubblewrap, without a daemon); process (no isolation); or auto (Docker "
            "if a daemon answers, else bubble if this machine can). dummy runs nothing; use it only for measurements.",
        ),
    ] = "auto"
    data_dir: Annotated[
        str,
        Env(
            "FASTFLOW_DATA_DIR",
            "Directory of what is not in Docker: environments, and the sandboxes of bubblewrap or the working copies "
            "of plain processes. It must be on a local disk.",
        ),
    ] = ".fastflow"
    store_volume: Annotated[
        str, Env("FASTFLOW_STORE_VOLUME", "Docker volume for environments, shared by all runners of one daemon.")
    ] = "fastflow-store"
    environments_bytes_max: Annotated[
        int,
        Env(
            "FASTFLOW_ENVIRONMENTS_BYTES_MAX",
            "Maximum disk space for environments, interpreters and uv's cache; the least recently used go first. "
            "0 = no limit.",
            least=0,
        ),
    ] = 20_000_000_000
    network: Annotated[
        str,
        Env(
            "FASTFLOW_NETWORK",
            "Docker network of runs, created if missing. none = no network. In bubble, host gives runs this machine's "
            "network, the bus included, and any other name gives each run a network of its own.",
        ),
    ] = "fastflow"
    network_open: Annotated[
        str,
        Env(
            "FASTFLOW_NETWORK_OPEN",
            "What runs and builds of environments reach besides the internet, separated by commas: addresses, networks "
            "such as 10.1.0.0/16, names, or host for the machine of the runs, each with or without :PORT. Everything "
            "else on that machine, in private networks and on the link is closed in Docker and bubblewrap.",
        ),
    ] = ""
    network_max: Annotated[
        Literal["internet", "list", "none"],
        Env(
            "FASTFLOW_NETWORK_MAX",
            "The most network that a pipeline may have: internet; list = only pipelines that list what they reach have "
            "a network; none. Builds of environments are not limited.",
        ),
    ] = "internet"
    network_check_s: Annotated[
        float,
        Env(
            "FASTFLOW_NETWORK_CHECK_S",
            "Seconds between two checks of the firewall of runs, which a reload of the host's rules may have removed.",
            least=5,
        ),
    ] = 300.0
    network_unenforced: Annotated[
        Literal["refuse", "allow"],
        Env(
            "FASTFLOW_NETWORK_UNENFORCED",
            "Runs of a pipeline that limits its network, in plain processes, which cannot: refuse, or allow with all "
            "of the machine's network.",
        ),
    ] = "refuse"
    container_runtime: Annotated[
        str,
        Env(
            "FASTFLOW_CONTAINER_RUNTIME",
            "Container runtime of Docker sandboxes, as the daemon knows it: runsc, kata, crun, … Default: its own.",
            pattern=r"[A-Za-z0-9][A-Za-z0-9._-]*",
            like="runsc",
        ),
    ] = ""
    seccomp: Annotated[
        Literal["fastflow", "docker"],
        Env(
            "FASTFLOW_SECCOMP",
            "Which system calls Docker sandboxes may use: fastflow = what scripts need, docker = the daemon's default. "
            "Sandboxes of bubblewrap always have the first.",
        ),
    ] = "fastflow"
    worker_base_image: Annotated[str, Env("WORKER_BASE_IMAGE", "Base image of the worker image.")] = (
        "debian:bookworm-slim"
    )
    worker_image: Annotated[
        str, Env("FASTFLOW_WORKER_IMAGE", "An existing worker image to use. Default: build one.")
    ] = ""
    ca_bundle: Annotated[
        str, Env("FASTFLOW_CA_BUNDLE", "PEM file of additional certificates that sandboxes trust.")
    ] = ""
    index_credentials: Annotated[
        str,
        Env(
            "FASTFLOW_INDEX_CREDENTIALS",
            "Logins of package indexes, as addresses with user and password, separated by blanks. Each goes to its own "
            "host only, and never to the code of a package. In Docker, an index in a private network must also be in "
            "FASTFLOW_NETWORK_OPEN.",
            secret=True,
            pattern=r"\s*(https?://[^/\s@]+@[^\s@/]\S*(\s+|$))*",
            like="https://user:password@packages.example.com/simple",
        ),
    ] = ""
    allowed_indexes: Annotated[
        str, Env("FASTFLOW_ALLOWED_INDEXES", ALLOWED_HELP, pattern=ALLOWED_PATTERN, like=ALLOWED_LIKE)
    ] = ""
    require_hashes: Annotated[
        bool,
        Env(
            "FASTFLOW_REQUIRE_HASHES",
            "Install only packages that requirements or a lock pin by hash. It implies FASTFLOW_NO_BUILD: what a build "
            "fetches has no hash.",
        ),
    ] = False
    no_build: Annotated[
        bool,
        Env("FASTFLOW_NO_BUILD", "Install only wheels: build no package from source, so nothing of them runs then."),
    ] = False
    pre_heat: Annotated[
        bool, Env("UV_PRE_HEAT", "Prepare environments when a pipeline goes live, not only at its first run.")
    ] = False
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
    encryption_key: Annotated[
        str, Env("ENCRYPTION_KEY", "Fernet keys, separated by commas; the first one encrypts.", secret=True)
    ] = ""
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
    grace_s: Annotated[
        float, Env("FASTFLOW_GRACE_S", "Seconds that running scripts have to finish when this runner stops.", least=0)
    ] = 30.0
    leave_running: Annotated[
        bool,
        Env(
            "FASTFLOW_LEAVE_RUNNING",
            "Scripts that run longer than the grace time: yes = left to the next runner (not by plain processes), "
            "no = stopped.",
        ),
    ] = True
    log_bytes_max: Annotated[
        int, Env("FASTFLOW_LOG_BYTES_MAX", "Maximum size of the log of one attempt, in bytes.", least=1)
    ] = 250_000_000
    pipeline_log_bytes_max: Annotated[
        int,
        Env(
            "FASTFLOW_PIPELINE_LOG_BYTES_MAX",
            "Maximum size of what all runs of one pipeline log on this runner within a day, in bytes; then their logs "
            "are truncated. The bus keeps 4 GiB of logs for all. 0 = no limit.",
            least=0,
        ),
    ] = PIPELINE_BYTES_MAX
    artifacts_bytes_max: Annotated[
        int,
        Env(
            "FASTFLOW_ARTIFACTS_BYTES_MAX",
            "Maximum size of all files that one run leaves in FASTFLOW_ARTIFACTS_DIR, in bytes. In Docker and bubble "
            "they must also fit into FASTFLOW_WORK_BYTES.",
            least=0,
        ),
    ] = 1024**3
    artifacts_files_max: Annotated[
        int,
        Env(
            "FASTFLOW_ARTIFACTS_FILES_MAX",
            "Maximum number of files that one run leaves in FASTFLOW_ARTIFACTS_DIR.",
            least=0,
            most=ARTIFACTS_MAX,
        ),
    ] = ARTIFACTS_MAX
    public_url: Annotated[
        str,
        Env(
            "FASTFLOW_PUBLIC_URL",
            "The address that browsers and senders of webhooks use, if a proxy stands before the gateway; also for the "
            "links that runs get.",
            pattern=r"https?://[^/?#\s]+(/[^?#\s]*)?",
            like="https://fastflow.example.com",
        ),
    ] = ""
    tmp_bytes: Annotated[
        int,
        Env(
            "FASTFLOW_TMP_BYTES",
            "Size of /tmp in a sandbox (Docker, bubble), in bytes. What is in it counts as memory.",
            least=1024**2,
        ),
    ] = 256 * 1024**2
    work_bytes: Annotated[
        int,
        Env(
            "FASTFLOW_WORK_BYTES",
            "Size of the working copy's file system in a sandbox (Docker, bubble), in bytes. What is in it counts as "
            "memory too.",
            least=1024**2,
        ),
    ] = 512 * 1024**2
    memory_share_max: Annotated[
        float,
        Env(
            "FASTFLOW_MEMORY_SHARE_MAX",
            "The most memory of one sandbox (Docker or bubble), as a share of its machine's, for pipelines with no "
            "limit or a higher one. 0 = no limit.",
            least=0,
        ),
    ] = 0.75
    files_max: Annotated[
        int,
        Env(
            "FASTFLOW_FILES_MAX",
            "Maximum number of files in each file system in memory of a Docker sandbox: /tmp, and the working copy. "
            "bubble has no such limit.",
            least=1000,
        ),
    ] = 250_000
    processes_max: Annotated[
        int, Env("FASTFLOW_PROCESSES_MAX", "Maximum number of processes in a sandbox (Docker, bubble).", least=16)
    ] = 512


def check(settings: RunnerSettings) -> None:
    """Check what the types cannot.

    Raises:
        BadSettings: The runner could take no run.
    """
    if settings.only_labelled and not settings.labels.strip():
        raise BadSettings("RUNNER_ONLY_LABELLED is set, so this runner would take no run: set RUNNER_LABELS as well.")
