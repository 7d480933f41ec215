"""The ``config`` command: what can be set, and what is set here."""

from __future__ import annotations

import os

import click

from fastflow.output import table
from fastflow.printer import json_option, print_json
from fastflow.settings import markdown, settings, values


@click.command()
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the table of the README.")
@json_option
def config(as_markdown: bool, as_json: bool) -> None:
    """List every setting of every service: its variable, its value if set here, its default, what it does.

    NAME_FILE names a file that holds the value instead.
    """
    if as_markdown:
        click.echo(markdown(), nl=False)
        return
    here = values(os.environ)
    if as_json:
        listed = [
            {"name": s.name, "value": here.get(s.name), "default": s.default, "services": s.services, "help": s.help}
            for s in settings()
        ]
        print_json(listed)
        return
    rows = [
        (s.name, click.style(here[s.name], bold=True) if s.name in here else s.default or "-", s.help)
        for s in settings()
    ]
    click.echo(table(("VARIABLE", "VALUE", "WHAT IT DOES"), rows))
