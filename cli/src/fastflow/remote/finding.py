"""Finds the RUN or NAME of a command in the installation, and suggests names if there is none. I/O."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from fastflow.errors import NoSuchThing
from fastflow_api import Client, errors
from fastflow_api.shapes import Run

PREFIX_CHARACTERS_MIN: Final = 4
CANDIDATES_MAX: Final = 5
_RUN_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


async def find_run(client: Client, wanted: str) -> Run:
    """The run whose id is or starts with *wanted*, or the newest run of the pipeline of that name.

    Raises:
        NoSuchThing: There is no such run, or several ids start with *wanted*.
    """
    if _RUN_ID.fullmatch(wanted):
        try:
            return await client.run(wanted)
        except errors.NotFound:
            raise NoSuchThing(f"there is no run {wanted}; `fastflow ps --all` lists the runs.") from None
    if _NAME.fullmatch(wanted) and (newest := await _newest(client, wanted)):
        return newest
    if PREFIX_CHARACTERS_MIN <= len(wanted) <= 36:
        found = await client.run_ids(wanted)
        if found.total == 1:
            return await client.run(found.ids[0])
        if found.total:
            candidates = ", ".join(found.ids[:CANDIDATES_MAX])
            raise NoSuchThing(f"{found.total} run ids start with {wanted!r}: {candidates}; type more.")
    names = await _names(client)
    if wanted in names:
        raise NoSuchThing(f"{wanted} has no runs yet; start one with `fastflow run {wanted}`.")
    raise NoSuchThing(f"no run or pipeline {wanted!r}{_meant(wanted, names)}; `fastflow ps --all` lists the runs.")


async def check_pipeline(client: Client, name: str) -> None:
    """Raise ``NoSuchThing`` with similar names if there is no pipeline *name*."""
    names = await _names(client)
    if name not in names:
        raise NoSuchThing(f"there is no pipeline {name}{_meant(name, names) or '.'} `fastflow pipelines` lists them.")


@asynccontextmanager
async def about_pipeline(client: Client, name: str) -> AsyncIterator[None]:
    """Suggest similar names if the installation does not know the pipeline *name*."""
    try:
        yield
    except errors.NotFound:
        await check_pipeline(client, name)
        raise  # it exists and is disabled


async def _newest(client: Client, pipeline: str) -> Run | None:
    try:
        return next(iter((await client.pipeline_runs(pipeline, limit=1)).runs), None)
    except errors.NotFound:
        return None


async def _names(client: Client) -> list[str]:
    return [pipeline.name for pipeline in await client.pipelines()]


def _meant(name: str, names: list[str]) -> str:
    import difflib

    similar = difflib.get_close_matches(name, names, n=3)
    return f"; did you mean {' or '.join(similar)}?" if similar else ""
