"""How callers of a webhook prove their identity, beside knowing its URL. Data only; the gateway verifies."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from fastflow_contracts.pipelines.format.value_types import HeaderName, SealedSecret, says

SIGNATURE_HEADER = "X-Hub-Signature-256"

Verify = Literal["standard", "github", "gitlab", "gitea", "hmac"]


class WebhookSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Signatures that calls of the webhook must carry, beside the key in the address."""

    verify: Annotated[
        Verify,
        says(
            "Who signs: `standard` (Standard Webhooks), `github`, `gitlab` (signing token, or else secret token), "
            "`gitea` (Forgejo, too), or `hmac`: anyone who sends the HMAC-SHA256 of the body in hex."
        ),
    ]
    secret: Annotated[
        SealedSecret,
        says(
            "The secret that the sender has too, as a token made for this place: "
            "`fastflow encrypt --pipeline NAME --name webhook.secret`."
        ),
    ]
    header: Annotated[
        HeaderName | None, says(f"The header that carries the signature (`hmac` only); else {SIGNATURE_HEADER}.")
    ] = None
