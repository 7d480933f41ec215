"""The ``up`` command: everything in one process on this machine, until Ctrl-C. Decides the order and what to print."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

import click

from fastflow.errors import INTERRUPTED, BadUsage
from fastflow.local import all_in_one, bus_client, keyring
from fastflow.local import data_dir as datadir
from fastflow.local.address import write_address
from fastflow.local.bus_users import device_password_file, users_in
from fastflow.local.connection import URL_FILE, connected, inbox_of, tls_in
from fastflow.local.nats_server import USERS, embedded_bus
from fastflow.local.plan import (
    UpOptions,
    UpPlan,
    dashboard,
    make_plan,
    with_values,
)
from fastflow.local.ports import check_port, taken_port
from fastflow.local.surroundings import check_machine
from fastflow.remote.session import login_link
from fastflow.terminal.output import drop_output
from fastflow.terminal.tables import short
from fastflow_api import ApiError, Client
from fastflow_contracts.bus import streams
from fastflow_contracts.bus.access.address import redacted
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.permissions import DEVICE, User
from fastflow_contracts.clock import now
from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.pipelines.folder.bundle import shown
from fastflow_contracts.runs.presence import Presence
from fastflow_contracts.service.foreign_settings import warn_of_foreign
from fastflow_contracts.service.logging import set_up_logging

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that stop everything; SIGHUP only if the parent did not ignore it, as ``nohup`` does."""


@click.command()
@click.argument("pipelines_dir", required=False, type=click.Path(path_type=Path))
@click.option("--port", type=click.IntRange(0, 65_535), help="Port of the dashboard; 0 = any.  [default: 8000]")
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where all data is stored.  [default: .fastflow]")
@click.option(
    "--sandbox",
    type=click.Choice(["auto", "docker", "bubble", "process"]),
    help="Where scripts run; auto uses Docker if a daemon answers, else bubblewrap.  [default: auto]",
)
@click.option("--nats-url", metavar="URL", help="Use this NATS server instead of an embedded one.")
@click.option("--mqtt-port", type=click.IntRange(1, 65_535), help="Also take messages of MQTT devices here.")
def up(
    pipelines_dir: Path | None,
    port: int | None,
    host: str | None,
    data_dir: Path | None,
    sandbox: str | None,
    nats_url: str | None,
    mqtt_port: int | None,
) -> None:
    """Start everything: an embedded bus, the services, and the dashboard.

    PIPELINES_DIR holds one folder for each pipeline; default: ./pipelines. Ctrl-C stops everything.
    """
    early = _note_signals()
    options = UpOptions(pipelines_dir, host, port, data_dir, sandbox, nats_url, mqtt_port)
    plan = make_plan(options, os.environ, here=_here())
    with datadir.held(plan.data_dir):
        check_machine(plan.data_dir, now=now())
        if plan.mqtt_port is not None:
            check_port("127.0.0.1", plan.mqtt_port, options="--mqtt-port")
        asyncio.run(_taking_port(plan, early))


def _here() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        raise BadUsage(
            f"this folder no longer exists ({error.strerror}); change to one that does, then start again."
        ) from None


async def _taking_port(plan: UpPlan, early: list[int]) -> None:
    async with taken_port(plan.host, plan.port) as (port, sockets):
        await _up(plan.at(port), early, sockets)


async def _up(plan: UpPlan, early: list[int], sockets: Sequence[socket.socket]) -> None:
    began = time.monotonic()
    stop = asyncio.Event()
    _stop_on_signals(stop, early)
    token = None
    environ = plan.environ
    if not (environ.get("FASTFLOW_ADMIN_TOKEN") or environ.get("FASTFLOW_ADMIN_TOKEN_FILE")):
        token = datadir.login_token(plan.data_dir)
        environ = with_values(environ, FASTFLOW_ADMIN_TOKEN=token)
    key_line = None
    if not keyring.is_set(environ):
        key, is_new = keyring.kept_key(plan.data_dir)
        environ = with_values(environ, ENCRYPTION_KEY=key)
        key_line = _key_line(plan.data_dir / keyring.KEY_FILE, is_new=is_new)
    parts = all_in_one.parts(environ, say=_progress, address=dashboard(plan.host, plan.port))
    set_up_logging(log_json=parts[0].settings.log_json, log_level=parts[0].settings.log_level)
    warn_of_foreign(environ)
    _say(click.style(f"fastflow {version('fastflow')}", bold=True) + "\n")
    if key_line:
        _say(key_line)
    write_address(plan.data_dir, dashboard(plan.host, plan.port))
    leave_running = next(part.settings.leave_running for part in parts if part.name == "runner")
    async with _bus(plan) as (url, seeds):
        ready = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            greeter = group.create_task(_greet(plan, url, token, ready, began), name="greeter")
            parter = group.create_task(_part(plan, url, stop, leave_running=leave_running), name="parter")
            await all_in_one.run(parts, url, stop, ready.set, seeds=seeds, sockets=sockets)
            greeter.cancel()
            parter.cancel()
    _say("Stopped.")


@contextlib.asynccontextmanager
async def _bus(plan: UpPlan) -> AsyncIterator[tuple[str, Mapping[User, str]]]:
    """A bus with all its streams, either the named one or an embedded one. Its address is in the data folder.

    Yields the URL and the services' seeds. Only an embedded bus has seeds: it knows its users.
    """
    seeds: Mapping[User, str] = {}
    async with contextlib.AsyncExitStack() as stack:
        if plan.nats_url is None:
            url = await stack.enter_async_context(embedded_bus(plan.data_dir, mqtt_port=plan.mqtt_port, keep=True))
            seeds = users_in(plan.data_dir / USERS).seeds
        else:
            url = plan.nats_url
        async with connected(url, name="fastflow-up", environ=plan.environ) as bus:
            await streams.ensure(bus.js)
        if plan.nats_url is not None:
            datadir.write_private(plan.data_dir / URL_FILE, url + "\n")
        _say(_line("bus", f"{redacted(url)}, with credentials in {_near(plan.data_dir / URL_FILE)}"))
        if plan.mqtt_port is not None:
            password = _near(device_password_file(plan.data_dir / USERS))
            _say(_line("mqtt", f"127.0.0.1:{plan.mqtt_port}, user {DEVICE}, with the password in {password}"))
        yield url, seeds


async def _greet(plan: UpPlan, url: str, token: str | None, ready: asyncio.Event, began: float) -> None:
    """As soon as runs can start, print what is available and where."""
    await ready.wait()
    async with connect(url, name="fastflow-up", inbox=inbox_of(url), tls=tls_in(plan.environ)) as bus:
        pipelines = await bus_client.pipelines(bus)
        refused = await bus_client.refused(bus)
        runners = {each.runner: each for each in await bus_client.runners(bus, now=now())}
        runner = runners.get(plan.environ["FASTFLOW_RUNNER_ID"])
    bad = sorted({shown(name) for name in (*(each.name for each in pipelines if each.problems), *refused)})
    _say(_line("pipelines", f"{len(pipelines)} in {plan.source}"))
    if bad:
        _say(_line("", click.style(f"with problems: {', '.join(bad)} (see `fastflow validate`)", fg="yellow")))
    if runner is not None:
        _say(_line("sandbox", _sandbox(plan, runner)))
        for sentence in runner.unenforced:
            _say(_line("", click.style(sentence, fg="yellow")))
    address, signs_in = dashboard(plan.host, plan.port), False
    if token is not None:
        with contextlib.suppress(ApiError):
            async with Client(address, token) as client:
                address, signs_in = await login_link(client), True
    _say(_line("dashboard", click.style(address, underline=True)))
    if signs_in:
        _say(
            _line(
                "", click.style("signs in one browser, within 15 minutes; `fastflow open` makes a new link", dim=True)
            )
        )
    _say(f"\nReady after {time.monotonic() - began:.1f} s. Ctrl-C stops everything.")


async def _part(plan: UpPlan, url: str, stop: asyncio.Event, *, leave_running: bool) -> None:
    """On stop, print which runs stop. The shutdown does not wait for this, nor for a bus that does not answer."""
    await stop.wait()
    with contextlib.suppress(FastFlowError):
        async with connected(url, name="fastflow-up", environ=plan.environ) as bus:
            runs = await bus_client.running(bus, plan.environ["FASTFLOW_RUNNER_ID"])
        # With leave_running the runs continue under the next runner.
        if runs and not leave_running:
            named = ", ".join(f"{run.pipeline} ({short(run.id)})" for run in runs)
            _say(f"Stopping {len(runs)} run{'s' * (len(runs) != 1)}: {named}.")


def _key_line(path: Path, *, is_new: bool) -> str:
    kept = f"encrypted with the key in {_near(path)}"
    return _line("secrets", f"{kept}, created just now: keep a copy, nothing else decrypts them" if is_new else kept)


def _sandbox(plan: UpPlan, runner: Presence) -> str:
    if runner.sandbox == "docker":
        return "a Docker container for each run"
    what = "bubblewrap for each run" if runner.sandbox == "bubble" else "plain processes"
    requested = plan.environ.get("FASTFLOW_SANDBOX") == runner.sandbox
    return f"{what}, {'as requested' if requested else f'because {runner.sandbox_reason}'}"


def _note_signals() -> list[int]:
    """Record signals that arrive before there is anything to stop. (Cancelling tasks from outside may get lost.)"""
    early: list[int] = []
    for number in _stopping():
        signal.signal(number, lambda number, _: early.append(number))
    return early


def _stopping() -> list[signal.Signals]:
    is_kept_on = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [number for number in STOPPING if not (is_kept_on and number is signal.SIGHUP)]


def _stop_on_signals(stop: asyncio.Event, early: list[int]) -> None:
    """The first signal starts an orderly stop, the second ends the process at once."""
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            _leave_at_once()
        stop.set()
        _say("\nStopping. Press Ctrl-C again to stop immediately.")

    for number in _stopping():
        loop.add_signal_handler(number, on_signal)
    if early:
        on_signal()


def _leave_at_once() -> NoReturn:
    # The bus and process sandboxes die with this process; containers end when their runner falls silent.
    os._exit(INTERRUPTED)


def _line(what: str, text: str) -> str:
    return f"  {click.style(f'{what:<11}', dim=True)}{text}"


def _say(text: str) -> None:
    """Print *text*. Without a reader (a closed terminal, a pipe whose other end is gone) the services go on."""
    try:
        click.echo(text, color=False if os.environ.get("NO_COLOR") else None)
    except OSError:
        drop_output()


def _progress(text: str) -> None:
    """Print one line about a longer step, such as the build of the worker image."""
    _say(_line("", click.style(text, dim=True)))


def _near(path: Path) -> str:
    """*path* relative to the current folder, if it is below it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
