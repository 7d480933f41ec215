"""What a supervisor is told to run for a run: its command, environment and files. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from fastflow_contracts.run import Run, RunInput, Running
from fastflow_runner.session import Job, JobFile

SAMPLE_S = 1.0
GRACE_S = 10.0
"""Between SIGTERM and SIGKILL."""
EVENT_FILE = "FASTFLOW_EVENT_FILE"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def job(run: Run, given: RunInput, secrets: Mapping[str, str], *, python: str | None, dead_after_s: float) -> Job:
    """The job of *run*, which must be running. *python*: the interpreter inside the sandbox, None = the sandbox's
    own.
    """
    assert isinstance(run.state, Running)
    files = () if given.event is None else (JobFile(env=EVENT_FILE, name="event", data=given.event),)
    return Job(
        argv=("{python}", "-u", "main.py"),
        cwd=run.pipeline,
        python=python,
        env=environment(run, given, secrets, python=python),
        files=files,
        timeout_s=run.order.limits.timeout_s,
        grace_s=GRACE_S,
        dead_after_s=dead_after_s,
        sample_s=SAMPLE_S,
        memory_bytes=run.order.limits.memory_bytes,
    )


def environment(run: Run, given: RunInput, secrets: Mapping[str, str], *, python: str | None) -> dict[str, str]:
    """Variables of the run, later ones winning: the pipeline's, its secrets, the trigger's, the system's."""
    assert isinstance(run.state, Running)
    order = run.order
    system = {
        "FASTFLOW_RUN_ID": run.id,
        "FASTFLOW_PIPELINE": run.pipeline,
        "FASTFLOW_ATTEMPT": str(run.state.attempt),
        "FASTFLOW_TRIGGERED_BY": order.triggered_by,
        "FASTFLOW_RUN_CONFIG_ID": order.run_config_id or "",
        "FASTFLOW_SCHEDULED_FOR": order.scheduled_for.isoformat() if order.scheduled_for else "",
    }
    return {**_activated(python), **given.env, **secrets, **given.overrides, **system}


def _activated(python: str | None) -> dict[str, str]:
    """What activating an environment sets, as ``uv run`` does, so that its commands are found."""
    if python is None:
        return {}
    bin_dir = PurePosixPath(python).parent
    return {"VIRTUAL_ENV": str(bin_dir.parent), "PATH": f"{bin_dir}:{SYSTEM_PATH}"}
