"""Which headers of a call or message its run gets, in the file that FASTFLOW_EVENT_HEADERS_FILE names. Pure.

They say which event it is. The list names what passes. Proofs of the sender (tokens, signatures, cookies) do not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

ENTRIES_MAX: Final = 64
VALUE_CHARACTERS_MAX: Final = 4_096

OF_ANY_CALL: Final = frozenset({"content-type", "content-language", "user-agent", "traceparent", "tracestate"})
"""They pass, but do not identify an event."""
_NAMES: Final = OF_ANY_CALL | {
    *("webhook-id", "webhook-timestamp", "svix-id", "svix-timestamp", "nats-msg-id", "nats-subject", "x-request-id"),
    *("x-github-hook-id", "x-github-hook-installation-target-id", "x-github-hook-installation-target-type"),
    *("x-gitlab-event-uuid", "x-gitlab-webhook-uuid", "x-gitlab-instance"),
    *("x-event-key", "x-hook-uuid", "x-request-uuid", "x-attempt-number"),  # Bitbucket
    *("x-shopify-shop-domain", "x-shopify-api-version", "x-shopify-webhook-id", "x-shopify-triggered-at"),
    *("x-wc-webhook-resource", "x-wc-webhook-source", "x-wc-webhook-id"),
    *("x-amz-sns-message-type", "x-amz-sns-message-id", "x-amz-sns-topic-arn", "x-amz-sns-subscription-arn"),
    *("x-atlassian-webhook-identifier", "x-atlassian-webhook-retry"),
    *("x-goog-channel-id", "x-goog-message-number", "x-goog-resource-id", "x-goog-resource-state", "x-goog-changed"),
    *("x-slack-request-timestamp", "x-slack-retry-num", "x-slack-retry-reason"),
    *("sentry-hook-resource", "sentry-hook-timestamp", "aeg-delivery-count", "aeg-subscription-name"),
    *("twitch-eventsub-message-id", "twitch-eventsub-message-type", "twitch-eventsub-subscription-type"),
}
_FAMILY: Final = re.compile(r"ce-[a-z0-9]+|.+-(event|event-type|event-id|event-name|delivery|delivery-id|topic)")
"""The attributes of a CloudEvent, and how most senders call their own: ``X-GitHub-Event``, ``Linear-Delivery``."""
_PROOF: Final = re.compile(r"auth|cookie|token|secret|signature|password|credential|hmac|api-?key|session")


def event_headers(headers: Mapping[str, str], *, has_event: bool) -> dict[str, str]:
    """Return the headers that a run gets.

    Args:
        headers: Those of the call or message, with names in any case. Bytes that are not text are replaced.
        has_event: The run has an event. Without one, headers that any call has are not worth a file.

    Returns:
        Names in lower case, in order; empty if none says anything about an event.
    """
    found = {
        name: value[:VALUE_CHARACTERS_MAX].encode(errors="replace").decode()
        for name, value in sorted((name.lower(), value) for name, value in headers.items())
        if _passes(name)
    }
    if not has_event and found.keys() <= OF_ANY_CALL:
        return {}
    return dict(list(found.items())[:ENTRIES_MAX])


def _passes(name: str) -> bool:
    return name in _NAMES or (_FAMILY.fullmatch(name) is not None and not _PROOF.search(name))
