"""How a command reaches an installation: its options, one event loop per command, error messages."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import click

from fastflow.errors import INTERRUPTED, BadUsage, CliError, NoSuchThing, NothingAnswers
from fastflow.remote.target import Target, TargetOptions, find
from fastflow_api import ApiError, Client, errors

T = TypeVar("T")

FindTarget = Callable[[], Target]
"""Finds the installation, or raises ``CliError``."""


def api_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that name an installation. *command* gets ``target``, a function that finds it."""

    @click.option("--url", metavar="URL", help="Address of the installation, as in a browser.")
    @click.option(
        "--token",
        metavar="TOKEN",
        help="Token of the installation; FASTFLOW_TOKEN keeps it out of your shell's history.",
    )
    @click.option("--on", metavar="NAME", help="The installation that `fastflow login --on NAME` stored.")
    @click.option(
        "--data-dir", metavar="DIR", type=click.Path(path_type=Path), help="The data folder of a `fastflow up`."
    )
    @functools.wraps(command)
    def with_target(
        *arguments: Any, url: str | None, token: str | None, on: str | None, data_dir: Path | None, **options: Any
    ) -> Any:
        given = TargetOptions(url, token, on, data_dir)
        return command(*arguments, target=lambda: find(given, environ=os.environ, here=Path.cwd()), **options)

    return with_target


def ask(find_target: FindTarget, work: Callable[[Client], Coroutine[Any, Any, T]], *, hint: str | None = None) -> T:
    """Do *work* with a client. Raises ``CliError``. Ctrl-C prints *hint* to stderr and ends the command with 130."""
    target = find_target()

    async def session() -> T:
        async with client_of(target) as client:
            return await work(client)

    try:
        return asyncio.run(session())
    except KeyboardInterrupt:
        if hint:
            click.echo(f"\n{hint}", err=True)
        raise SystemExit(INTERRUPTED) from None
    except ApiError as error:
        raise in_words(error, target) from None
    except BaseExceptionGroup as group:
        from fastflow_contracts.service.lifecycle import leaves

        for leaf in leaves(group):
            if isinstance(leaf, ApiError):
                raise in_words(leaf, target) from None
        raise


async def login_link(client: Client) -> str:
    """Make an address that signs in one browser, once. Raises ``ApiError``."""
    code = await client.login_code()
    return f"{client.url}/login?{urlencode({'code': code.code})}"


def client_of(target: Target, *, timeout_s: float = 30.0) -> Client:
    """Make a client for *target*. Raises ``BadUsage`` if its address is not valid."""
    try:
        return Client(target.url, target.token, timeout_s=timeout_s)
    except ValueError as error:
        raise BadUsage(str(error)) from None


def in_words(error: ApiError, target: Target) -> CliError:
    """Turn *error* into one with an exit code and with advice for the command line."""
    match error:
        case errors.NotSignedIn() if target.token is None:
            return NothingAnswers(
                f"{target.url} needs a token: sign in with `fastflow login {target.url}`, or set FASTFLOW_TOKEN."
            )
        case errors.NotSignedIn():
            return NothingAnswers(f"{target.url} refuses the token: {error}")
        case errors.Unreachable() if error.status is None:
            return NothingAnswers(f"{error} The address comes from {target.origin}; is it running?")
        case errors.Unreachable():
            return NothingAnswers(str(error))
        case errors.NotFound():
            return NoSuchThing(str(error))
        case errors.BadRequest():
            return BadUsage(str(error))
        case _:
            return CliError(str(error))
