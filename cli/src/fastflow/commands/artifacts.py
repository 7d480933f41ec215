"""The command about the files that a run left. Options in, printed lines and files out."""

from __future__ import annotations

import unicodedata
from contextlib import aclosing
from pathlib import Path

import click

from fastflow.errors import NoSuchThing
from fastflow.local.downloads import save
from fastflow.remote.completion import pipeline_names
from fastflow.remote.finding import find_run
from fastflow.remote.session import FindTarget, api_options, ask
from fastflow.terminal.printer import json_option, print_json
from fastflow_api import Client
from fastflow_api.formatting import bytes_text


@click.command()
@click.argument("wanted", metavar="RUN", shell_complete=pipeline_names)
@click.argument("path", required=False)
@click.option("--to", "folder", type=click.Path(path_type=Path, file_okay=False), help="Download into this folder.")
@click.option("--force", is_flag=True, help="Replace files that exist.")
@json_option
@api_options
def artifacts(
    wanted: str, path: str | None, folder: Path | None, force: bool, as_json: bool, target: FindTarget
) -> None:
    """List the files that RUN left in FASTFLOW_ARTIFACTS_DIR, or download them.

    RUN is an id, its beginning, or a pipeline's name for its newest run. With PATH, only that file is downloaded, into
    the current folder if --to is not given.
    """

    async def work(client: Client) -> None:
        run = await find_run(client, wanted)
        found = await client.artifacts(run.id)
        chosen = [each for each in found.artifacts if path in (None, each.path)]
        if path is not None and not chosen:
            raise NoSuchThing(f"run {run.id} left no file {path!r}; `fastflow artifacts {run.id}` lists them.")
        if path is None and folder is None:
            if as_json:
                print_json(found)
                return
            for each in chosen:
                click.echo(f"{bytes_text(each.size_bytes):>10}  {each.sha256[:12]}  {_plain(each.path)}")
        else:
            for each in chosen:
                async with aclosing(client.artifact(run.id, each.path)) as pieces:
                    await save(folder or Path(), each.path, pieces, sha256=each.sha256, replace=force)
                click.echo(_plain(each.path))
        for problem in found.problems:
            click.echo(f"Not stored: {_plain(problem)}", err=True)

    ask(target, work)


def _plain(text: str) -> str:
    """*text* without what a terminal would obey."""
    return "".join(each if each.isprintable() or unicodedata.category(each) == "Zs" else "�" for each in text)
