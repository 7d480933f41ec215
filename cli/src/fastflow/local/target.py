"""Which installation a command is about: its address and its token. Rules, and looks at files; nothing is asked."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from fastflow.errors import BadUsage, NotFound, Unreachable
from fastflow.local import logins
from fastflow.local.address import ADDRESS_FILE, DATA_DIR, read_address
from fastflow.local.data_dir import TOKEN
from fastflow.local.logins import DEFAULT, Login

URL_VARIABLE: Final = "FASTFLOW_URL"
TOKEN_VARIABLE: Final = "FASTFLOW_TOKEN"  # noqa: S105 - a variable's name
ADMIN_VARIABLE: Final = "FASTFLOW_ADMIN_TOKEN"
DATA_DIR_VARIABLE: Final = "FASTFLOW_DATA_DIR"


class Options(NamedTuple):
    """The command line; None = not given."""

    url: str | None = None
    token: str | None = None
    on: str | None = None
    data_dir: Path | None = None


class Target(NamedTuple):
    """One installation."""

    url: str
    token: str | None
    origin: str
    """What named it, for people."""


def find(options: Options, *, environ: Mapping[str, str], here: Path) -> Target:
    """The installation that is meant.

    By option; else by FASTFLOW_URL; else the one that ``fastflow login`` stored; else the data folder of an ``up``:
    FASTFLOW_DATA_DIR, or the nearest from *here* upwards.

    Raises ``Unreachable`` when nothing names one, ``BadUsage`` for options that contradict each other, ``NotFound``
    for a name that is not stored.
    """
    given = [name for name, value in zip(("--url", "--on", "--data-dir"), _places(options), strict=True) if value]
    if len(given) > 1:
        raise BadUsage(f"{' and '.join(given)} name an installation each; give one of them.")
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
    """The token that the environment holds, or that a file holds which it names. Raises ``BadUsage``."""
    if file := environ.get(f"{name}_FILE"):
        try:
            return Path(file).read_text().strip() or None
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise BadUsage(f"{name}_FILE {file} cannot be read: {reason}.") from None
    return environ.get(name, "").strip() or None


def _places(options: Options) -> tuple[object, object, object]:
    return options.url, options.on, options.data_dir


def _stored(name: str, token: str | None) -> Target:
    stored = logins.read()
    if name not in stored:
        there = ", ".join(sorted(stored)) or "none"
        raise NotFound(f"no login is called {name}; `fastflow login URL --on {name}` makes it. There are: {there}.")
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
    raise Unreachable(
        f"no installation is named, and {where}. Start one with `fastflow up`, sign in with `fastflow login URL`, or "
        "give --url."
    )


def _folder_token(folder: Path, environ: Mapping[str, str]) -> str | None:
    """What ``up`` was given in the same environment; else what it made."""
    if token := token_in(environ, ADMIN_VARIABLE):
        return token
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return (folder / TOKEN).read_text().strip() or None
    return None


def _known_token(url: str, environ: Mapping[str, str], here: Path) -> str | None:
    """The token that is stored for this very address. No other address gets it."""
    wanted = url.rstrip("/")
    found: list[Login] = [login for login in logins.read().values() if login.url == wanted]
    if found:
        return found[0].token
    folder = next((folder for folder in _folders(environ, here) if read_address(folder) == wanted), None)
    return _folder_token(folder, environ) if folder else None
