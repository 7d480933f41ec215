"""The ``fastflow`` command: the list of commands, and how an error becomes one line and an exit code.

A command's module is imported only when the command is used, so ``fastflow --help`` answers at once.
"""

from __future__ import annotations

import gc
import importlib
import os
from typing import NoReturn, cast

import click
from click.shell_completion import CompletionItem

from fastflow.errors import (
    FAILED,
    INTERRUPTED,
    NOT_FOUND,
    UNREACHABLE,
    USAGE,
    CliError,
    SystemFailed,
)
from fastflow_contracts.errors import FastFlowError

COMMANDS = {
    "up": ("fastflow.commands.up:up", "Start everything on this machine: bus, services, dashboard."),
    "run": ("fastflow.commands.start:run", "Start a pipeline."),
    "logs": ("fastflow.commands.runs:logs", "Show a run's log."),
    "result": ("fastflow.commands.runs:result", "Print a run's result."),
    "pipelines": ("fastflow.commands.pipelines:pipelines", "List pipelines: when they run next, how they ran last."),
    "ps": ("fastflow.commands.runs:ps", "List runs."),
    "cancel": ("fastflow.commands.runs:cancel", "Stop a run."),
    "retry": ("fastflow.commands.runs:retry", "Run a finished run again."),
    "backfill": ("fastflow.commands.operations:backfill", "Run a schedule's slots in a past range."),
    "bulk": ("fastflow.commands.operations:bulk", "Cancel or retry many runs."),
    "replay": ("fastflow.commands.operations:replay", "Send stored inputs again, to today's code."),
    "operations": ("fastflow.commands.operations:operations", "List backfills and bulk actions, or cancel one."),
    "trigger": ("fastflow.commands.start:trigger", "Publish an event that starts a pipeline."),
    "skipped": ("fastflow.commands.skipped:skipped", "List starts that were refused."),
    "redrive": ("fastflow.commands.skipped:redrive", "Start the messages of refused starts."),
    "versions": ("fastflow.commands.versions:versions", "List the deployed versions of a pipeline."),
    "pin": ("fastflow.commands.versions:pin", "Keep one version of a pipeline live."),
    "unpin": ("fastflow.commands.versions:unpin", "Let the newest version be live again."),
    "rollback": ("fastflow.commands.versions:rollback", "Go back to the version before the live one."),
    "schedules": ("fastflow.commands.schedules:schedules", "List schedules, or switch one on or off."),
    "pause": ("fastflow.commands.pauses:pause", "Let no new run begin, of one pipeline or of all."),
    "resume": ("fastflow.commands.pauses:resume", "End a pause."),
    "runners": ("fastflow.commands.runners:runners", "List the live runners, or drain one."),
    "open": ("fastflow.commands.installations:open_dashboard", "Open the dashboard in a browser."),
    "status": ("fastflow.commands.installations:status", "Show which installation is used, and its state."),
    "doctor": ("fastflow.commands.doctor:doctor", "Show what is wrong with an installation, and what to do."),
    "login": ("fastflow.commands.installations:login", "Sign in to an installation that runs elsewhere."),
    "logout": ("fastflow.commands.installations:logout", "Forget an installation."),
    "init": ("fastflow.commands.init:init", "Create the folder of a new pipeline."),
    "validate": ("fastflow.commands.validate:validate", "Check pipeline folders; needs no bus."),
    "simulate": ("fastflow.commands.simulate:simulate", "Show what will run in the next days, and what will wait."),
    "encrypt": ("fastflow.commands.secrets:encrypt", "Encrypt a secret for a pipeline.json."),
    "keys": ("fastflow.commands.secrets:keys", "Create an encryption key, or rotate to a new one."),
    "schema": ("fastflow.commands.schema:schema", "Print the JSON Schema of pipeline.json."),
    "bus": ("fastflow.commands.bus:bus", "Prepare the bus, copy it, show its state or its address."),
    "config": ("fastflow.commands.config:config", "List every setting."),
    "completion": ("fastflow.commands.completion:completion", "Print the script for shell completion."),
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        return cast(click.Command, getattr(importlib.import_module(module), name))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete from the table, without importing any command."""
        found = [CompletionItem(name, help=text) for name, (_, text) in COMMANDS.items() if name.startswith(incomplete)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_line) for name, (_, help_line) in COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="fastflow", message="fastflow %(version)s")
@click.pass_context
def fastflow(ctx: click.Context) -> None:
    """Runs Python pipelines on NATS: a folder with a main.py is a pipeline.

    Start with `fastflow up`. The other commands find the installation by --url, --on or FASTFLOW_URL, by
    what `fastflow login` stored, or by the .fastflow folder here or above. Exit codes: 0 done, 1 failed,
    2 wrong usage, 3 not found, 5 nothing answers or the token is wrong, 130 interrupted.
    """
    if os.environ.get("NO_COLOR"):
        ctx.color = False


def main() -> NoReturn:
    """Run the command line. Never returns."""
    try:
        _run()
    finally:
        gc.freeze()  # Collecting what lives until the end would take a fifth of a short command's time.


def _run() -> NoReturn:
    try:
        code = fastflow(prog_name="fastflow", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        raise SystemExit(error.exit_code) from None
    except (click.Abort, KeyboardInterrupt):
        raise SystemExit(INTERRUPTED) from None
    except (Exception, BaseExceptionGroup) as error:
        if _has_lost_its_reader(error):
            from fastflow.terminal.output import drop_output

            drop_output()
            raise SystemExit(FAILED) from None
        reasons = _reasons(error)
        for reason in reasons:
            prefix = click.style("fastflow:", fg="red", bold=True)
            click.echo(f"{prefix} {reason}", err=True, color=False if os.environ.get("NO_COLOR") else None)
        raise SystemExit(_exit_code(reasons[0])) from None
    raise SystemExit(code)


def _has_lost_its_reader(error: BaseException) -> bool:
    """Whether the reader of our output is gone, as with ``head``. Click handles this outside of exception groups."""
    if not isinstance(error, BaseExceptionGroup):
        return False
    from fastflow_contracts.service.parts import leaves

    return all(isinstance(leaf, BrokenPipeError) for leaf in leaves(error))


def _reasons(error: BaseException) -> list[Exception]:
    """The errors to print, one line each, without repetitions."""
    found = [_told(leaf, error) for leaf in _leaves(error)]
    return list({str(leaf): leaf for leaf in found}.values())


def _told(leaf: BaseException, error: BaseException) -> Exception:
    """*leaf* if it is one of our errors, else a sentence. The traceback of an unexpected error goes to a file."""
    if isinstance(leaf, FastFlowError):
        return leaf
    if isinstance(leaf, OSError):
        return SystemFailed(leaf)
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="fastflow-", suffix=".log", delete=False) as file:
        traceback.print_exception(error, file=file)
    words = " ".join(f"{type(leaf).__name__}: {leaf}".split())
    return CliError(f"unexpected error: {words}. Please report it, with the file {file.name}.")


def _leaves(error: BaseException) -> list[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    from fastflow_contracts.service.parts import leaves

    return leaves(error)


def _exit_code(error: Exception) -> int:
    if isinstance(error, CliError):
        return error.exit_code
    # These imports are free: the module that raised the error is already loaded.
    from fastflow_contracts.bus.errors import Unavailable
    from fastflow_contracts.bus.streams import WrongTopology
    from fastflow_contracts.ids import BadRunId
    from fastflow_contracts.names import BadName
    from fastflow_contracts.runs.store import NoSuchRun
    from fastflow_contracts.runs.triggers import BadTrigger
    from fastflow_contracts.secrets.envelope import BadKey
    from fastflow_contracts.service.settings import BadSettings

    codes: dict[type[BaseException], int] = {
        Unavailable: UNREACHABLE,
        WrongTopology: UNREACHABLE,
        NoSuchRun: NOT_FOUND,
        BadKey: USAGE,
        BadRunId: USAGE,
        BadName: USAGE,
        BadSettings: USAGE,
        BadTrigger: USAGE,
    }
    return next((code for kind, code in codes.items() if isinstance(error, kind)), FAILED)
