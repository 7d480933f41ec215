"""The lifecycle of a service process: settings from the environment, logging, signals, and a clean exit.

A service is a coroutine ``serve(settings, bus, stop, ready)``. It opens its resources, keeps its parts going
(``parts``), and calls ``ready`` when it can do its work. After that it returns soon after *stop* is set, or after a
drain request on the bus; if *stop* is set earlier, it is cancelled. A service that fails, or loses its connection for
good, starts again with a new connection. The process ends with a non-zero code only when a person must act.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import uuid
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, NoReturn, Protocol, TypeVar

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import BusError
from fastflow_contracts.bus.permissions import User
from fastflow_contracts.bus.subjects import ServiceRef
from fastflow_contracts.errors import FastFlowError, Fatal
from fastflow_contracts.log import get_logger
from fastflow_contracts.service.bus_wait import bus_ready, seed_in
from fastflow_contracts.service.foreign_settings import warn_of_foreign
from fastflow_contracts.service.logging import set_up_logging
from fastflow_contracts.service.parts import keep, leaves
from fastflow_contracts.service.settings import BadSettings, ServiceSettings, load
from fastflow_contracts.service.troubles import telling

log = get_logger(__name__)

READY = "ready"
"""The event that a service logs when it can do its work. A program that starts a service may wait for it."""
EXIT_FAILURE = 70
"""Exit code when something that the service needs is gone or broken (EX_SOFTWARE)."""
EXIT_USAGE = 64
"""Exit code when the settings cannot be used (EX_USAGE)."""
TELLING: Final = (User.SCHEDULER, User.SYNCER)
"""Services that tell on the bus which parts of them are degraded. A gateway shows its own, a runner has a presence."""

S = TypeVar("S", bound=ServiceSettings, contravariant=True)


class Serve(Protocol[S]):
    """A whole service: call *ready* when it can do its work, then work until *stop* is set."""

    def __call__(
        self, settings: S, bus: Bus, stop: asyncio.Event, ready: Callable[[], None]
    ) -> Coroutine[Any, Any, None]: ...


class ConnectionLost(FastFlowError):
    """This connection to the bus is closed for good: the service needs a new one."""


def log_ready() -> None:
    """Log that the service is ready. This is ``ready`` for a service that runs in its own process."""
    log.info(READY)


async def until_stopped(*stops: asyncio.Event, bus: Bus) -> None:
    """Return when one of *stops* is set. Raises ``ConnectionLost`` if the connection is lost permanently."""
    waiting = {asyncio.ensure_future(event.wait()) for event in (*stops, bus.closed)}
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for future in waiting:
            future.cancel()
    if not any(stop.is_set() for stop in stops):
        raise ConnectionLost("the connection to the bus is closed for good; the service opens a new one.")


async def run_until(stop: asyncio.Event, work: Coroutine[Any, Any, None], *, bus: Bus) -> None:
    """Run *work* until *stop* is set, then cancel it. Raises a group with the error of *work* or ``ConnectionLost``."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work, name="work")
        await until_stopped(stop, bus=bus)
        task.cancel()


def run(
    user: User,
    kind: type[S],
    serve: Serve[S],
    *,
    check: Callable[[S], None] = lambda _: None,
    waiting: Callable[[S], AbstractAsyncContextManager[None]] = lambda _: contextlib.nullcontext(),
) -> NoReturn:
    """Run one service as this process: settings from the environment, logging, the bus, signals, the exit code.

    Args:
        user: The service's user on the bus.
        kind: Its settings.
        serve: The service.
        check: Raises ``BadSettings`` for settings that contradict each other.
        waiting: What the service does while it waits for the bus.
    """
    try:
        settings = load(kind, os.environ)
        check(settings)
    except BadSettings as error:
        print(error, file=sys.stderr)  # noqa: T201 - logging is not set up yet
        raise SystemExit(EXIT_USAGE) from None

    async def service(stop: asyncio.Event) -> None:
        warn_of_foreign(os.environ)
        seed = seed_in(settings.nats_credentials)
        process = ServiceRef(user.value, uuid.uuid4().hex)

        async def life(ready: Callable[[], None]) -> None:
            async with contextlib.AsyncExitStack() as stack:
                async with waiting(settings):
                    opening = bus_ready(settings.bus_url, user=user, seed=seed, tls=settings.tls)
                    bus = await stack.enter_async_context(opening)
                if user in TELLING:
                    await stack.enter_async_context(telling(bus, process))
                await serve(settings, bus, stop, ready)

        await keep_serving(user.value, life, stop, log_ready)

    run_process(user.value, service, log_json=settings.log_json, log_level=settings.log_level)


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


async def keep_serving(
    name: str,
    life: Callable[[Callable[[], None]], Coroutine[Any, Any, None]],
    stop: asyncio.Event,
    ready: Callable[[], None],
) -> None:
    """Run a service until it returns. Start it again when it failed in a way that another start may mend.

    Args:
        name: Name of the service.
        life: Connects and serves; calls its argument when it can do its work.
        stop: Ends it. It is cancelled if it is not ready then, because getting ready may take minutes.
        ready: Called when it is ready for the first time.

    Raises:
        FastFlowError: What only a person can mend, plain or in a group.
    """
    is_ready = asyncio.Event()
    was_ready = False

    def now_ready() -> None:
        nonlocal was_ready
        is_ready.set()
        if not was_ready:
            was_ready = True
            ready()

    async def one_life() -> None:
        try:
            await life(now_ready)
        finally:
            is_ready.clear()

    running = asyncio.create_task(
        keep(name, one_life, ends=lambda error: stop.is_set() or _needs_a_person(error)), name=name
    )
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not is_ready.is_set():
            running.cancel()
        await asyncio.wait({running})
    finally:
        stopping.cancel()
        running.cancel()
        await asyncio.wait({running})
    if not (running.cancelled() and stop.is_set()):
        running.result()


def _needs_a_person(error: Exception) -> bool:
    """Whether another start would fail the same way. Errors that nobody expects may pass, such as a lack of memory."""
    return any(
        isinstance(each, Fatal) or (isinstance(each, FastFlowError) and not isinstance(each, BusError | ConnectionLost))
        for each in leaves(error)
    )
