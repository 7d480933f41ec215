"""The ``init`` command: a new pipeline's folder, ready to run and to edit."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

import click

from fastflow.errors import BadUsage, CliError
from fastflow.local.plan import DEFAULT_PIPELINES
from fastflow_contracts.names import check_name
from fastflow_contracts.pipelines.folder.discovery import MANIFEST, SCRIPT

_SCRIPT: Final = '''\
"""{name}: one sentence about what it does."""

import os

name = os.environ.get("NAME", "world")  # default_env in pipeline.json sets it; a start may override it
print(f"Hello, {{name}}!")
'''
_README: Final = """\
# {name}

`main.py` runs; exit code 0 means success. `pipeline.json` says when and how. JSON has no comments, so here they are:

| field | what it does |
|---|---|
| `description` | shown with the pipeline everywhere |
| `tags` | for grouping and filtering, such as `["reports"]` |
| `default_env` | variables of every run, no secrets; `fastflow run {name} -e NAME=Ada` overrides them |
| `timeout` | seconds one attempt may take; 0: no limit |
| `retry_attempts` | how many more attempts after a failed one |

Add these when you need them:

| field | for example |
|---|---|
| `schedule_cron`, `timezone` | `"0 3 * * *"`, `"Europe/Berlin"`: every night at 03:00 |
| `schedule_interval_seconds` | `3600`: every hour |
| `max_instances` | `1`: never two runs at once |
| `mem_hard_limit`, `cpu_hard_limit` | `"512MB"`, `1.0`: what a run may use |
| `python_version` | `"3.12"` |
| `webhook_key` | a secret: the last part of the address that starts a run |
| `encrypted_env` | `{{"API_KEY": "gAAAA…"}}`: a token of `fastflow encrypt --pipeline {name} --name API_KEY` |
| `downstream_triggers` | `[{{"pipeline": "other"}}]`: what starts when this pipeline succeeds |

Put packages into a `requirements.txt` next to this file. `fastflow validate .` checks the folder; `fastflow schema`
prints all fields and what each accepts.
"""


@click.command()
@click.argument("name")
@click.option(
    "--dir",
    "parent",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help=f"The folder that holds the pipelines.  [default: PIPELINES_DIR, or {DEFAULT_PIPELINES}]",
)
def init(name: str, parent: Path | None) -> None:
    """Create the pipeline NAME: a folder with a script, a pipeline.json, and a README about its fields."""
    folder = (parent or Path(os.environ.get("PIPELINES_DIR") or DEFAULT_PIPELINES)) / check_name(name)
    try:
        folder.mkdir(parents=True)
        for file, text in files(name).items():
            (folder / file).write_text(text)
    except FileExistsError:
        raise BadUsage(f"{folder} already exists; choose another name, or remove it.") from None
    except OSError as error:
        raise CliError(f"{folder} cannot be created: {error.strerror}.") from None
    for file in files(name):
        click.echo(folder / file)
    click.echo(f"Run it with `fastflow run {name} --follow` while `fastflow up {folder.parent}` runs.", err=True)


def files(name: str) -> dict[str, str]:
    """The files of a new pipeline, by name."""
    manifest = {
        "description": f"{name}: see README.md next to this file for the fields.",
        "tags": [],
        "default_env": {"NAME": "world"},
        "timeout": 600,
        "retry_attempts": 0,
    }
    return {
        SCRIPT: _SCRIPT.format(name=name),
        MANIFEST: json.dumps(manifest, indent=2) + "\n",
        "README.md": _README.format(name=name),
    }
