"""The commands that choose an installation: login, logout, status, open. Options in, printed lines out."""

from __future__ import annotations

import asyncio
import os
import sys
import webbrowser
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click

from fastflow.commands.doctor import troubles
from fastflow.errors import FAILED, OK, BadUsage, NoSuchThing
from fastflow.remote import logins
from fastflow.remote.logins import DEFAULT, Login
from fastflow.remote.session import FindTarget, api_options, ask, login_link
from fastflow.remote.target import Target, token_in
from fastflow.terminal.printer import json_option, print_json
from fastflow_api import Client
from fastflow_api.shapes import Health, Pipeline, Runner, SyncStatus

_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


@click.command()
@click.argument("url")
@click.option("--token", metavar="TOKEN", help="The installation's token. Without it: a prompt, or standard input.")
@click.option("--on", "name", metavar="NAME", default=DEFAULT, help="Store it under a name, for `--on NAME`.")
def login(url: str, token: str | None, name: str) -> None:
    """Sign in to the installation at URL: other commands then use it.

    URL is the dashboard's address. The token is in the file `token` of the data folder of a `fastflow up`, or in the
    installation's FASTFLOW_ADMIN_TOKEN. Address and token are stored in your configuration folder, readable only by
    you. Without --on, this installation becomes the default.
    """
    address = _address(url)
    given = token or token_in(os.environ) or _asked()
    target = Target(address, given, "the command line")

    async def work(client: Client) -> None:
        await client.sync_status()  # needs a token and is cheap

    ask(lambda: target, work)
    logins.write({**logins.read(), name: Login(address, given)})
    click.echo(f"Signed in to {address}" + ("" if name == DEFAULT else f" as {name}") + f"; stored in {logins.path()}.")
    if urlsplit(address).scheme == "http" and urlsplit(address).hostname not in _LOOPBACK:
        click.echo("The address is not https: anyone on the network path can read the token.", err=True)


@click.command()
@click.option("--on", "name", metavar="NAME", default=DEFAULT, help="The installation stored under this name.")
@click.option("--all", "everything", is_flag=True, help="All stored installations.")
def logout(name: str, everything: bool) -> None:
    """Forget an installation: its address and token."""
    stored = logins.read()
    if not everything and name not in stored:
        raise NoSuchThing(f"no login is called {name}; there are: {', '.join(sorted(stored)) or 'none'}.")
    left = {} if everything else {each: kept for each, kept in stored.items() if each != name}
    logins.write(left)
    gone = [kept.url for each, kept in stored.items() if each not in left]
    click.echo(f"Signed out of {', '.join(gone) or 'nothing'}.")


@click.command()
@json_option
@api_options
def status(as_json: bool, target: FindTarget) -> None:
    """Show which installation is used, and its state. Exit code 1 if it is not ready."""
    found = target()

    async def work(client: Client) -> int:
        health, pipelines, runners, sync = await asyncio.gather(
            client.readiness(), client.pipelines(), client.runners(), client.sync_status()
        )
        if as_json:
            print_json(_as_json(found, health, pipelines, runners, sync))
        else:
            for name, text in _lines(found, health, pipelines, runners, sync):
                click.echo(f"{name:<10} {text}")
        return OK if is_ready(health) else FAILED

    raise SystemExit(ask(lambda: found, work))


@click.command(name="open")
@click.option("--no-browser", is_flag=True, help="Only print the address that signs you in.")
@api_options
def open_dashboard(no_browser: bool, target: FindTarget) -> None:
    """Open the dashboard in a browser, signed in, and print its address."""
    found = target()

    async def work(client: Client) -> str:
        if found.token:
            return await login_link(client)
        await client.health()
        return f"{client.url}/"

    address = found.url.rstrip("/")
    signed_in = ask(lambda: found, work)
    if no_browser or not webbrowser.open(signed_in):
        click.echo(signed_in)
    else:
        click.echo(f"{address}/")


def _address(url: str) -> str:
    """The installation's address in *url*, which may be a sign-in link. Raises ``BadUsage``."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadUsage(f"{url!r} is not an address; write it as http://host:port or https://host.")
    return f"{parts.scheme}://{parts.netloc}{parts.path.removesuffix('/login')}".rstrip("/")


def _asked() -> str:
    token = click.prompt("Token", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline()
    if not (token := str(token).strip()):
        raise BadUsage("there is no token; give it with --token, or on standard input.")
    return token


def _lines(
    target: Target, health: Health, pipelines: list[Pipeline], runners: tuple[Runner, ...], sync: SyncStatus
) -> list[tuple[str, str]]:
    problems = sum(not pipeline.valid for pipeline in pipelines)
    active = sum(pipeline.active_runs for pipeline in pipelines)
    slots, busy = sum(runner.slots for runner in runners), sum(runner.busy for runner in runners)
    lacks = "; ".join(f"{name} {state}" for name, state in health.dependencies.items() if state != "ok")
    from_where = f" from {sync.last.source}" if sync.last else ", nothing was synced yet"
    failed = f"; the last sync failed: {sync.last.error}" if sync.last and not sync.last.ok else ""
    bad = f", {problems} with problems" if problems else ""
    return [
        ("address", f"{target.url} ({_near(target.origin)})"),
        ("gateway", ("ready" if is_ready(health) else "not ready") + (f": {lacks}" if lacks else "")),
        *troubles(health),
        ("pipelines", f"{len(pipelines)}{from_where}{bad}{failed}"),
        ("runs", f"{active} waiting or running"),
        ("runners", f"{len(runners)}, {busy} of {slots} slots in use" if runners else "none: no run can start"),
    ]


def is_ready(health: Health) -> bool:
    """Return whether the gateway answers requests, also if something else is missing or works only in part."""
    return health.status != "unavailable"


def _near(origin: str) -> str:
    """*origin* relative to the current folder, if it is a folder below it."""
    try:
        return str(Path(origin).relative_to(Path.cwd()))
    except ValueError:
        return origin


def _as_json(
    target: Target, health: Health, pipelines: list[Pipeline], runners: tuple[Runner, ...], sync: SyncStatus
) -> dict[str, Any]:
    return {
        "url": target.url,
        "origin": target.origin,
        "status": health.status,
        "dependencies": health.dependencies,
        "degraded": health.degraded,
        "unreadable": health.unreadable,
        "pipelines": len(pipelines),
        "pipelines_with_problems": [pipeline.name for pipeline in pipelines if not pipeline.valid],
        "active_runs": sum(pipeline.active_runs for pipeline in pipelines),
        "runners": runners,
        "last_sync": sync.last,
    }
