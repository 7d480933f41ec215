"""The address of the bus: ``nats://[user:password@]host:port``, several separated by commas. Pure.

User and password are percent-encoded in it, as in every URL.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

_USER_PART = re.compile(r"^(\s*(?:[a-z]+://)?)(?:[^/]*@)?", re.IGNORECASE)


class BusLogin(NamedTuple):
    """What an address says about who connects, decoded. Without a password, *user* is a token."""

    user: str | None
    password: str | None


def login_of(url: str) -> BusLogin:
    """Return the user and password of the first server; a cluster's servers know the same users."""
    parts = urlsplit(url.partition(",")[0].strip())
    return BusLogin(*(None if part is None else unquote(part) for part in (parts.username, parts.password)))


def with_login(url: str, user: str, password: str) -> str:
    """Return *url* with this user and password for each server. Those in it stay where one here is empty."""
    if not (user or password):
        return url
    named = login_of(url)
    login = f"{quote(user or named.user or '', safe='')}:{quote(password or named.password or '', safe='')}@"
    return ",".join(_USER_PART.sub(lambda found: found[1] + login, each, count=1) for each in url.split(","))


def redacted(url: str) -> str:
    """Return *url* (or several, separated by commas) without credentials, for logs and messages."""
    return ",".join(re.sub(r"(^|//)[^/]*@", r"\1", each) for each in url.split(","))
