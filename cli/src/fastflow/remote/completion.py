"""Shell completion of pipeline names, from the installation that the command line names. Never an error."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import click
from click.shell_completion import CompletionItem

TIMEOUT_S: Final = 1.0
"""Short, because a person waits for it."""


def pipeline_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Pipelines whose names start with *incomplete*, with their descriptions."""
    try:
        return asyncio.run(_asked(context, incomplete))
    except Exception:  # an error must not disturb the command line
        return []


async def _asked(context: click.Context, incomplete: str) -> list[CompletionItem]:
    import os

    from fastflow.remote.session import client_of
    from fastflow.remote.target import TargetOptions, find

    given = context.params
    data_dir = given.get("data_dir")
    options = TargetOptions(
        given.get("url"), given.get("token"), given.get("on"), None if data_dir is None else Path(data_dir)
    )
    async with asyncio.timeout(TIMEOUT_S):
        async with client_of(find(options, environ=os.environ, here=Path.cwd()), timeout_s=TIMEOUT_S) as client:
            return [
                CompletionItem(pipeline.name, help=(pipeline.description or "").partition("\n")[0])
                for pipeline in await client.pipelines()
                if pipeline.name.startswith(incomplete)
            ]
