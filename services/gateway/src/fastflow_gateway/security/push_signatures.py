"""Checks that a push event comes from a git host that has our secret. Pure; ``webhook_signatures`` has the arithmetic.

The headers say which ways of proof the host offers. One that holds with one of the secrets is enough: who has a
secret may choose the way. All of them are tried, so the time does not tell which one held.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from fastflow_contracts.pipelines.format.webhook import WebhookSpec
from fastflow_contracts.secrets.sealing import BadSecret
from fastflow_gateway.security.webhook_signatures import STANDARD_PREFIX, BadSignature, verify

_UNUSED: Final = "-"
"""In the place of the sealed secret of a pipeline: ``verify`` gets ours."""
_WAYS: Final[Mapping[str, WebhookSpec]] = {
    "webhook-signature": WebhookSpec(verify="standard", secret=_UNUSED),  # GitLab's signing token
    "X-Gitlab-Token": WebhookSpec(verify="gitlab", secret=_UNUSED),
    "X-Hub-Signature-256": WebhookSpec(verify="github", secret=_UNUSED),  # GitHub; Gitea and Forgejo, too
    "X-Gitea-Signature": WebhookSpec(verify="gitea", secret=_UNUSED),
    "X-Forgejo-Signature": WebhookSpec(verify="gitea", secret=_UNUSED),
    "X-Hub-Signature": WebhookSpec(verify="hmac", secret=_UNUSED, header="X-Hub-Signature"),  # Bitbucket
}


def is_signed(headers: Mapping[str, str]) -> bool:
    """Whether the call claims a proof: without one, nobody needs to read its body."""
    return any(headers.get(name) for name in _WAYS)


def check_push(secrets: Iterable[str], headers: Mapping[str, str], body: bytes, now: datetime) -> None:
    """Check a call.

    Args:
        secrets: Our secrets; any of them will do.
        headers: The headers of the request, with names in any case.
        body: The raw bytes.
        now: The time that a signed time is compared with.

    Raises:
        BadSignature: No proof holds.
    """
    ways = [way for name, way in _WAYS.items() if headers.get(name)]
    held = [_holds(way, secret, headers, body, now) for way in ways for secret in secrets]
    if not any(held):
        raise BadSignature("the signature or token fits none of the secrets of this installation.")


def _holds(way: WebhookSpec, secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> bool:
    if way.verify == "standard" and not secret.startswith(STANDARD_PREFIX):
        return False  # what is left of another secret as base64 may be short enough to be guessed
    try:
        verify(way, secret, headers, body, now)
    except (BadSignature, BadSecret):
        return False
    return True
