"""Git remotes: accepted URLs, options and environment of git. Pure; ``failures`` explains what git says.

A token reaches git through the environment of the fetching process and a credential helper that answers only for the
remote's own host. It never appears on a command line or in a message.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Final, Literal
from urllib.parse import quote, urlsplit

import msgspec

from fastflow_contracts.pipelines.folder.bundle import shown
from fastflow_syncer.errors import SyncerError

_SCP_STYLE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*@([A-Za-z0-9][A-Za-z0-9.-]*):[^:].*")
_HOST: Final = re.compile(r"[A-Za-z0-9\[][A-Za-z0-9._:\]-]*")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_BRANCH: Final = re.compile(
    r"(?!.*(\.\.|//|@\{|\.lock(/|$)|/\.|/$|\.$))[^\x00-\x20\x7f~^:?*\[\\/.-][^\x00-\x20\x7f~^:?*\[\\]*"
)
_FOLDED_KEY: Final = re.compile(r"(?P<begin>-----BEGIN [A-Z ]+-----) (?P<body>[^-]+) (?P<end>-----END [A-Z ]+-----)")
_INHERITED: Final = (
    "PATH", "TMPDIR", "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy",
    "NO_PROXY", "GIT_SSL_CAINFO", "SSL_CERT_FILE", "SSL_CERT_DIR",
)  # fmt: skip
_HELPER: Final = (
    """!f() { if test "$1" = get; then """
    """printf 'username=%s\\npassword=%s\\n' "$FF_GIT_USERNAME" "$FF_GIT_TOKEN"; fi; }; f"""
)

Scheme = Literal["https", "http", "ssh", "file"]


class BadRemote(SyncerError):
    """The settings of the remote are not accepted."""


class Credentials(msgspec.Struct, frozen=True):
    """Credentials of a remote. ``repr`` hides them."""

    username: str = "x-access-token"
    token: str = ""
    ssh_key: str = ""
    ssh_known_hosts: str = ""

    def __repr__(self) -> str:
        return "Credentials(…)"


class Remote(msgspec.Struct, frozen=True):
    """An accepted URL without credentials, and the branch to follow."""

    url: str
    scheme: Scheme
    branch: str

    @property
    def label(self) -> str:
        return self.url


def remote(url: str, branch: str) -> Remote:
    """Check URL and branch.

    Raises:
        BadRemote: They are not accepted. The message never repeats the URL, which may hold a password.
    """
    if not url or not url.isprintable() or " " in url.strip() or url != url.strip():
        raise BadRemote("GIT_REPO_URL is empty or has spaces or control characters; write it plainly.")
    if not _BRANCH.fullmatch(branch):
        raise BadRemote(f"GIT_BRANCH {shown(branch)!r} is not a branch name; use one such as 'main'.")
    if url.startswith("/"):
        return Remote("file://" + quote(url), "file", branch)
    if _SCP_STYLE.fullmatch(url):
        return Remote(url, "ssh", branch)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise BadRemote("GIT_REPO_URL cannot be read; use https://host/path.git.") from error
    scheme: Scheme
    match parts.scheme:
        case "file" if not parts.netloc and parts.path.startswith("/"):
            return Remote(url, "file", branch)
        case "https":
            scheme = "https"
        case "http" if host in _LOOPBACK:
            scheme = "http"
        case "ssh":
            scheme = "ssh"
        case "http":
            raise BadRemote("GIT_REPO_URL is http, which would show the token and the code; use https or ssh.")
        case _:
            raise BadRemote("GIT_REPO_URL must begin with https://, ssh://, file:// or be like git@host:path.")
    if parts.password is not None or (parts.username is not None and scheme != "ssh"):
        raise BadRemote("GIT_REPO_URL holds credentials; put them into GIT_TOKEN (and GIT_USERNAME).")
    if not _HOST.fullmatch(host) or parts.query or parts.fragment or len(parts.path) < 2:
        raise BadRemote("GIT_REPO_URL must be like https://host/path.git, ssh://git@host/path or file:///path.")
    return Remote(url, scheme, branch)


def check_credentials(of: Remote, credentials: Credentials) -> None:
    """Check that the credentials fit the remote.

    Raises:
        BadRemote: They are missing or malformed.
    """
    for name in ("username", "token"):
        if not getattr(credentials, name).isprintable():
            raise BadRemote(f"GIT_{name.upper()} has control characters, perhaps a line break; remove them.")
    if of.scheme == "ssh" and not credentials.ssh_key:
        raise BadRemote("an ssh remote needs GIT_SSH_KEY or GIT_SSH_KEY_FILE: a private key without passphrase.")
    if of.scheme == "ssh" and not credentials.ssh_known_hosts:
        raise BadRemote(
            "an ssh remote needs GIT_SSH_KNOWN_HOSTS or GIT_SSH_KNOWN_HOSTS_FILE: "
            "lines as `ssh-keyscan host` prints them, compared with what the host publishes."
        )


def flags(of: Remote) -> tuple[str, ...]:
    """Return the ``-c`` options of every git command. They keep the repository from running or redirecting anything."""
    settings = [
        "protocol.allow=never",
        f"protocol.{of.scheme}.allow=always",
        "core.hooksPath=/dev/null",
        "core.symlinks=false",
        "core.fsmonitor=false",
        "core.askPass=",
        "submodule.recurse=false",
        "fetch.recurseSubmodules=false",
        # As `git clone`: old imports hold objects that a strict check refuses. Nothing is checked out, and every path
        # is checked before it becomes part of a bundle.
        "fetch.fsckObjects=false",
        # Keep fetched objects packed and clean up in the foreground, so that the mirror stays small.
        "fetch.unpackLimit=1",
        "gc.autoPackLimit=20",
        "gc.autoDetach=false",
        "gc.pruneExpire=now",
        "http.followRedirects=false",
        "http.lowSpeedLimit=1000",
        "http.lowSpeedTime=30",
        "credential.helper=",
    ]
    if of.scheme in ("http", "https"):
        settings.append(f"credential.{of.scheme}://{urlsplit(of.url).netloc}.helper={_HELPER}")
    return tuple(part for setting in settings for part in ("-c", setting))


def lfs_flags(of: Remote) -> tuple[str, ...]:
    """Return the ``-c`` options of ``git lfs`` beside ``flags``: where the files are, and that hooks stay away."""
    return ("-c", f"remote.origin.url={of.url}", "-c", "lfs.locksverify=false", "-c", "lfs.concurrenttransfers=1")


def environment(home: str, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the complete environment of a git command. *home* is a private directory with our own ``gitconfig``."""
    return {key: inherited[key] for key in _INHERITED if key in inherited} | {
        "HOME": home,
        "XDG_CONFIG_HOME": home,
        "LC_ALL": "C.UTF-8",
        "LANGUAGE": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": f"{home}/gitconfig",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
    }


def secret_environment(of: Remote, credentials: Credentials, home: str) -> dict[str, str]:
    """Return additional variables for fetches only. *home* holds the files ``ssh_key`` and ``known_hosts``."""
    if of.scheme == "ssh":
        options = (
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "StrictHostKeyChecking=yes",
            f"UserKnownHostsFile={home}/known_hosts",
            "GlobalKnownHostsFile=/dev/null",
            "PasswordAuthentication=no",
            "ForwardAgent=no",
            "ConnectTimeout=15",
            "ServerAliveInterval=15",
        )
        command = ["ssh", "-F", "/dev/null", "-i", f"{home}/ssh_key"]
        command += [part for option in options for part in ("-o", option)]
        return {"GIT_SSH_COMMAND": shlex.join(command), "GIT_SSH_VARIANT": "ssh"}
    if of.scheme in ("http", "https") and credentials.token:
        return {"FF_GIT_USERNAME": credentials.username, "FF_GIT_TOKEN": credentials.token}
    return {}


def text_file(text: str) -> str:
    """Return a key or a list of hosts as ssh reads it, however it was pasted.

    That is with CRLF or a byte order mark, or with ``\\n`` or spaces in the place of the line breaks of a key.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").strip()
    if "\n" not in text:
        text = text.replace("\\n", "\n").strip()
    if key := _FOLDED_KEY.fullmatch(text):
        text = "\n".join((key["begin"], *key["body"].split(), key["end"]))
    return text + "\n"


def gitconfig(of: Remote) -> str:
    """Return our global git configuration. Only a local repository needs one: another user may own it."""
    return "[safe]\n\tdirectory = *\n" if of.scheme == "file" else ""
