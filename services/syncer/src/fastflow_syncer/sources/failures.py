"""What git says when a fetch fails, for people: without secrets, with what to do. Pure."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

from fastflow_contracts.pipelines.folder.bundle import shown
from fastflow_syncer.errors import SourceFailed
from fastflow_syncer.sources.remote import Credentials, Remote

MESSAGE_CHARS_MAX: Final = 400


class RemoteRefused(SourceFailed):
    """The remote refused or is unreachable; the local mirror is intact."""


def explain(stderr: str, of: Remote, credentials: Credentials) -> RemoteRefused | None:
    """Explain a failed fetch that the remote caused. None: the mirror may be the cause."""
    said = scrubbed(stderr, credentials)
    for pattern, advice in _CAUSES:
        if re.search(pattern, said, re.IGNORECASE):
            return RemoteRefused(f"{of.label}: {advice.format(branch=of.branch)} (git: {said})")
    return None


def scrubbed(stderr: str, credentials: Credentials) -> str:
    """Return the end of git's output for a message: limited, without secrets and control characters."""
    text = stderr
    for secret in (credentials.token, quote(credentials.token, safe="")):
        if secret:
            text = text.replace(secret, "***")
    text = re.sub(r"://[^/@\s]+@", "://***@", text)
    lines = [shown(line.strip()) for line in text.splitlines() if line.strip()]
    return " / ".join(lines)[-MESSAGE_CHARS_MAX:] or "no message"


def object_format_wanted(stderr: str) -> str | None:
    """Return the object format of a repository that the mirror's own does not match; None: that is not the cause."""
    found = re.search(r"mismatched algorithms: client \w+; server (sha1|sha256)", stderr)
    return None if found is None else found[1]


_CAUSES: Final = (
    (
        r"couldn't find remote ref",
        "the branch '{branch}' does not exist there; push it or change GIT_BRANCH.",
    ),
    (r"host key verification failed", "the host's key is not in GIT_SSH_KNOWN_HOSTS; add it."),
    (
        r"authentication failed|could not read (username|password)|permission denied|returned error: 40[13]"
        r"|invalid username or|terminal prompts disabled|error in libcrypto|invalid format",
        "the credentials were refused or are missing; check GIT_TOKEN (and GIT_USERNAME) or GIT_SSH_KEY.",
    ),
    (r"redirect", "the URL redirects elsewhere, which is not followed; use the final URL in GIT_REPO_URL."),
    (
        r"repository .*not found|does not appear to be a git repository|does not exist|returned error: 404",
        "there is no such repository, or these credentials may not see it; check GIT_REPO_URL.",
    ),
    (
        # A process that exceeds its file limit dies without a message, which leaves only this line.
        r"died of signal (25|31)|file too large|^fatal: fetch-pack: invalid index-pack output$",
        "the branch is too large to mirror; move data out of the repository.",
    ),
    (
        r"could not resolve|failed to connect|couldn't connect|connection (refused|reset|closed|timed out)"
        r"|unable to access|could not read from remote|hung up|early eof|timed out|timeout"
        r"|unable to connect|rpc failed",
        "it could not be reached or broke off; it is tried again at the next sync.",
    ),
    (r"dubious ownership|transport '.*' not allowed", "git refuses this repository; check GIT_REPO_URL."),
)
