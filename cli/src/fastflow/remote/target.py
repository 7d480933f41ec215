"""Finds the installation of a command: its address and its token. Reads files, sends no request."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from fastflow.errors import BadUsage, NoSuchThing, NothingAnswers
from fastflow.local.address import ADDRESS_FILE, DATA_DIR, read_address
from fastflow.local.data_dir import TOKEN
from fastflow.remote import logins
from fastflow.remote.logins import DEFAULT, Login

URL_VARIABLE: Final = "FASTFLOW_URL"
TOKEN_VARIABLE: Final = "FASTFLOW_TOKEN"  # noqa: S105 - a variable's name
ADMIN_VARIABLE: Final = "FASTFLOW_ADMIN_TOKEN"
DATA_DIR_VARIABLE: Final = "FASTFLOW_DATA_DIR"


class TargetOptions(NamedTuple):
    """The options of the command line; None: not given."""

    url: str | None = None
    token: str | None = None
    on: str | None = None
    data_dir: Path | None = None


class Target(NamedTuple):
    """One installation."""

    url: str
    token: str | None
    origin: str
    """Where the address comes from, for people."""


def find(options: TargetOptions, *, environ: Mapping[str, str], here: Path) -> Target:
    """Find the installation.

    The first of: an option; FASTFLOW_URL; the default login; the data folder of an ``up``, which is FASTFLOW_DATA_DIR
    or the nearest ``.fastflow`` from *here* upwards.

    Raises:
        NothingAnswers: Nothing names an installation.
        BadUsage: Options contradict each other.
        NoSuchThing: No login has this name.
    """
    given = [name for name, value in zip(("--url", "--on", "--data-dir"), _places(options), strict=True) if value]
    if len(given) > 1:
        raise BadUsage(f"{' and '.join(given)} each name an installation; give only one of them.")
    if options.on:
        return _stored(options.on, options.token)
    if options.data_dir is not None:
        return _of_folders([options.data_dir], options.token, environ, origin="--data-dir")
    token = options.token or token_in(environ)
    url, origin = (options.url, "--url") if options.url else (environ.get(URL_VARIABLE, "").strip(), URL_VARIABLE)
    if url:
        return Target(url, token or _known_token(url, environ, here), origin)
    if login := logins.read().get(DEFAULT):
        return Target(login.url, token or login.token, "fastflow login")
    return _of_folders(_folders(environ, here), token, environ, origin=None)


def token_in(environ: Mapping[str, str], name: str = TOKEN_VARIABLE) -> str | None:
    """The token in the environment, or in the file that it names. Raises ``BadUsage``."""
    if file := environ.get(f"{name}_FILE"):
        try:
            return Path(file).read_text().strip() or None
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise BadUsage(f"{name}_FILE {file} cannot be read: {reason}.") from None
    return environ.get(name, "").strip() or None


def _places(options: TargetOptions) -> tuple[object, object, object]:
    return options.url, options.on, options.data_dir


def _stored(name: str, token: str | None) -> Target:
    stored = logins.read()
    if name not in stored:
        there = ", ".join(sorted(stored)) or "none"
        raise NoSuchThing(f"no login is called {name}; `fastflow login URL --on {name}` stores it. There are: {there}.")
    return Target(stored[name].url, token or stored[name].token, f"--on {name}")


def _folders(environ: Mapping[str, str], here: Path) -> list[Path]:
    if named := environ.get(DATA_DIR_VARIABLE):
        return [here / named]
    return [folder / DATA_DIR for folder in (here, *here.parents)]


def _of_folders(folders: list[Path], token: str | None, environ: Mapping[str, str], *, origin: str | None) -> Target:
    for folder in folders:
        if url := read_address(folder):
            return Target(url, token or _folder_token(folder, environ), origin or str(folder))
    where = f"{folders[0]} has no {ADDRESS_FILE}" if len(folders) == 1 else f"there is no {DATA_DIR} here or above"
    raise NothingAnswers(
        f"no installation is named, and {where}. Start one with `fastflow up`, sign in with `fastflow login URL`, or "
        "give --url."
    )


def _folder_token(folder: Path, environ: Mapping[str, str]) -> str | None:
    """The token that the environment gives to ``up``, else the one that ``up`` created."""
    if token := token_in(environ, ADMIN_VARIABLE):
        return token
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return (folder / TOKEN).read_text().strip() or None
    return None


def _known_token(url: str, environ: Mapping[str, str], here: Path) -> str | None:
    """The token that is stored for exactly this address. A token never goes to another address."""
    wanted = url.rstrip("/")
    found: list[Login] = [login for login in logins.read().values() if login.url == wanted]
    if found:
        return found[0].token
    folder = next((folder for folder in _folders(environ, here) if read_address(folder) == wanted), None)
    return _folder_token(folder, environ) if folder else None
