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
from fastflow_contracts.bus.access.accounts import REFUSED_TO_DEVICES, Export, Import, accounts
from fastflow_contracts.bus.permissions import ADMIN, DEVICE, SERVICES, User, grant
from fastflow_contracts.bus.streams import MIB

OUTSIDE: Final = User.OUTSIDE.value
CONFIG: Final = "users.conf"
PASSWORD_BYTES: Final = 24
DEVICE_STORE_BYTES: Final = 256 * MIB
"""Disk space for what the server keeps for devices: sessions, retained messages, deliveries to devices."""
_ESCAPES: Final = {"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t"}


class Users(NamedTuple):
    """The secrets of all users of one bus."""

    admin_password: str
    outside_password: str
    seeds: Mapping[User, str]
    """NKEY seeds of the services."""
    device_password: str | None = None
    """None: no devices on MQTT."""


def users_in(folder: Path, *, with_devices: bool = False) -> Users:
    """The users whose secrets are in *folder*, one file each. Missing secrets are created.

    Args:
        folder: Created if it does not exist.
        with_devices: Also one for devices on MQTT.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Users(
        admin_password=_kept(folder / f"{ADMIN}.password", secrets.token_urlsafe(PASSWORD_BYTES)),
        outside_password=_kept(folder / f"{OUTSIDE}.password", secrets.token_urlsafe(PASSWORD_BYTES)),
        seeds={user: _kept(folder / f"{user.value}.seed", nkeys.new_seed()) for user in SERVICES},
        device_password=_kept(device_password_file(folder), secrets.token_urlsafe(PASSWORD_BYTES))
        if with_devices
        else None,
    )


def device_password_file(folder: Path) -> Path:
    """Where the password of devices on MQTT is."""
    return folder / f"{DEVICE}.password"


def config(users: Users) -> str:
    """The ``accounts`` block of the server's configuration."""
    lines = ["accounts {"]
    for account in accounts(with_devices=users.device_password is not None):
        lines.append(f"  {account.name} {{")
        if account.user == ADMIN:
            lines.append("    jetstream: enabled")
        if account.user == DEVICE:
            lines.append(f"    jetstream: {{ max_file: {DEVICE_STORE_BYTES}, max_mem: 0 }}")
        if account.user is not None:
            lines.append(f"    users: [{{ {_login(account.user, users)} }}]")
        for name, entries in (("exports", map(_export, account.exports)), ("imports", map(_import, account.imports))):
            lines += [f"    {name}: [", *(f"      {{ {entry} }}" for entry in entries), "    ]"]
        lines.append("  }")
    return "\n".join([*lines, "}", ""])


def _login(user: User | str, users: Users) -> str:
    if user == DEVICE:
        assert users.device_password is not None
        login = f'user: {DEVICE}, password: {quoted(users.device_password)}, allowed_connection_types: ["MQTT"]'
        refused = _list(REFUSED_TO_DEVICES)
        return f"{login}, permissions: {{ publish: {{ deny: {refused} }}, subscribe: {{ deny: {refused} }} }}"
    if not isinstance(user, User):
        return f"user: {ADMIN}, password: {quoted(users.admin_password)}"
    if user is User.OUTSIDE:
        return f"user: {OUTSIDE}, password: {quoted(users.outside_password)}, {_permissions(user)}"
    return f"nkey: {nkeys.public_key(users.seeds[user])}, {_permissions(user)}"


def _export(export: Export) -> str:
    answers = ", response_type: stream" if export.has_many_answers else ""
    return f"{export.kind}: {quoted(export.subject)}, accounts: {_list(export.accounts)}{answers}"


def _import(each: Import) -> str:
    renamed = f", to: {quoted(each.local)}" if each.local else ""
    return f"{each.kind}: {{ account: {each.account}, subject: {quoted(each.subject)} }}{renamed}"


def _permissions(user: User) -> str:
    may = grant(user)
    return f"permissions: {{ publish: {_list(may.publish)}, subscribe: {_list(may.subscribe)} }}"


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
