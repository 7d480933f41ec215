"""Finds where a folder's packages come from: the addresses that its files name, and who may be named. Pure.

uv replaces ``${NAME}`` by a variable of its own environment, almost everywhere. Here it must not: what a pipeline names
would get what belongs to the installation.
"""

from __future__ import annotations

import posixpath
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from fastflow_contracts.pipelines.folder.project import PROJECT, PROJECT_BYTES_MAX, line_of
from fastflow_contracts.pipelines.folder.requirements import Mention, Reader

LOCK: Final = "uv.lock"
SETTINGS: Final = "uv.toml"

_VARIABLE: Final = re.compile(r"\$\{(?!(?:PROJECT_ROOT|PWD)\})[^}]*\}?")
_ADDRESS: Final = re.compile(r"(?:[a-z]+\+)?\b(?:https?|ftp|ssh|git|file):\S*|\b(?:git|hg|svn|bzr)\+\S+", re.IGNORECASE)
_PATH_OPTION: Final = re.compile(
    r"(?:^|\s)(?:-i|-f|--index-url|--extra-index-url|--find-links)(?:\s*=\s*|\s*)['\"]?(/\S*)"
)
_TABLES: Final = ("dependency-groups", "build-system")
_PROJECT_KEYS: Final = ("dependencies", "optional-dependencies")
_PORTS: Final = {"http": 80, "https": 443, "ssh": 22}


ALLOWED_PATTERN: Final = r"\s*({0}(\s*,\s*{0})*)?\s*".format(
    r"(https?://[A-Za-z0-9][^\s,@]*|/[^\s,]+|[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?)"
)
"""A setting that lists where packages may come from."""
ALLOWED_HELP: Final = (
    "Where packages may come from, separated by commas: hosts (packages.example.com), addresses with all below them "
    "(https://example.com/simple), absolute paths. Empty = from anywhere. Runners enforce it; a syncer with the same "
    "value refuses a pipeline before it runs."
)
ALLOWED_LIKE: Final = "packages.example.com, https://example.com/simple, /opt/wheels"


def allowed_of(text: str) -> tuple[str, ...]:
    """Return the entries of such a setting."""
    return tuple(entry for entry in (each.strip() for each in text.split(",")) if entry)


class Objection(NamedTuple):
    """What a file may not name, and why in one sentence."""

    mention: Mention
    reason: str


def mentions(files: Mapping[str, bytes], reader: Reader, paths: Iterable[str]) -> list[Mention]:
    """Return all that the files say about packages.

    Args:
        files: The content of the folder's files by relative path.
        reader: Has read its requirements.
        paths: The files that making the environment reads.
    """
    found = list(reader.lines)
    for path in sorted(set(paths) & files.keys()):
        name = posixpath.basename(path)
        if name in (PROJECT, SETTINGS):
            found += _in_toml(path, files[path])
        elif name == LOCK:
            found += _in_lock(path, files[path])
    return found


def unreadable(files: Mapping[str, bytes], paths: Iterable[str]) -> Iterator[Objection]:
    """Return the files in which an address could hide."""
    for path in sorted(set(paths) & files.keys()):
        name, data = posixpath.basename(path), files[path]
        if name == SETTINGS:
            try:
                _toml(data)
            except (ValueError, RecursionError) as error:
                yield Objection(Mention("", path, None), f"It is no TOML that can be read: {error}.")
        elif name == LOCK and (escape := re.search(rb"\\[uUx]", data)):
            line = data.count(b"\n", 0, escape.start()) + 1
            yield Objection(Mention("", path, line), "It has escaped characters; make it anew with `uv lock`.")


def variables(found: Iterable[Mention]) -> Iterator[Objection]:
    """Return what names a variable."""
    for mention in found:
        if variable := _VARIABLE.search(mention.text):
            yield Objection(mention, f"`{variable[0][:80]}` is not replaced here; {_INSTEAD}")


_INSTEAD: Final = (
    "write the value itself. Who runs the installation gives an index its password: FASTFLOW_INDEX_CREDENTIALS."
)


def strangers(found: Iterable[Mention], allowed: Iterable[str]) -> Iterator[Objection]:
    """Return what names an address that is not allowed.

    Args:
        allowed: Hosts (``example.com``, ``example.com:8443``), addresses (``https://example.com/simple``, with all
            below them), and absolute paths. None: all are allowed.
    """
    rules = tuple(allowed)
    for mention in found if rules else ():
        for address in addresses(mention.text):
            if not is_allowed(address, rules):
                listed = ", ".join(rules)
                reason = f"`{_shown(address)}` is not among the indexes of this installation; use one of: {listed}."
                yield Objection(mention, reason)


def addresses(text: str) -> Iterator[str]:
    """Return the addresses in a line of requirements or a value of TOML; a path as ``file:///…``."""
    # Only a blank ends an address: before an @, a user's name may hold anything else.
    yield from (found.rstrip("'\")];,>") for found in _ADDRESS.findall(text))
    yield from (f"file://{option[1]}" for option in _PATH_OPTION.finditer(text))


def is_allowed(address: str, allowed: Iterable[str]) -> bool:
    """Whether an address is one of those allowed, or below one."""
    wanted = _parts(address)
    return wanted is not None and any(_admits(rule, wanted) for rule in allowed)


class _Parts(NamedTuple):
    scheme: str
    host: str
    port: int
    path: str


def _parts(address: str) -> _Parts | None:
    """Return what an address means to uv, which reads it as browsers do; None if it cannot be told."""
    vcs, plus, rest = address.partition("+")
    text = rest if plus and "/" not in vcs and ":" not in vcs else address
    text = re.sub(r"^([A-Za-z]+):/*", r"\1://", text.replace("\\", "/"))
    if text[:5].lower() == "file:":
        return _Parts("file", "", 0, posixpath.normpath("/" + unquote(text[5:]).lstrip("/")))
    try:
        split = urlsplit(text)
        scheme, host, port = split.scheme.lower(), (split.hostname or "").rstrip("."), split.port
    except ValueError:
        return None
    path = posixpath.normpath("/" + unquote(split.path).lstrip("/"))
    return _Parts(scheme, host, port or _PORTS.get(scheme, 0), path) if host else None


def _admits(rule: str, wanted: _Parts) -> bool:
    if rule.startswith("/"):
        return wanted.scheme == "file" and _is_below(wanted.path, posixpath.normpath(rule))
    if "://" not in rule:
        host, _, port = rule.lower().partition(":")
        return wanted.scheme != "file" and wanted.host == host and (not port or wanted.port == int(port))
    own = _parts(rule)
    return own is not None and own[:3] == wanted[:3] and _is_below(wanted.path, own.path)


def _is_below(path: str, folder: str) -> bool:
    return folder == "/" or path == folder or path.startswith(f"{folder}/")


def _shown(address: str) -> str:
    """The address without what may be a password."""
    return re.sub(r"//[^/@]*@", "//", address)[:200]


def _in_toml(path: str, data: bytes) -> Iterator[Mention]:
    try:
        content = _toml(data)
    except (ValueError, RecursionError):
        return
    if path.endswith(PROJECT):
        project, tool = _table(content, "project"), _table(content, "tool")
        content = {name: content.get(name) for name in _TABLES}
        content |= {"project": [project.get(name) for name in _PROJECT_KEYS], "uv": tool.get("uv")}
    for text in _strings(content):
        # An address may hold line ends and tabs, which mean nothing in it.
        yield Mention(re.sub(r"[\t\r\n]", "", text), path, line_of(data, text))


def _toml(data: bytes) -> dict[str, Any]:
    if len(data) > PROJECT_BYTES_MAX:
        raise ValueError(f"it is longer than {PROJECT_BYTES_MAX // 1024} KiB")
    return tomllib.loads(data.decode("utf-8-sig"))


def _table(content: dict[str, Any], name: str) -> dict[str, Any]:
    table = content.get(name)
    return table if isinstance(table, dict) else {}


def _strings(value: object) -> Iterator[str]:
    left = [value]
    while left:
        match left.pop():
            case str(text):
                yield text
            case dict() as table:
                left += table.values()
            case list() as array:
                left += array


def _in_lock(path: str, data: bytes) -> Iterator[Mention]:
    """The values of a lock, line by line: a lock is too long for a parser that may take quadratic time."""
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        for text in re.findall(r'"([^"]*)"', line):
            if ":" in text or "$" in text:
                yield Mention(text, path, number)
