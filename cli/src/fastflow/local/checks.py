"""Checks the folders of pipelines as a sync would, without a bus. Reads files only."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from msgspec.structs import replace

from fastflow.errors import NoSuchThing
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.cycles import cycle, cyclic_groups
from fastflow_contracts.pipelines.expressions.evaluator import ExpressionEvaluator
from fastflow_contracts.pipelines.folder import disk
from fastflow_contracts.pipelines.folder.discovery import MANIFEST, NOTEBOOK, SCRIPT
from fastflow_contracts.pipelines.folder.examine import Found, examine
from fastflow_contracts.pipelines.folder.selection import FOLDERS_MAX, STRAY_ENTRIES
from fastflow_contracts.pipelines.format.manifest import Notice, Problem
from fastflow_contracts.pipelines.format.spec import PipelineSpec
from fastflow_contracts.pipelines.links import merged
from fastflow_contracts.pipelines.parameters.chains import chain_notices
from fastflow_contracts.pipelines.trial import tried
from fastflow_syncer.settings import SyncerSettings


def check(folder: Path, settings: SyncerSettings) -> list[tuple[Path, Found]]:
    """Check every pipeline in *folder*, or *folder* itself. Raises ``NoSuchThing`` if there is none.

    A folder with its own script *and* with pipelines in it is checked as both.
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
    return _with_chains(_with_cycles(asyncio.run(_tried(found))))


async def _tried(found: list[tuple[Path, Found]]) -> list[tuple[Path, Found]]:
    evaluator = ExpressionEvaluator()
    try:
        return [(where, await tried(pipeline, evaluator)) for where, pipeline in found]
    finally:
        await evaluator.close()


def _has_entry(folder: Path) -> bool:
    return any(os.path.isfile(folder / entry) for entry in (SCRIPT, NOTEBOOK))  # False also where it may not look


def _own(folder: Path, settings: SyncerSettings) -> Found | None:
    """The pipeline that *folder* itself is."""
    return _child(folder.resolve(), settings) if _has_entry(folder) else None


def _child(folder: Path, settings: SyncerSettings) -> Found | None:
    content = disk.read(folder, settings.folder_limits)
    limits, policy = settings.folder_limits, settings.policy
    if examined := examine(folder.name, content, is_known=False, limits=limits, policy=policy):
        return examined.found
    if unread := [refusal for refusal in content.refusals if not refusal.path]:
        return Found(PipelineName(folder.name), None, tuple(Problem(accepted=each.reason) for each in unread), ())
    if notice := _unfinished(folder.name, content.files):
        return Found(PipelineName(folder.name), None, (), (notice,))
    return None


def _with_notice(own: Found) -> Found:
    text = "has pipelines in it: as the folder of all pipelines it is none itself; move its script into a folder there."
    return replace(own, notices=(*own.notices, Notice(text=text)))


def _with_cycles(found: list[tuple[Path, Found]]) -> list[tuple[Path, Found]]:
    """Add a notice to the first pipeline of each cycle of pipelines that start each other.

    A cycle that a route leads into is not noted: its script decides when it ends.
    """
    specs = {pipeline.name: pipeline.version.spec for _, pipeline in found if pipeline.version}
    follows: dict[str, set[str]] = {
        name: {link.pipeline for link in merged(spec.downstream_triggers, ()) if link.applies and not link.on_route}
        for name, spec in specs.items()
    }
    notes = {min(group): _cycle_notice(cycle(group, follows), group) for group in cyclic_groups(follows)}
    return [
        (where, replace(pipeline, notices=(*pipeline.notices, notes[pipeline.name])))
        if pipeline.name in notes
        else (where, pipeline)
        for where, pipeline in found
    ]


def _with_chains(found: list[tuple[Path, Found]]) -> list[tuple[Path, Found]]:
    """Add a notice for each chain whose starts are all refused."""
    specs: dict[str, PipelineSpec] = {pipeline.name: pipeline.version.spec for _, pipeline in found if pipeline.version}
    return [
        (where, replace(pipeline, notices=(*pipeline.notices, *chain_notices(pipeline.version.spec, specs))))
        if pipeline.version
        else (where, pipeline)
        for where, pipeline in found
    ]


def _cycle_notice(names: Sequence[str], group: Collection[str]) -> Notice:
    way = " → ".join((*names, names[0]))
    others = ", ".join(sorted({*group} - {*names}))
    more = f" (and others through {others})" if others else ""
    return Notice(
        field="downstream_triggers",
        text=f"starts itself again: {way}{more}. Such a chain continues until FASTFLOW_CHAIN_DEPTH_MAX or "
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
