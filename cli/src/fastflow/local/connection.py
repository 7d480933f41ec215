"""How a command reaches the bus: its options, the address, and one event loop per command."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from fastflow.errors import INTERRUPTED, NothingAnswers
from fastflow.local.address import DATA_DIR as DATA_DIR
from fastflow_contracts.bus.access.address import login_of, with_login
from fastflow_contracts.bus.access.tls import Tls
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.permissions import ADMIN, ADMIN_INBOX
from fastflow_contracts.bus.subjects import INBOX
from fastflow_contracts.service.logging import set_up_logging

T = TypeVar("T")

URL_FILE = "bus.url"
OUTSIDE_URL_FILE = "outside.url"

Url = Callable[..., str]
"""Finds the address, or raises ``NothingAnswers``. ``file``: as in ``find_url``."""
CONNECT_S = 3.0


def find_url(
    nats_url: str | None, data_dir: Path | None, *, environ: Mapping[str, str], here: Path, file: str = URL_FILE
) -> str:
    """Find the bus by option, by environment, or by the nearest ``.fastflow/bus.url`` from *here* upwards.

    Args:
        nats_url: The option ``--nats-url``.
        data_dir: The option ``--data-dir``.
        environ: The environment variables.
        here: The current folder.
        file: The file in the data folder that holds the address.

    Raises:
        NothingAnswers: Nothing names a bus.
    """
    if nats_url:
        return logged_in(nats_url, environ)
    if data_dir is None and (named := named_url(environ)):
        return named
    if data_dir is not None:
        candidates = [data_dir / file]
    else:
        candidates = [folder / DATA_DIR / file for folder in (here, *here.parents)]
    for candidate in candidates:
        with contextlib.suppress(OSError):
            if url := candidate.read_text().strip():
                return url
    where = f"{candidates[0]} holds no address" if len(candidates) == 1 else f"no {DATA_DIR}/{file} here or above"
    raise NothingAnswers(f"no bus found: {where}. Start one with `fastflow up`, or name one with --nats-url.")


def named_url(environ: Mapping[str, str]) -> str | None:
    """The bus that the environment names. Raises ``NothingAnswers`` if it names a file that cannot be read."""
    url = _setting("FASTFLOW_NATS_URL", environ)
    return logged_in(url, environ) if url else None


def logged_in(url: str, environ: Mapping[str, str]) -> str:
    """*url* with the user and password that the environment names, if it does. Raises ``NothingAnswers``."""
    return with_login(url, _setting("FASTFLOW_NATS_USER", environ), _setting("FASTFLOW_NATS_PASSWORD", environ))


def _setting(name: str, environ: Mapping[str, str]) -> str:
    """A setting of the services, or the content of the file in its ``_FILE`` form."""
    if path := environ.get(f"{name}_FILE"):
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise NothingAnswers(f"{name}_FILE {path} cannot be read: {reason}.") from None
    return environ.get(name, "").strip()


def tls_in(environ: Mapping[str, str]) -> Tls:
    """TLS settings, read as the services read them."""
    names = ("FASTFLOW_NATS_CA", "FASTFLOW_NATS_CERTIFICATE", "FASTFLOW_NATS_KEY")
    ca, certificate, key = (environ.get(name, "").strip() for name in names)
    return Tls(ca=ca, certificate=certificate, key=key)


def inbox_of(url: str) -> str:
    """The inbox for the user of *url*. The administrator has a private one: its answers are confidential."""
    return ADMIN_INBOX if login_of(url).user == ADMIN else INBOX


def bus_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that name a bus. *command* gets ``url``, a function that finds the address."""

    @click.option("--nats-url", metavar="URL", help="Address of the bus, credentials included.")
    @click.option(
        "--data-dir", metavar="DIR", type=click.Path(path_type=Path), help="The data folder of a `fastflow up`."
    )
    @functools.wraps(command)
    def with_url(*arguments: Any, nats_url: str | None, data_dir: Path | None, **options: Any) -> Any:
        url = functools.partial(find_url, nats_url, data_dir, environ=os.environ, here=Path.cwd())
        return command(*arguments, url=url, **options)

    return with_url


@contextlib.asynccontextmanager
async def connected(url: str, *, name: str, environ: Mapping[str, str]) -> AsyncIterator[Bus]:
    """Connect to the bus at *url*. Raises ``Unavailable``."""
    async with connect(url, name=name, inbox=inbox_of(url), tls=tls_in(environ), connect_s=CONNECT_S) as bus:
        yield bus


def talk(url: str, work: Callable[[Bus], Coroutine[Any, Any, T]], *, hint: str | None = None) -> T:
    """Connect, do *work*, disconnect. Ctrl-C prints *hint* to stderr and ends the command with 130."""

    async def session() -> T:
        async with connected(url, name="fastflow-cli", environ=os.environ) as bus:
            return await work(bus)

    set_up_logging(log_level="WARNING")
    try:
        return asyncio.run(session())
    except KeyboardInterrupt:
        if hint:
            click.echo(f"\n{hint}", err=True)
        raise SystemExit(INTERRUPTED) from None
