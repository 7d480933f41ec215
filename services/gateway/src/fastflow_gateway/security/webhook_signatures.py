"""Checks the signature of a webhook call. Pure: the raw body, the headers and the time are arguments.

| sender | header | signed |
|---|---|---|
| standard | ``webhook-signature``: ``v1,<base64>``, several separated by spaces | id, timestamp, body |
| github | ``X-Hub-Signature-256``: ``sha256=<hex>`` | body |
| gitlab | with a ``whsec_`` secret as standard; else ``X-Gitlab-Token``: the secret itself | then nothing |
| gitea | ``X-Gitea-Signature`` or ``X-Forgejo-Signature``: ``<hex>`` | body |
| hmac | the one in its metadata: hex or base64, with or without ``sha256=`` | body |

Hex digits and the prefix may be in upper case. All are HMAC-SHA256, compared in constant time. Only the standard's
signature covers an id and a time, so only there a repeated or delayed call is recognised, also with other headers
say.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final, assert_never

from fastflow_contracts.pipelines.format.webhook import SIGNATURE_HEADER, WebhookSpec
from fastflow_contracts.secrets.sealing import BadSecret

TOLERANCE_S: Final = 300
"""How far the time of a signed call may differ from ours, in either direction."""
STANDARD_PREFIX: Final = "whsec_"
_PREFIX: Final = re.compile(r"^sha256\s*=\s*", re.IGNORECASE)


class BadSignature(Exception):
    """The call has no valid signature. The message says what is wrong."""


def verify(webhook: WebhookSpec, secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> str | None:
    """Check the signature of a call.

    Args:
        webhook: The sender, and its header if it names one.
        secret: The decrypted secret.
        headers: The request's headers, with names in any case.
        body: The raw bytes.
        now: The time that a signed time is compared with.

    Returns:
        The id of the call if the signature covers one.

    Raises:
        BadSignature: The signature is missing or wrong, or its time is too far from *now*.
        BadSecret: The secret has not the form that this sender uses.
    """
    match webhook.verify:
        case "standard":
            return _standard(secret, headers, body, now)
        case "gitlab" if secret.startswith(STANDARD_PREFIX):
            return _standard(secret, headers, body, now)
        case "gitlab":
            _check([_given(headers, "X-Gitlab-Token")], [secret])
        case "github":
            given = _given(headers, "X-Hub-Signature-256")
            _check(_macs(given) if _PREFIX.match(given) else [], [_mac(secret, body).hex()])
        case "gitea":
            _check(_macs(_given(headers, "X-Gitea-Signature", "X-Forgejo-Signature")), [_mac(secret, body).hex()])
        case "hmac":
            mac = _mac(secret, body)
            given = _given(headers, webhook.header or SIGNATURE_HEADER)
            _check(_macs(given), [mac.hex(), base64.b64encode(mac).decode()])
        case _:
            assert_never(webhook.verify)
    return None


def _standard(secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
    call_id, at = _given(headers, "webhook-id"), _given(headers, "webhook-timestamp")
    given = [each.removeprefix("v1,") for each in _given(headers, "webhook-signature").split() if each[:3] == "v1,"]
    if not re.fullmatch("[0-9]{1,12}", at) or abs(now.timestamp() - int(at)) > TOLERANCE_S:
        raise BadSignature(f"webhook-timestamp is not within {TOLERANCE_S} s of now; check the sender's clock.")
    try:
        key = base64.b64decode(secret.removeprefix(STANDARD_PREFIX) + "==")  # also if padded: extra padding is ignored
    except (ValueError, binascii.Error):
        key = b""
    if not key:
        raise BadSecret("the webhook's secret is not base64; encrypt it as the sender shows it (whsec_…).")
    mac = hmac.digest(key, _bytes(f"{call_id}.{at}.") + body, "sha256")
    _check(given, [base64.b64encode(mac).decode()])
    return call_id


def _mac(secret: str, body: bytes) -> bytes:
    return hmac.digest(secret.encode(), body, "sha256")


def _macs(given: str) -> list[str]:
    """Return the ways to read a signature: as base64, and as hex in either case. The prefix is optional."""
    mac = _PREFIX.sub("", given, count=1)
    return [mac, mac.lower()]


def _given(headers: Mapping[str, str], *names: str) -> str:
    for name in names:
        if value := headers.get(name, "").strip():
            return value
    raise BadSignature(f"the header {' or '.join(names)} is missing.")


def _check(given: list[str], wanted: list[str]) -> None:
    """Compare every pair, even after a match."""
    matches = [hmac.compare_digest(_bytes(one), _bytes(other)) for one in given for other in wanted]
    if not any(matches):
        raise BadSignature(
            "the signature does not match the body and the secret; compare the secret with the sender's."
        )


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
