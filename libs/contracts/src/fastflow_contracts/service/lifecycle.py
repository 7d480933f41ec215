"""The lifecycle of a service process: settings from the environment, logging, signals, and a clean exit.

A service is a coroutine ``serve(settings, bus, stop, ready)``. It opens its resources in an ``AsyncExitStack``, runs
its loops in a ``TaskGroup``, and calls ``ready`` when it can do its work. After that it returns soon after *stop* is
set, or after a drain request on the bus; if *stop* is set earlier, it is cancelled. The process exits with a non-zero
code when a task fails or the bus connection is closed permanently.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar

from fastflow_contracts.bus.access.nkeys import BadSeed
from fastflow_contracts.bus.access.tls import PLAIN, Tls
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.permissions import User, inbox
from fastflow_contracts.bus.streams import WrongTopology, verify
from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.log import get_logger
from fastflow_contracts.service.foreign_settings import warn_of_foreign
from fastflow_contracts.service.logging import set_up_logging
from fastflow_contracts.service.settings import BadSettings, ServiceSettings, load

log = get_logger(__name__)

TOPOLOGY_S = 60.0
"""How long a service waits for the streams to be created."""
READY = "ready"
"""The event that a service logs when it can do its work. A program that starts a service may wait for it."""
EXIT_FAILURE = 70
"""Exit code when something that the service needs is gone or broken (EX_SOFTWARE)."""
EXIT_USAGE = 64
"""Exit code when the settings cannot be used (EX_USAGE)."""

S = TypeVar("S", bound=ServiceSettings, contravariant=True)


class Serve(Protocol[S]):
    """A whole service: call *ready* when it can do its work, then work until *stop* is set."""

    def __call__(
        self, settings: S, bus: Bus, stop: asyncio.Event, ready: Callable[[], None]
    ) -> Coroutine[Any, Any, None]: ...


class ConnectionLost(FastFlowError):
    """The connection to the bus is closed permanently."""


def log_ready() -> None:
    """Log that the service is ready. This is ``ready`` for a service that runs in its own process."""
    log.info(READY)


@contextlib.asynccontextmanager
async def bus_ready(url: str, *, user: User, credentials: str = "", tls: Tls = PLAIN) -> AsyncIterator[Bus]:
    """Connect to the bus and wait up to ``TOPOLOGY_S`` for its streams.

    Args:
        url: Address of the bus.
        user: Who connects.
        credentials: File with the NKEY seed of *user*; empty: the address contains the credentials.
        tls: Certificates to trust and to show.

    Raises:
        BadSeed: The credentials cannot be used.
        FastFlowError: As ``connect`` and ``verify``.
    """
    seed = seed_in(credentials) if credentials else ""
    name = f"{user.value}-{process_identity()}"
    async with connect(url, name=name, seed=seed, inbox=inbox(user), tls=tls) as bus:
        async with asyncio.timeout(TOPOLOGY_S + 5):
            await _wait_for_topology(bus)
        yield bus


def seed_in(credentials: str) -> str:
    """Read the NKEY seed in a file. Raises ``BadSeed``."""
    try:
        return Path(credentials).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadSeed(f"the credentials {credentials} cannot be read: {error}.") from None


async def _wait_for_topology(bus: Bus) -> None:
    deadline = asyncio.get_running_loop().time() + TOPOLOGY_S
    warned = False
    while True:
        try:
            return await verify(bus.js)
        except WrongTopology as error:
            if asyncio.get_running_loop().time() > deadline:
                raise
            if not warned:
                log.warning("start delayed", error=str(error))
                warned = True
        await asyncio.sleep(0.5)


async def until_stopped(*stops: asyncio.Event, bus: Bus) -> None:
    """Return when one of *stops* is set. Raises ``ConnectionLost`` if the connection is lost permanently."""
    waiting = {asyncio.ensure_future(event.wait()) for event in (*stops, bus.closed)}
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for future in waiting:
            future.cancel()
    if not any(stop.is_set() for stop in stops):
        raise ConnectionLost("the connection to the bus is closed permanently; the service ends.")


async def run_until(stop: asyncio.Event, work: Coroutine[Any, Any, None], *, bus: Bus) -> None:
    """Run *work* until *stop* is set, then cancel it. Raises a group with the error of *work* or ``ConnectionLost``."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work, name="work")
        await until_stopped(stop, bus=bus)
        task.cancel()


def run(user: User, kind: type[S], serve: Serve[S], *, check: Callable[[S], None] = lambda _: None) -> NoReturn:
    """Run one service as this process: settings from the environment, logging, the bus, signals, the exit code.

    Args:
        user: The service's user on the bus.
        kind: Its settings.
        serve: The service.
        check: Raises ``BadSettings`` for settings that contradict each other.
    """
    try:
        settings = load(kind, os.environ)
        check(settings)
    except BadSettings as error:
        print(error, file=sys.stderr)  # noqa: T201 - logging is not set up yet
        raise SystemExit(EXIT_USAGE) from None

    async def service(stop: asyncio.Event, ready: Callable[[], None]) -> None:
        warn_of_foreign(os.environ)
        credentials, tls = settings.nats_credentials, settings.tls
        async with bus_ready(settings.bus_url, user=user, credentials=credentials, tls=tls) as bus:
            await serve(settings, bus, stop, ready)

    run_process(
        user.value, functools.partial(_stoppable, service), log_json=settings.log_json, log_level=settings.log_level
    )


def run_process(
    name: str, work: Callable[[asyncio.Event], Coroutine[Any, Any, None]], *, log_json: bool, log_level: str
) -> NoReturn:
    """Run *work* as this process: set up logging, set its stop event on a signal, turn errors into an exit code."""
    set_up_logging(log_json=log_json, log_level=log_level)
    try:
        asyncio.run(_with_signals(work))
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except FastFlowError as error:
        log.error("service failed", service=name, error=str(error))
        raise SystemExit(EXIT_FAILURE) from None
    except BaseExceptionGroup as group:
        unexpected = [error for error in leaves(group) if not isinstance(error, FastFlowError)]
        if unexpected:
            raise
        for reason in leaves(group):
            log.error("service failed", service=name, error=str(reason))
        raise SystemExit(EXIT_FAILURE) from None
    raise SystemExit(0)


async def _with_signals(work: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await work(stop)


async def _stoppable(
    service: Callable[[asyncio.Event, Callable[[], None]], Coroutine[Any, Any, None]], stop: asyncio.Event
) -> None:
    """Run *service*. Cancel it if *stop* is set before it is ready, because getting ready may take minutes."""
    is_ready = asyncio.Event()

    def ready() -> None:
        log_ready()
        is_ready.set()

    running = asyncio.create_task(service(stop, ready), name="service")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not is_ready.is_set():
        running.cancel()
    try:
        await running
    except asyncio.CancelledError:
        if not stop.is_set():
            raise


def leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    """Return the plain exceptions in a group, nested ones included."""
    found: list[BaseException] = []
    for error in group.exceptions:
        found.extend(leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return found


def process_identity() -> str:
    """Return host and pid, for connection names and logs."""
    return f"{os.uname().nodename}-{os.getpid()}"
