"""The ``completion`` command: what makes a shell complete commands, options and pipelines."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from fastflow.errors import BadUsage

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_FASTFLOW_COMPLETE"
"""How a shell asks; click answers."""


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes SHELL complete commands, options and the names of pipelines.

    \b
    bash:  echo 'eval "$(fastflow completion bash)"' >> ~/.bashrc
    zsh:   echo 'eval "$(fastflow completion zsh)"' >> ~/.zshrc
    fish:  fastflow completion fish > ~/.config/fish/completions/fastflow.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise BadUsage(f"{shell} cannot be completed; choose one of {', '.join(SHELLS)}.")
    click.echo(kind(context.find_root().command, {}, "fastflow", VARIABLE).source())
