"""How uv gets to packages in this step: with which variables and logins. I/O.

Where no foreign code runs, uv gets the logins of indexes as a file of its own kind, which says for each login to which
address it may go. Where it does, only the ``relay`` has them. The login of an HTTP proxy is always the relay's, since
uv would take it from a variable.

Standard library only.
"""

import ctypes
import json
import os
import tempfile
from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .relay import Login

LOGINS_VARIABLE = "FASTFLOW_LOGINS"
"""Names the file with the logins, if there are any: JSON, lists of address, user and password by kind."""

_PR_SET_DUMPABLE = 4

Access = namedtuple("Access", "env here")
"""Variables for uv, and what replaces addresses of indexes in a text."""


def open_access(*, build: bool) -> Access:
    """Read the logins and remove their file, before any other process starts.

    Args:
        build: Foreign code may run in this step.
    """
    env = dict(os.environ)
    path = os.environ.pop(LOGINS_VARIABLE, "")
    env.pop(LOGINS_VARIABLE, None)
    if not path:
        return Access(env, str)
    _hide_memory()
    from .relay import Login, Relay  # only where there are logins: importing it takes a while

    with open(path, encoding="utf-8") as file:
        stated = json.load(file)
    os.unlink(path)
    indexes, proxies = ([Login(*each) for each in stated[kind]] for kind in ("indexes", "proxies"))
    if not build:
        env["UV_CREDENTIALS_DIR"] = write_credentials(indexes)
        return Access(Relay((), proxies, env).environment(env) if proxies else env, str)
    relay = Relay(indexes, proxies, env)
    return Access(relay.environment(env), relay.here)


def write_credentials(logins: "Sequence[Login]") -> str:
    """Write uv's file of credentials; return its directory."""
    folder = tempfile.mkdtemp(prefix="uv-")
    with open(os.path.join(folder, "credentials.toml"), "x", encoding="utf-8") as file:
        for login in logins:
            values = {"service": login.address, "scheme": "basic", **login._asdict()}
            del values["address"]
            lines = [f"{name} = {_toml(value)}\n" for name, value in values.items()]
            file.write("".join(["[[credential]]\n", *lines]))
    return folder


def _toml(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _hide_memory() -> None:
    """Let no other process of this user read this one's memory and variables."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_DUMPABLE, *map(ctypes.c_ulong, (0, 0, 0, 0)))
