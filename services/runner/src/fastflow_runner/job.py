"""What a supervisor is told to run for a run: its command, environment and files. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

import msgspec

from fastflow_contracts.run import Run, RunInput, Running
from fastflow_runner.session import Job, JobFile
from fastflow_runner.store import Prepared

SAMPLE_S = 1.0
GRACE_S = 10.0
"""Between SIGTERM and SIGKILL."""
EVENT_FILE = "FASTFLOW_EVENT_FILE"
CELL_ORDERS_FILE = "FASTFLOW_CELL_ORDERS"
"""For the cell runner only, which reads and removes it: see ``cells``."""
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def job(
    run: Run,
    given: RunInput,
    secrets: Mapping[str, str],
    *,
    prepared: Prepared,
    cell_runner: str,
    dead_after_s: float,
) -> Job:
    """The job of *run*, which must be running. *prepared*: its environment. *cell_runner*: path of ``cells``."""
    assert isinstance(run.state, Running)
    is_notebook = run.order.kind == "notebook"
    files: tuple[JobFile, ...] = (
        () if given.event is None else (JobFile(env=EVENT_FILE, name="event", data=given.event),)
    )
    if is_notebook:
        files += (JobFile(env=CELL_ORDERS_FILE, name="cells.json", data=cell_orders(run, given, secrets)),)
    return Job(
        argv=("{python}", "-I", cell_runner) if is_notebook else ("{python}", "-u", "main.py"),
        cwd=run.pipeline,
        python=prepared.python,
        holds=() if prepared.hold is None else (prepared.hold,),
        env=environment(run, given, secrets, python=prepared.python),
        files=files,
        timeout_s=run.order.limits.timeout_s,
        grace_s=GRACE_S,
        dead_after_s=dead_after_s,
        sample_s=SAMPLE_S,
        memory_bytes=run.order.limits.memory_bytes,
        cell_events=is_notebook,
    )


def cell_orders(run: Run, given: RunInput, secrets: Mapping[str, str]) -> bytes:
    """What the cell runner is told besides the notebook, as JSON. Of secrets only the variables' names."""
    orders = {
        "parameters": {name: given.overrides[name] for name in run.order.parameter_names},
        "cells": run.order.cells,
        "secrets": sorted(secrets),
    }
    return msgspec.json.encode(orders)


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
