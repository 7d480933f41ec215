"""Reads what git hosts say about a push, and decides whether it concerns our pipelines. Pure.

| host | event in header | pushed refs |
|---|---|---|
| GitHub, Gitea, Forgejo | ``X-GitHub-Event``, ``X-Gitea-Event``, ``X-Forgejo-Event`` | ``ref``, ``after`` |
| GitLab | ``X-Gitlab-Event``, also of system hooks | ``ref``, ``after`` |
| Bitbucket Cloud | ``X-Event-Key: repo:push`` | ``push.changes[].new`` |
| Bitbucket Data Center | ``X-Event-Key: repo:refs_changed`` | ``changes[]`` |

A repository has other addresses inside a network than outside, over ssh than over https. So only the end of its path
counts: a sync too many changes nothing, one too few leaves old code live. What an event does not say is no reason to
ignore it, either.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

import msgspec

from fastflow_gateway.errors import RequestRefused

_EVENT_HEADERS: Final = (
    "X-GitHub-Event",
    "X-Gitea-Event",
    "X-Forgejo-Event",
    "X-Gogs-Event",
    "X-Gitlab-Event",
    "X-Event-Key",
)
_PUSHES: Final = frozenset(
    {"push", "push hook", "system hook", "repo:push", "repo:refs_changed", "mirror:repo_synchronized"}
)
_ADDRESSES: Final = ("clone_url", "ssh_url", "html_url", "git_ssh_url", "git_http_url", "web_url")
_PINGS: Final = frozenset({"ping", "diagnostics:ping"})
_HEADS: Final = "refs/heads/"
_FORM: Final = "application/x-www-form-urlencoded"
_ZEROS: Final = re.compile("0+")
_SEGMENTS: Final = 2
"""How much of the end of a path names a repository: the owner, or the last group, and itself."""


class Push(NamedTuple):
    """A push to a repository."""

    branches: frozenset[str] | None
    """The branches that have new commits; None: the event does not say."""
    repositories: frozenset[tuple[str, ...]]
    """The ends of the paths of the repository, in lower case; empty: the event does not say."""

    def reason_to_ignore(self, source: str, branch: str | None) -> str | None:
        """Why nothing is to do for pipelines from *branch* of *source*; None: a sync is.

        Args:
            source: The address of the repository, or the folder.
            branch: None: the source is a folder, or not known yet.
        """
        if self.branches is not None and not self.branches:
            return "the push brings no commits to a branch"
        if branch is None:
            return None
        if self.branches is not None and branch not in self.branches:
            return f"the pipelines come from the branch {branch}"
        wanted = _end_of_path(source)
        if wanted and self.repositories and wanted not in {each[-len(wanted) :] for each in self.repositories}:
            return "the pipelines come from another repository"
        return None


def read_event(headers: Mapping[str, str], body: bytes) -> Push | str:
    """Read a call whose signature is right.

    Returns:
        The push; or why there is nothing to do, in words.

    Raises:
        RequestRefused: It is no event of a git host (400).
    """
    event = next((headers[name] for name in _EVENT_HEADERS if headers.get(name)), "").strip().lower()
    if not event:
        raise RequestRefused(400, f"the call names no event; a git host sends one of {', '.join(_EVENT_HEADERS)}.")
    if event in _PINGS:
        return "pong: this address and the secret are right"
    if event not in _PUSHES:
        return "only pushes lead to a sync; choose just the push event at the host"
    payload = _payload(headers, body)
    if event == "system hook" and payload.get("event_name") != "push":
        return "only pushes lead to a sync"
    return Push(_branches(payload), frozenset(filter(None, map(_end_of_path, _repositories(payload)))))


def _payload(headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """The event, as JSON or in a form. Raises ``RequestRefused``."""
    if headers.get("Content-Type", "").partition(";")[0].strip().lower() == _FORM:
        try:
            body = parse_qs(body.decode("ascii"), strict_parsing=True, max_num_fields=20)["payload"][0].encode()
        except (ValueError, LookupError) as error:
            raise RequestRefused(400, "the form has no field payload; choose application/json at the host.") from error
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestRefused(400, f"the event is no JSON object: {error}.") from error


def _branches(payload: dict[str, Any]) -> frozenset[str] | None:
    if isinstance(ref := payload.get("ref"), str):
        is_deleted = payload.get("deleted") is True or _ZEROS.fullmatch(_text(payload.get("after"))) is not None
        return frozenset(_names([] if is_deleted else [ref]))
    if isinstance(push := payload.get("push"), dict):
        news = [_dict(change).get("new") for change in _list(push.get("changes"))]
        found = [_text(_dict(new).get("name")) for new in news if "branch" in _text(_dict(new).get("type"))]
        return frozenset(found) if news else None
    changes = [_dict(change) for change in _list(payload.get("changes"))]
    if changes:
        return frozenset(
            _names(_text(_dict(each.get("ref")).get("id")) for each in changes if each.get("type") != "DELETE")
        )
    return None  # a pull request that was merged elsewhere has no changes


def _names(refs: Iterable[str]) -> Iterable[str]:
    return (ref.removeprefix(_HEADS) for ref in refs if ref.startswith(_HEADS))


def _repositories(payload: dict[str, Any]) -> Iterable[str]:
    """Every address and path of the repository that the event has."""
    for name in ("repository", "project"):
        found = _dict(payload.get(name))
        for field in (
            "full_name",
            "path_with_namespace",
            "clone_url",
            "ssh_url",
            "html_url",
            "git_ssh_url",
            "git_http_url",
        ):
            yield _text(found.get(field))
        if key := _text(_dict(found.get("project")).get("key")):
            yield f"{key}/{_text(found.get('slug'))}"


def _end_of_path(address: str) -> tuple[str, ...]:
    """The last segments of a path or of the path of an address, in lower case; none for a repository on a disk."""
    if address.startswith(("/", "file:")):
        return ()
    try:
        path = urlsplit(address).path if "://" in address else address.rpartition(":")[2]
    except ValueError:
        return ()
    segments = [each for each in path.lower().rstrip("/").removesuffix(".git").split("/") if each]
    return tuple(segments[-_SEGMENTS:])


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
