"""The ``config`` command: all settings, and their values here."""

from __future__ import annotations

import os

import click

from fastflow.local.settings_table import Setting, markdown, settings, values
from fastflow.terminal.printer import json_option, print_json
from fastflow.terminal.tables import table


@click.command()
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the table of the documentation.")
@json_option
def config(as_markdown: bool, as_json: bool) -> None:
    """List every setting of every service: its variable, its value if set here, its default, what it does.

    NAME_FILE names a file that holds the value instead. "up" is the default under `fastflow up`.
    """
    if as_markdown:
        click.echo(markdown(), nl=False)
        return
    here = values(os.environ)
    if as_json:
        listed = [
            {
                "name": s.name,
                "value": here.get(s.name),
                "default": s.default,
                "default_in_up": s.default if s.default_in_up is None else s.default_in_up,
                "services": s.services,
                "help": s.help,
            }
            for s in settings()
        ]
        print_json(listed)
        return
    rows = [
        (s.name, click.style(here[s.name], bold=True) if s.name in here else _default(s), s.help) for s in settings()
    ]
    click.echo(table(("VARIABLE", "VALUE", "WHAT IT DOES"), rows))


def _default(setting: Setting) -> str:
    if setting.default_in_up is not None:
        return f"{setting.default} (up: {setting.default_in_up})"
    return setting.default or "-"
