"""What git hosts say about a push, in their own words, and whether our pipelines need a sync."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from fastflow_gateway.actions.push_events import Push, read_event
from fastflow_gateway.errors import RequestRefused

ZEROS = "0" * 40
SHA = "c" * 40
HTTPS = "https://git.example.com/acme/flows.git"

GITHUB: dict[str, Any] = {
    "ref": "refs/heads/main",
    "after": SHA,
    "deleted": False,
    "repository": {
        "full_name": "acme/flows",
        "clone_url": HTTPS,
        "ssh_url": "git@git.example.com:acme/flows.git",
        "html_url": "https://git.example.com/acme/flows",
    },
}
GITEA = {key: value for key, value in GITHUB.items() if key != "deleted"}
GITLAB: dict[str, Any] = {
    "object_kind": "push",
    "event_name": "push",
    "ref": "refs/heads/main",
    "after": SHA,
    "project": {
        "path_with_namespace": "acme/flows",
        "git_ssh_url": "git@git-ssh.corp.example:acme/flows.git",
        "git_http_url": HTTPS,
    },
    "repository": {"name": "flows", "homepage": "https://git.example.com/acme/flows"},
}
CLOUD: dict[str, Any] = {
    "push": {"changes": [{"old": None, "new": {"type": "branch", "name": "main"}}]},
    "repository": {"full_name": "Acme/flows", "links": {"html": {"href": "https://bitbucket.org/acme/flows"}}},
}
SERVER: dict[str, Any] = {
    "repository": {"slug": "flows", "project": {"key": "ACME"}},
    "changes": [{"ref": {"id": "refs/heads/main", "type": "BRANCH"}, "refId": "refs/heads/main", "type": "UPDATE"}],
}
HOSTS = {
    "github": ({"X-GitHub-Event": "push"}, GITHUB),
    "gitea": ({"X-Gitea-Event": "push", "X-GitHub-Event": "push"}, GITEA),
    "forgejo": ({"X-Forgejo-Event": "push"}, GITEA),
    "gitlab": ({"X-Gitlab-Event": "Push Hook"}, GITLAB),
    "gitlab system hook": ({"X-Gitlab-Event": "System Hook"}, GITLAB),
    "bitbucket cloud": ({"X-Event-Key": "repo:push"}, CLOUD),
    "bitbucket data center": ({"X-Event-Key": "repo:refs_changed"}, SERVER),
}


def reason(host: str, payload: Any, source: str = HTTPS, branch: str | None = "main") -> str | None:
    event = read_event(HOSTS[host][0], json.dumps(payload).encode())
    return event.reason_to_ignore(source, branch) if isinstance(event, Push) else event


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(
    "source",
    [
        HTTPS,
        "https://git.internal/acme/flows",
        "https://git.example.com/scm/ACME/flows.git",
        "ssh://git@git-ssh.corp.example:7999/acme/flows.git",
        "git@git.example.com:acme/flows.git",
        "file:///srv/mirrors/flows.git",
    ],
)
def test_a_push_to_the_branch_leads_to_a_sync_by_whatever_address_it_is_fetched(host: str, source: str) -> None:
    assert reason(host, HOSTS[host][1], source) is None


@pytest.mark.parametrize("host", HOSTS)
def test_a_push_to_another_branch_or_repository_leads_to_nothing(host: str) -> None:
    payload = HOSTS[host][1]
    assert reason(host, payload, branch="production") == "the pipelines come from the branch production"
    other = "https://git.example.com/acme/other.git"
    assert reason(host, payload, other) == "the pipelines come from another repository"
    assert reason(host, payload, other, branch=None) is None, "it is not known yet where they come from"


@pytest.mark.parametrize("host", ["github", "gitea", "gitlab"])
@pytest.mark.parametrize("change", [{"ref": "refs/tags/v1"}, {"after": ZEROS}, {"after": "0" * 64}, {"deleted": True}])
def test_a_tag_and_a_deleted_branch_lead_to_nothing(host: str, change: dict[str, Any]) -> None:
    assert reason(host, HOSTS[host][1] | change) == "the push brings no commits to a branch"


@pytest.mark.parametrize("new", [None, {"type": "tag", "name": "main"}])
def test_so_they_do_at_bitbucket(new: Any) -> None:
    assert reason("bitbucket cloud", CLOUD | {"push": {"changes": [{"new": new}]}}) is not None
    deleted = {"ref": {"id": "refs/heads/main"}, "type": "DELETE"}
    tag = {"ref": {"id": "refs/tags/main"}, "type": "ADD"}
    assert reason("bitbucket data center", SERVER | {"changes": [deleted, tag]}) is not None


def test_one_of_many_branches_is_enough() -> None:
    changes = [{"new": {"type": "branch", "name": name}} for name in ("feature/x", "main")]
    assert reason("bitbucket cloud", CLOUD | {"push": {"changes": changes}}) is None


@pytest.mark.parametrize("payload", [{}, {"changes": []}, {"push": {"changes": []}}, {"ref": 7, "repository": "x"}])
@pytest.mark.parametrize("host", HOSTS)
def test_what_an_event_does_not_say_is_no_reason_to_ignore_it(host: str, payload: Any) -> None:
    """A merge that happened elsewhere has no changes."""
    if host != "gitlab system hook":
        assert reason(host, payload) is None


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"X-GitHub-Event": "ping"}, "pong"),
        ({"X-Event-Key": "diagnostics:ping"}, "pong"),
        ({"X-GitHub-Event": "issues"}, "only pushes"),
        ({"X-Gitlab-Event": "Tag Push Hook"}, "only pushes"),
        ({"X-Event-Key": "pullrequest:created"}, "only pushes"),
    ],
)
def test_other_events_are_answered(headers: dict[str, str], says: str) -> None:
    found = read_event(headers, b'{"test": true}')
    assert isinstance(found, str)
    assert says in found


def test_a_system_hook_of_another_event_is_answered() -> None:
    assert reason("gitlab system hook", {"event_name": "user_create"}) == "only pushes lead to a sync"


def test_github_may_send_a_form() -> None:
    headers = {"X-GitHub-Event": "push", "Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    found = read_event(headers, urlencode({"payload": json.dumps(GITHUB | {"ref": "refs/heads/müller"})}).encode())
    assert isinstance(found, Push)
    assert found.branches == {"müller"}


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, json.dumps(GITHUB).encode()),
        ({"X-GitHub-Event": "push"}, b"{"),
        ({"X-GitHub-Event": "push"}, b"[1]"),
        ({"X-GitHub-Event": "push"}, b"\xff"),
        ({"X-GitHub-Event": "push"}, b"[" * 100_000),
        ({"X-GitHub-Event": "push"}, b""),
        ({"X-GitHub-Event": "push", "Content-Type": "application/x-www-form-urlencoded"}, b"other=1"),
        ({"X-GitHub-Event": "push", "Content-Type": "application/x-www-form-urlencoded"}, b"\xff&&="),
    ],
)
def test_what_is_no_event_is_refused_with_a_sentence(headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(RequestRefused) as refused:
        read_event(headers, body)
    assert refused.value.status == 400
