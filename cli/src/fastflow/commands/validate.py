"""The ``validate`` command: the checks of a sync on a folder, without a bus."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from msgspec.structs import replace

from fastflow.errors import FAILED, OK, NoSuchThing
from fastflow.terminal import upcoming
from fastflow.terminal.printer import json_option, print_json
from fastflow.terminal.upcoming import Upcoming
from fastflow_contracts.clock import now
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.cycles import cycle, knots
from fastflow_contracts.pipelines.folder import disk
from fastflow_contracts.pipelines.folder.bundle import shown
from fastflow_contracts.pipelines.folder.discovery import MANIFEST, NOTEBOOK, SCRIPT
from fastflow_contracts.pipelines.folder.examine import Found, examine
from fastflow_contracts.pipelines.folder.selection import FOLDERS_MAX
from fastflow_contracts.pipelines.format.manifest import Notice, Problem
from fastflow_contracts.pipelines.links import merged


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--slots", type=click.IntRange(0, 100), default=3, show_default=True, help="Next slots to print for each schedule."
)
@json_option
def validate(folder: Path, slots: int, as_json: bool) -> None:
    """Check the pipeline in DIR, or every pipeline below it. Made for your CI.

    Prints each problem with its field, value, accepted values, file and line; notices; and when each schedule is
    due next. Exit code 1 if there is a problem, or no pipeline.
    """
    found = check(folder)
    at = now()
    if as_json:
        print_json([_as_json(pipeline, at, slots) for _, pipeline in found])
    else:
        for where, pipeline in found:
            click.echo(report(where, pipeline, at, slots))
        click.echo(_summary([pipeline for _, pipeline in found]), err=True)
    is_good = any(pipeline.version for _, pipeline in found) and not any(pipeline.problems for _, pipeline in found)
    raise SystemExit(OK if is_good else FAILED)


def check(folder: Path) -> list[tuple[Path, Found]]:
    """Check every pipeline in *folder*, or *folder* itself. Raises ``NoSuchThing`` if there is none."""
    if not folder.is_dir():
        raise NoSuchThing(f"{folder} is not a folder; give a pipeline's folder, or the folder above several.")
    alone = any((folder / entry).is_file() for entry in (SCRIPT, NOTEBOOK))
    root = folder.resolve().parent if alone else folder
    try:
        children = disk.children(root)
    except OSError as error:
        raise NoSuchThing(f"{root} cannot be read: {error.strerror}.") from None
    if len(children.folders) > FOLDERS_MAX:
        raise NoSuchThing(f"{root}: more than {FOLDERS_MAX:,} folders; give the folder of the pipelines.")
    found = []
    for name in [folder.resolve().name] if alone else children.folders:
        content = disk.read(root / name)
        where = folder if alone else folder / name
        if examined := examine(name, content, is_known=False):
            found.append((where, examined.found))
        elif notice := _unfinished(name, content.files):
            found.append((where, Found(PipelineName(name), None, (), (notice,))))
    if not alone:
        found += [(folder / name, _refused(name, why)) for name, why in sorted(children.ignored.items())]
    found = _with_cycles(found)
    if not found:
        raise NoSuchThing(f"there is no pipeline in {folder}; a pipeline is a folder with a {SCRIPT}.")
    return found


def _with_cycles(found: list[tuple[Path, Found]]) -> list[tuple[Path, Found]]:
    """Add a notice to the first pipeline of each cycle of pipelines that start each other.

    A cycle that a route leads into is not noted: its script decides when it ends.
    """
    specs = {pipeline.name: pipeline.version.spec for _, pipeline in found if pipeline.version}
    follows: dict[str, set[str]] = {
        name: {link.pipeline for link in merged(spec.downstream_triggers, ()) if link.applies and not link.on_route}
        for name, spec in specs.items()
    }
    notes = {min(knot): _cycle_notice(cycle(knot, follows), knot) for knot in knots(follows)}
    return [
        (where, replace(pipeline, notices=(*pipeline.notices, notes[pipeline.name])))
        if pipeline.name in notes
        else (where, pipeline)
        for where, pipeline in found
    ]


def _cycle_notice(names: Sequence[str], knot: Collection[str]) -> Notice:
    way = " → ".join((*names, names[0]))
    others = ", ".join(sorted({*knot} - {*names}))
    more = f" (and others through {others})" if others else ""
    return Notice(
        field="downstream_triggers",
        text=f"starts itself again: {way}{more}. Such a chain goes on until FASTFLOW_CHAIN_DEPTH_MAX or "
        "FASTFLOW_CHAIN_RUNS_MAX stops it.",
    )


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


def report(where: Path, pipeline: Found, at: datetime, slots: int) -> str:
    """One line for the pipeline, for each of its problems and notices, and for each schedule."""
    good = click.style("ok ", fg="green") if pipeline.version else "-- "
    mark = click.style("bad", fg="red") if pipeline.problems else good
    lines = [f"{mark} {shown(pipeline.name)}"]
    lines += [f"    {_at(where, problem)}" for problem in pipeline.problems]
    lines += [f"    {_at(where, notice)} (a notice)" for notice in pipeline.notices]
    if slots:
        lines += [f"    {line}" for line in upcoming.lines(_upcoming(pipeline, at, slots))]
    return "\n".join(lines)


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


def _as_json(pipeline: Found, at: datetime, slots: int) -> dict[str, Any]:
    return {
        "name": pipeline.name,
        "valid": pipeline.version is not None,
        "problems": pipeline.problems,
        "notices": pipeline.notices,
        "schedules": [upcoming.as_json(each) for each in _upcoming(pipeline, at, slots)],
    }
