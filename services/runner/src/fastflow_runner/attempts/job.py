"""The job that a supervisor gets for a run: its command, environment and files. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec

from fastflow_contracts.ids import RunId
from fastflow_contracts.pipelines.route import ROUTE_BYTES_MAX
from fastflow_contracts.runs.result import RESULT_BYTES_MAX
from fastflow_contracts.runs.run import ParentRun, RunInput, Running, RunRecord
from fastflow_runner.environments.store import ReadyEnvironment
from fastflow_runner.guest.cells import KERNEL_PREFIX, ORDERS_FILE
from fastflow_runner.sandbox.folders import CarriedFolder
from fastflow_runner.sandbox.job import AnswerFile, JobFile, SandboxJob
from fastflow_runner.sandbox.limits import least

SAMPLE_S = 1.0
GRACE_S = 10.0
"""Seconds between SIGTERM and SIGKILL."""
EVENT_FILE = "FASTFLOW_EVENT_FILE"
EVENT_HEADERS_FILE = "FASTFLOW_EVENT_HEADERS_FILE"
ROUTE_FILE = "FASTFLOW_ROUTE_FILE"
ROUTE_NAME = "route"
RESULT_FILE = "FASTFLOW_RESULT_FILE"
RESULT_NAME = "result"
ARTIFACTS_DIR = "FASTFLOW_ARTIFACTS_DIR"
ARTIFACTS_NAME = "artifacts"
STATE_DIR = "FASTFLOW_STATE_DIR"
STATE_NAME = "state"
PARENT_ARTIFACTS_DIR = "FASTFLOW_PARENT_ARTIFACTS_DIR"
PARENT_ARTIFACTS_NAME = "parent-artifacts"
PARENT_VARIABLES = (
    "FASTFLOW_PARENT_RUN_ID",
    "FASTFLOW_PARENT_PIPELINE",
    "FASTFLOW_PARENT_STATUS",
    "FASTFLOW_PARENT_EXIT_CODE",
    "FASTFLOW_PARENT_ERROR_TYPE",
    "FASTFLOW_PARENT_ERROR_MESSAGE",
    "FASTFLOW_PARENT_URL",
)
"""Of how the run ended that this one follows."""


def job(
    run: RunRecord,
    given: RunInput,
    secrets: Mapping[str, str],
    *,
    prepared: Sequence[ReadyEnvironment],
    cell_runner: str,
    dead_after_s: float,
    memory_bytes_max: int | None = None,
    public_url: str = "",
    folders: tuple[CarriedFolder, ...] = (),
) -> SandboxJob:
    """Build the job of *run*, which must be running.

    Args:
        prepared: the environments it needs, its own first.
        cell_runner: the path of ``cells`` inside the sandbox.
        dead_after_s: how long the sandbox may run without a heartbeat.
        memory_bytes_max: the most memory of one sandbox; None: no bound.
        public_url: the address of the dashboard; empty = unknown.
        folders: what it brings along, and what goes back.
    """
    assert isinstance(run.state, Running)
    python = prepared[0].python
    env = environment(run, given, secrets, public_url=public_url)
    for name in (ROUTE_FILE, RESULT_FILE, *(folder.env for folder in folders)):
        env.pop(name, None)
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
        answers=(
            AnswerFile(env=ROUTE_FILE, name=ROUTE_NAME, bytes_max=ROUTE_BYTES_MAX),
            AnswerFile(env=RESULT_FILE, name=RESULT_NAME, bytes_max=RESULT_BYTES_MAX),
        ),
        folders=folders,
        timeout_s=run.order.limits.timeout_s,
        grace_s=GRACE_S,
        dead_after_s=dead_after_s,
        sample_s=SAMPLE_S,
        memory_bytes=least(run.order.limits.memory_bytes, memory_bytes_max),
        cell_events=is_notebook,
    )


def cell_orders(run: RunRecord, given: RunInput, secrets: Mapping[str, str], *, python: str) -> bytes:
    """What the cell runner gets besides the notebook, as JSON. Of secrets it contains only the variable names.

    Args:
        python: the kernel's interpreter.
    """
    orders = {
        "python": python,
        "parameters": {
            name: _parameter(given.overrides[name], is_json=name in run.order.json_parameters)
            for name in run.order.parameter_names
            if name in given.overrides  # run and input are two records
        },
        "cells": run.order.cells,
        "secrets": sorted(secrets),
    }
    return msgspec.json.encode(orders)


def _parameter(text: str, *, is_json: bool) -> str | msgspec.Raw:
    if is_json:
        with suppress(msgspec.DecodeError, RecursionError):  # else the whole file would be no JSON
            msgspec.json.decode(text)
            return msgspec.Raw(text.encode())
    return text


def environment(run: RunRecord, given: RunInput, secrets: Mapping[str, str], *, public_url: str = "") -> dict[str, str]:
    """The variables of the run. Later ones win: the pipeline's, its secrets, the trigger's, the system's.

    The supervisor and the cell runner add those that activate the environment.
    """
    assert isinstance(run.state, Running)
    order = run.order
    system = {
        "FASTFLOW_RUN_ID": run.id,
        "FASTFLOW_PIPELINE": run.pipeline,
        "FASTFLOW_ATTEMPT": str(run.state.attempt),
        "FASTFLOW_TRIGGERED_BY": order.triggered_by,
        "FASTFLOW_RUN_CONFIG_ID": order.run_config_id or "",
        "FASTFLOW_SCHEDULED_FOR": order.scheduled_for.isoformat() if order.scheduled_for else "",
        "FASTFLOW_RUN_URL": _url(public_url, run.id),
        "FASTFLOW_ROOT_RUN_ID": run.root_run_id,
        PARENT_ARTIFACTS_DIR: "",
        **_parent(given.parent, public_url),
    }
    chosen = {name: value for name, value in given.overrides.items() if name not in given.not_variables}
    return {**given.env, **secrets, **chosen, **system}


def _parent(parent: ParentRun | None, public_url: str) -> dict[str, str]:
    """How the run ended that this one follows. Without one, all are empty."""
    if parent is None:
        return dict.fromkeys(PARENT_VARIABLES, "")
    values = (
        parent.run_id,
        parent.pipeline,
        parent.status,
        "" if parent.exit_code is None else str(parent.exit_code),
        parent.error_type or "",
        (parent.error_message or "").replace("\0", ""),  # which no variable can hold
        _url(public_url, parent.run_id),
    )
    return dict(zip(PARENT_VARIABLES, map(str, values), strict=True))


def _url(public_url: str, run_id: RunId) -> str:
    return f"{public_url}/runs/{run_id}" if public_url else ""
