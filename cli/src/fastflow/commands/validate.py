"""The ``validate`` command: the checks of a sync on a folder, without a bus."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click

from fastflow.errors import FAILED, OK
from fastflow.local.checks import check
from fastflow.terminal import upcoming
from fastflow.terminal.printer import json_option, print_json
from fastflow.terminal.upcoming import Upcoming
from fastflow_api.formatting import bytes_text, cores_text, duration
from fastflow_contracts.clock import now
from fastflow_contracts.pipelines.folder.bundle import shown
from fastflow_contracts.pipelines.folder.examine import Found
from fastflow_contracts.pipelines.format.differences import differences
from fastflow_contracts.pipelines.format.limit_policy import NO_POLICY, LimitPolicy
from fastflow_contracts.pipelines.format.manifest import Notice, Problem
from fastflow_contracts.pipelines.format.spec import PipelineSpec
from fastflow_contracts.service.foreign_settings import foreign
from fastflow_contracts.service.settings import load
from fastflow_syncer.settings import SyncerSettings

_RELEVANT: Final = ("CONTAINER_TIMEOUT", "DEFAULT_", "FASTFLOW_FOLDER_", "MAX_")
"""Variables that say what a version may hold and demand; the others of a syncer do not matter here."""


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--slots", type=click.IntRange(0, 100), default=3, show_default=True, help="Next slots to print for each schedule."
)
@json_option
def validate(folder: Path, slots: int, as_json: bool) -> None:
    """Check the pipeline in DIR, or every pipeline below it. Made for your CI.

    Prints each problem with its field, value, accepted values, file and line; notices; what other schedulers read
    differently; the limits of runs, if the environment sets any; and when each schedule is due next. Limits are those
    of the environment, as for a syncer. Exit code 1 if there is a problem, or no pipeline.
    """
    settings = validation_settings(os.environ)
    found = check(folder, settings)
    at = now()
    if as_json:
        print_json([_as_json(pipeline, settings.policy, at, slots) for _, pipeline in found])
    else:
        for where, pipeline in found:
            click.echo(report(where, pipeline, settings.policy, at, slots))
        for name, advice in foreign(os.environ).items():
            click.echo(f"{name} is set and has no effect here: {advice}.", err=True)
        click.echo(_summary([pipeline for _, pipeline in found]), err=True)
    is_good = any(pipeline.version for _, pipeline in found) and not any(pipeline.problems for _, pipeline in found)
    raise SystemExit(OK if is_good else FAILED)


def validation_settings(environ: Mapping[str, str]) -> SyncerSettings:
    """The limits that a syncer with this environment has. Raises ``BadSettings``."""
    relevant = {name: value for name, value in environ.items() if name.startswith(_RELEVANT)}
    return load(SyncerSettings, relevant, also_known=relevant)


def report(where: Path, pipeline: Found, policy: LimitPolicy, at: datetime, slots: int) -> str:
    """One line for the pipeline, for each of its problems and notices, for its limits, and for each schedule."""
    good = click.style("ok ", fg="green") if pipeline.version else "-- "
    mark = click.style("bad", fg="red") if pipeline.problems else good
    lines = [f"{mark} {shown(pipeline.name)}"]
    lines += [f"    {_at(where, problem)}" for problem in pipeline.problems]
    lines += [f"    {_at(where, notice)} (a notice)" for notice in pipeline.notices]
    if pipeline.version:
        lines += [f"    {_at(where, Notice(text=each))} (a difference)" for each in differences(pipeline.version.spec)]
        lines += [f"    {line}" for line in _limit_lines(pipeline.version.spec, policy)]
    if slots:
        lines += [f"    {line}" for line in upcoming.lines(_upcoming(pipeline, at, slots))]
    return "\n".join(lines)


def _limit_lines(spec: PipelineSpec, policy: LimitPolicy) -> Iterator[str]:
    """The limits of the runs, if the environment has a say in them."""
    if policy != NO_POLICY:
        found = _limits(spec, policy)
        cpu = "none" if found["cpu_hard_limit"] is None else cores_text(found["cpu_hard_limit"])
        memory = "none" if found["mem_hard_limit"] is None else bytes_text(found["mem_hard_limit"])
        timeout = duration(found["timeout"]) if found["timeout"] else "none"
        yield f"limits: cpu {cpu}, memory {memory}, timeout {timeout}"


def _limits(spec: PipelineSpec, policy: LimitPolicy) -> dict[str, Any]:
    return {
        "cpu_hard_limit": policy.cpu(spec.cpu_hard_limit),
        "mem_hard_limit": policy.memory(spec.mem_hard_limit),
        "timeout": policy.timeout(spec.timeout),
    }


def _upcoming(pipeline: Found, at: datetime, slots: int) -> list[Upcoming]:
    return upcoming.upcoming_of(pipeline.version.spec, now=at, count=slots) if pipeline.version else []


def _at(where: Path, diagnostic: Problem | Notice) -> str:
    """The diagnostic with a path relative to here, so that editors and terminals can open it."""
    seen = shown(str(where))
    return f"{seen}/{diagnostic}" if diagnostic.file else f"{seen}: {diagnostic}"


def _summary(pipelines: list[Found]) -> str:
    bad = sum(1 for pipeline in pipelines if pipeline.problems)
    count = bad + sum(1 for pipeline in pipelines if pipeline.version)
    total = f"{count} pipeline{'s' * (count != 1)}"
    return f"{total}, {bad} with problems." if bad else f"{total}, no problems."


def _as_json(pipeline: Found, policy: LimitPolicy, at: datetime, slots: int) -> dict[str, Any]:
    spec = pipeline.version.spec if pipeline.version else None
    return {
        "name": pipeline.name,
        "valid": pipeline.version is not None,
        "problems": pipeline.problems,
        "notices": pipeline.notices,
        "differences": list(differences(spec)) if spec else [],
        "limits": _limits(spec, policy) if spec else None,
        "schedules": [upcoming.as_json(each) for each in _upcoming(pipeline, at, slots)],
    }
