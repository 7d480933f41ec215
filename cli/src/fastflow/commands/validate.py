"""The ``validate`` command: the checks of a sync on a folder, without a bus."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click
from msgspec.structs import replace

from fastflow.errors import FAILED, OK, NoSuchThing
from fastflow.terminal import upcoming
from fastflow.terminal.printer import json_option, print_json
from fastflow.terminal.upcoming import Upcoming
from fastflow_api.formatting import duration
from fastflow_contracts.clock import now
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.cycles import cycle, knots
from fastflow_contracts.pipelines.folder import disk
from fastflow_contracts.pipelines.folder.bundle import shown
from fastflow_contracts.pipelines.folder.discovery import MANIFEST, NOTEBOOK, SCRIPT
from fastflow_contracts.pipelines.folder.examine import Found, examine
from fastflow_contracts.pipelines.folder.selection import FOLDERS_MAX, STRAY_ENTRIES
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
    settings = _settings(os.environ)
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


def _settings(environ: Mapping[str, str]) -> SyncerSettings:
    """The limits that a syncer with this environment has. Raises ``BadSettings``."""
    relevant = {name: value for name, value in environ.items() if name.startswith(_RELEVANT)}
    return load(SyncerSettings, relevant, also_known=relevant)


def check(folder: Path, settings: SyncerSettings) -> list[tuple[Path, Found]]:
    """Check every pipeline in *folder*, or *folder* itself. Raises ``NoSuchThing`` if there is none.

    A folder with a script of its own *and* with pipelines in it is checked as both.
    """
    if not folder.is_dir():
        raise NoSuchThing(f"{folder} is not a folder; give a pipeline's folder, or the folder above several.")
    try:
        children = disk.children(folder)
    except OSError as error:
        raise NoSuchThing(f"{folder} cannot be read: {error.strerror}.") from None
    if len(children.folders) > FOLDERS_MAX:
        raise NoSuchThing(f"{folder}: more than {FOLDERS_MAX:,} folders; give the folder of the pipelines.")
    is_root = any(_has_entry(folder / name) for name in children.folders)
    found = [(folder, _with_notice(own) if is_root else own)] if (own := _own(folder, settings)) else []
    if is_root or not found:
        found += [(folder / name, child) for name in children.folders if (child := _child(folder / name, settings))]
        found += [
            (folder / name, _refused(name, why))
            for name, why in sorted(children.ignored.items())
            if name not in STRAY_ENTRIES
        ]
    if not found:
        raise NoSuchThing(f"there is no pipeline in {folder}; a pipeline is a folder with a {SCRIPT}.")
    circles = _cycle_notices(pipeline for _, pipeline in found)
    return [
        (where, replace(each, notices=(*each.notices, circles[each.name])) if each.name in circles else each)
        for where, each in found
    ]


def _has_entry(folder: Path) -> bool:
    return any((folder / entry).is_file() for entry in (SCRIPT, NOTEBOOK))


def _own(folder: Path, settings: SyncerSettings) -> Found | None:
    """The pipeline that *folder* itself is."""
    return _child(folder.resolve(), settings) if _has_entry(folder) else None


def _child(folder: Path, settings: SyncerSettings) -> Found | None:
    content = disk.read(folder, settings.folder_limits)
    limits, policy = settings.folder_limits, settings.policy
    if examined := examine(folder.name, content, is_known=False, limits=limits, policy=policy):
        return examined.found
    if notice := _unfinished(folder.name, content.files):
        return Found(PipelineName(folder.name), None, (), (notice,))
    return None


def _with_notice(own: Found) -> Found:
    text = "has pipelines in it: as the folder of all pipelines it is none itself; move its script into a folder there."
    return replace(own, notices=(*own.notices, Notice(text=text)))


def _unfinished(name: str, files: Collection[str]) -> Notice | None:
    """Why the folder is not a pipeline, if it looks like one."""
    if NOTEBOOK in files:
        return Notice(text=f'has a {NOTEBOOK}, but no {MANIFEST} that says "type": "notebook": it is ignored.')
    if metadata := next((file for file in (MANIFEST, f"{name}.json") if file in files), None):
        return Notice(text=f"has a {metadata}, but no {SCRIPT}: it is ignored.")
    return None


def _refused(name: str, why: str) -> Found:
    """An entry that is in a pipeline's place and cannot be one."""
    return Found(PipelineName(name), None, (Problem(accepted=why),), ())


def _cycle_notices(pipelines: Iterable[Found]) -> dict[str, Notice]:
    """A notice for each pipeline that can start itself through others."""
    follows: dict[str, set[str]] = {}
    for each in pipelines:
        rules = each.version.spec.downstream_triggers if each.version else ()
        follows[each.name] = {rule.pipeline for rule in rules if rule.on_success or rule.on_failure}
    notices: dict[str, Notice] = {}
    for knot in knots(follows):
        names = cycle(knot, follows)
        way = " → ".join((*names, names[0]))
        way += f" ({', '.join(sorted(knot))} in all)" if len(knot) > len(names) else ""
        text = f"leads in a circle: {way}. Each run starts the next until the chain is stopped."
        notices |= dict.fromkeys(knot, Notice(field="downstream_triggers", text=text))
    return notices


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
        cpu = "none" if found["cpu_hard_limit"] is None else f"{found['cpu_hard_limit']:g} cores"
        memory = "none" if found["mem_hard_limit"] is None else f"{found['mem_hard_limit'] / 1024**2:,.10g} MiB"
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


def _at(where: Path, finding: Problem | Notice) -> str:
    """The diagnostic with a path relative to here, so that editors and terminals can open it."""
    seen = shown(str(where))
    return f"{seen}/{finding}" if finding.file else f"{seen}: {finding}"


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
