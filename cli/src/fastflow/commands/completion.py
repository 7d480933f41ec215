"""The ``completion`` command: a script that lets a shell complete commands, options and pipelines."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from fastflow.errors import BadUsage

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_FASTFLOW_COMPLETE"
"""Set by the shell when it asks for completions; click answers."""


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that lets SHELL complete commands, options and pipeline names.

    \b
    bash:  echo 'eval "$(fastflow completion bash)"' >> ~/.bashrc
    zsh:   echo 'eval "$(fastflow completion zsh)"' >> ~/.zshrc
    fish:  fastflow completion fish > ~/.config/fish/completions/fastflow.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise BadUsage(f"{shell} is not supported; choose one of {', '.join(SHELLS)}.")
    click.echo(kind(context.find_root().command, {}, "fastflow", VARIABLE).source())
