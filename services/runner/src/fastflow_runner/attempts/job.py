"""The job that a supervisor gets for a run: its command, environment and files. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

import msgspec

from fastflow_contracts.runs.run import RunInput, Running, RunRecord
from fastflow_runner.environments.store import ReadyEnvironment
from fastflow_runner.guest.cells import KERNEL_PREFIX, ORDERS_FILE
from fastflow_runner.sandbox.job import JobFile, SandboxJob

SAMPLE_S = 1.0
GRACE_S = 10.0
"""Seconds between SIGTERM and SIGKILL."""
EVENT_FILE = "FASTFLOW_EVENT_FILE"
EVENT_HEADERS_FILE = "FASTFLOW_EVENT_HEADERS_FILE"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def job(
    run: RunRecord,
    given: RunInput,
    secrets: Mapping[str, str],
    *,
    prepared: Sequence[ReadyEnvironment],
    cell_runner: str,
    dead_after_s: float,
) -> SandboxJob:
    """Build the job of *run*, which must be running.

    Args:
        prepared: the environments it needs, its own first.
        cell_runner: the path of ``cells`` inside the sandbox.
        dead_after_s: how long the sandbox may run without a heartbeat.
    """
    assert isinstance(run.state, Running)
    python = prepared[0].python
    env = environment(run, given, secrets, python=python)
    argv: tuple[str, ...] = ("{python}", "-u", "main.py")
    files: tuple[JobFile, ...] = ()
    if given.event is not None:
        files = (JobFile(env=EVENT_FILE, name="event", data=given.event),)
        env.pop(EVENT_FILE, None)
    if given.event is not None or given.event_headers:
        headers = msgspec.json.encode(given.event_headers)
        files += (JobFile(env=EVENT_HEADERS_FILE, name="event-headers.json", data=headers),)
        env.pop(EVENT_HEADERS_FILE, None)
    if is_notebook := run.order.kind == "notebook":
        assert python is not None, "a kernel needs packages"
        orders = cell_orders(run, given, secrets, python=python)
        argv, python = ("{python}", "-I", cell_runner), prepared[1].python
        env = {f"{KERNEL_PREFIX}{name}": value for name, value in env.items()}
        files += (JobFile(env=ORDERS_FILE, name="cells.json", data=orders),)
    return SandboxJob(
        argv=argv,
        cwd=run.pipeline,
        python=python,
        holds=tuple(each.hold for each in prepared if each.hold is not None),
        env=env,
        files=files,
        timeout_s=run.order.limits.timeout_s,
        grace_s=GRACE_S,
        dead_after_s=dead_after_s,
        sample_s=SAMPLE_S,
        memory_bytes=run.order.limits.memory_bytes,
        cell_events=is_notebook,
    )


def cell_orders(run: RunRecord, given: RunInput, secrets: Mapping[str, str], *, python: str) -> bytes:
    """What the cell runner gets besides the notebook, as JSON. Of secrets it contains only the variable names.

    Args:
        python: the kernel's interpreter.
    """
    orders = {
        "python": python,
        "parameters": {name: given.overrides[name] for name in run.order.parameter_names},
        "cells": run.order.cells,
        "secrets": sorted(secrets),
    }
    return msgspec.json.encode(orders)


def environment(run: RunRecord, given: RunInput, secrets: Mapping[str, str], *, python: str | None) -> dict[str, str]:
    """The variables of the run. Later ones win: the pipeline's, its secrets, the trigger's, the system's."""
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
    """The variables that activate an environment, as ``uv run`` sets them, so that its commands are found."""
    if python is None:
        return {}
    bin_dir = PurePosixPath(python).parent
    return {"VIRTUAL_ENV": str(bin_dir.parent), "PATH": f"{bin_dir}:{SYSTEM_PATH}"}
