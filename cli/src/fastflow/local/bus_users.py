"""The users of a bus: their secrets as files, and the server's configuration for them. Files only.

``permissions`` decides what each user may do. Existing secrets are kept, so a second run changes only permissions.
People and programs outside have passwords, which every client supports. Services have NKEYs; the server knows only
their public half.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from fastflow.local.data_dir import write_private
from fastflow_contracts.bus.access import nkeys
from fastflow_contracts.bus.permissions import ADMIN, SERVICES, User, grant

OUTSIDE: Final = User.OUTSIDE.value
CONFIG: Final = "users.conf"
PASSWORD_BYTES: Final = 24
_ESCAPES: Final = {"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t"}


class Users(NamedTuple):
    """The secrets of all users of one bus."""

    admin_password: str
    outside_password: str
    seeds: Mapping[User, str]
    """NKEY seeds of the services."""


def users_in(folder: Path) -> Users:
    """The users whose secrets are in *folder*, one file each. Missing secrets are created."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Users(
        admin_password=_kept(folder / f"{ADMIN}.password", secrets.token_urlsafe(PASSWORD_BYTES)),
        outside_password=_kept(folder / f"{OUTSIDE}.password", secrets.token_urlsafe(PASSWORD_BYTES)),
        seeds={user: _kept(folder / f"{user.value}.seed", nkeys.new_seed()) for user in SERVICES},
    )


def config(users: Users) -> str:
    """The ``authorization`` block of the server's configuration."""
    entries = [f"{{ user: {ADMIN}, password: {quoted(users.admin_password)} }}"]
    entries.append(f"{{ user: {OUTSIDE}, password: {quoted(users.outside_password)}, {_permissions(User.OUTSIDE)} }}")
    entries += [
        f"{{ nkey: {nkeys.public_key(seed)}, {_permissions(user)} }}  # {user.value}"
        for user, seed in users.seeds.items()
    ]
    return "authorization {\n  users: [\n" + "".join(f"    {entry}\n" for entry in entries) + "  ]\n}\n"


def _permissions(user: User) -> str:
    may = grant(user)
    publish = f"allow: {_list(may.publish)}" + (f", deny: {_list(may.publish_denied)}" if may.publish_denied else "")
    return f"permissions: {{ publish: {{ {publish} }}, subscribe: {{ allow: {_list(may.subscribe)} }} }}"


def _list(subjects: Iterable[str]) -> str:
    return "[" + ", ".join(map(quoted, dict.fromkeys(subjects))) + "]"


def quoted(text: str) -> str:
    """*text* as a string of the server's configuration. Its escapes are not JSON's: there is no ``\\u``."""
    return '"' + "".join(_ESCAPES.get(letter, letter) for letter in text) + '"'


def _kept(path: Path, fresh: str) -> str:
    with contextlib.suppress(FileNotFoundError):
        if found := path.read_text(encoding="utf-8").strip():
            return found
    write_private(path, fresh + "\n")
    return fresh
