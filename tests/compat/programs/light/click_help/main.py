"""The help of a click group, whose width does not depend on a terminal."""

import click


@click.group()
def cli():
    """Do things with rows."""


@cli.command()
@click.option("--fast/--slow", default=True)
def load(fast):
    """Load the rows."""


cli(["--help"], prog_name="rows")
