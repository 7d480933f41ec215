"""Which proofs of a push count with which secrets."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook as Sender

from fastflow_gateway.security.push_signatures import check_push
from fastflow_gateway.security.webhook_signatures import BadSignature

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BODY = '{"ref": "refs/heads/main"}'


def signed(key: str) -> dict[str, str]:
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(NOW.timestamp())),
        "webhook-signature": Sender(key).sign("msg_1", NOW, BODY),
    }


def test_a_signing_token_signs_with_its_decoded_key() -> None:
    check_push(["whsec_c2VjcmV0"], signed("whsec_c2VjcmV0"), BODY.encode(), NOW)


@pytest.mark.parametrize(("secret", "left"), [("!!a!!-b?", "whsec_ab=="), ("plain-secret", "whsec_plainsecret==")])
def test_no_other_secret_shrinks_to_what_base64_makes_of_it(secret: str, left: str) -> None:
    """Two letters between other characters were a key of one byte, which is guessed in 256 calls."""
    with pytest.raises(BadSignature):
        check_push([secret], signed(left), BODY.encode(), NOW)
