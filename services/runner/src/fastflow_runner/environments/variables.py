"""What a preparer gets of the runner's environment: the way to packages, without the passwords. Pure.

The passwords become ``Credential``s, each for one address. See ``guest.prepare.relay`` for how they are used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from fastflow_runner.environments.store import Place

_INDEXES: Final = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL")
_ADDRESSES: Final = frozenset((*_INDEXES, "UV_FIND_LINKS", "UV_PYTHON_INSTALL_MIRROR", "UV_PYTHON_DOWNLOADS_JSON_URL"))
_PROXIES: Final = frozenset(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"))
_OTHERS: Final = frozenset(
    (
        *("UV_INDEX_STRATEGY", "UV_NO_INDEX", "UV_OFFLINE", "UV_INSECURE_HOST", "UV_HTTP_TIMEOUT", "UV_HTTP_RETRIES"),
        *("UV_EXCLUDE_NEWER", "UV_PRERELEASE", "UV_NATIVE_TLS", "UV_SYSTEM_CERTS", "UV_PYTHON_DOWNLOADS"),
        *("NO_PROXY", "no_proxy"),
    )
)
_ON_HOST: Final = frozenset(("SSL_CERT_FILE", "SSL_CERT_DIR"))  # paths of this host
_LOGIN: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<login>[^/\s]*)@(?P<rest>[^\s,]*)")
_NAMED: Final = re.compile(r"(?:^|\s)(?P<name>[A-Za-z0-9._-]+)=(?P<address>https?://\S+)")
_INDEX_LOGIN: Final = re.compile(r"UV_INDEX_(?P<name>\w+)_(?P<part>USERNAME|PASSWORD)")


class Credential(msgspec.Struct, frozen=True):
    """A login, and the address that it is for, with all below it."""

    address: str
    username: str
    password: str


class Access(msgspec.Struct, frozen=True):
    """The way to packages."""

    env: Mapping[str, str] = {}
    """Variables of a preparer. They hold no password."""
    credentials: tuple[Credential, ...] = ()
    """Of indexes, the most particular address first."""
    proxies: tuple[Credential, ...] = ()
    """Of HTTP proxies."""
    unbound: tuple[str, ...] = ()
    """Variables with a login for an index whose address is not known. Nobody gets it."""

    @property
    def logins(self) -> bytes:
        """The credentials as ``prepare.access`` reads them; empty if there are none."""
        if not self.credentials and not self.proxies:
            return b""
        return msgspec.json.encode(
            {
                kind: [msgspec.structs.astuple(each) for each in found]
                for kind, found in (("indexes", self.credentials), ("proxies", self.proxies))
            }
        )

    @property
    def has_default(self) -> bool:
        """Whether PyPI is not the index for what no other one has."""
        return any(self.env.get(name) for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_NO_INDEX"))

    @property
    def addresses(self) -> tuple[str, ...]:
        """The indexes that this installation uses for every pipeline."""
        words = [word for name in _INDEXES for word in self.env.get(name, "").split()]
        return tuple(re.sub(r"^[A-Za-z0-9._-]+=", "", word) for word in words)


NO_ACCESS: Final = Access()
"""The way that uv finds by itself."""


def access(environ: Mapping[str, str], place: Place, credentials: str = "") -> Access:
    """Divide the settings of the runner's own environment: indexes, proxies, certificates, and their passwords.

    Args:
        credentials: Addresses with user and password, separated by blanks.
    """
    kept = _OTHERS | (_ON_HOST if place.on_host else frozenset())
    env = {name: value for name, value in environ.items() if name in kept}
    found: list[Credential] = []
    proxies: list[Credential] = []
    _without_logins(credentials, found)
    for name in sorted((_ADDRESSES | _PROXIES) & environ.keys()):
        logins = proxies if name in _PROXIES else found
        env[name] = _without_logins(environ[name], logins)
    named = {_variable(each["name"]): each["address"] for text in _indexes(env) for each in _NAMED.finditer(text)}
    parts: dict[str, dict[str, str]] = {}
    for name, value in environ.items():
        if login := _INDEX_LOGIN.fullmatch(name):
            parts.setdefault(login["name"], {})[login["part"]] = value
    for name, login_parts in parts.items():
        if name in named:
            username = login_parts.get("USERNAME", "")
            found.append(Credential(named[name], username, login_parts.get("PASSWORD", "")))
    return Access(
        env,
        tuple(_by_address(found)),
        tuple(dict.fromkeys(proxies)),
        tuple(sorted(f"UV_INDEX_{name}_{part}" for name in parts.keys() - named.keys() for part in parts[name])),
    )


def _indexes(env: Mapping[str, str]) -> Iterator[str]:
    yield from (env[name] for name in ("UV_DEFAULT_INDEX", "UV_INDEX") if name in env)


def _variable(name: str) -> str:
    """The name of an index as uv writes it in a variable."""
    return re.sub(r"[^A-Za-z0-9]", "_", name).upper()


def _without_logins(text: str, logins: list[Credential]) -> str:
    """Return *text* without users and passwords, which go to *logins*."""

    def note(found: re.Match[str]) -> str:
        username, _, password = found["login"].partition(":")
        address = found["scheme"] + found["rest"]
        logins.append(Credential(address, unquote(username), unquote(password)))
        return address

    return _LOGIN.sub(note, text)


def _by_address(found: list[Credential]) -> Iterator[Credential]:
    """Each for its index and the files beside it, then the first one of each host for the rest of that host."""
    first: dict[str, Credential] = {}
    exact: dict[str, Credential] = {}
    for each in found:
        try:
            split = urlsplit(each.address)
        except ValueError:
            continue  # uv says what is wrong with an address that is none
        origin = f"{split.scheme}://{split.netloc}"
        path = re.sub(r"/(\+?simple|index)?/*$", "", split.path)
        first.setdefault(origin, msgspec.structs.replace(each, address=origin))
        exact.setdefault(origin + path, msgspec.structs.replace(each, address=origin + path))
    merged = {**first, **exact}
    yield from sorted(merged.values(), key=lambda each: -len(each.address))
