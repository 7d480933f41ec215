"""A click command that is called with its own arguments, and one that is wrong."""

import click


@click.command()
@click.option("--count", default=2, show_default=True, help="How often.")
@click.argument("name")
def greet(count, name):
    """Greet NAME."""
    for _ in range(count):
        click.secho(f"Hello, {name}!", fg="green")
    click.echo("to standard error", err=True)


greet(["Wörld"], standalone_mode=False)
greet(["--count", "many", "x"], prog_name="greet")
