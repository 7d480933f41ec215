"""Which calls of a webhook count as signed. Held against the senders' own library and published examples."""

from __future__ import annotations

import base64
import hmac
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook as Sender

from fastflow_contracts.webhook import Verify, Webhook
from fastflow_gateway.sealing import BadSecret
from fastflow_gateway.signatures import TOLERANCE_S, BadSignature, verify

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
BODY = b'{"order": 7}'


def sent(body: bytes, *, secret: str = SECRET, at: datetime = NOW, call_id: str = "msg_1") -> dict[str, str]:
    """The headers that the standard's own library sends."""
    return {
        "webhook-id": call_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Sender(secret).sign(call_id, at, body.decode()),
    }


def is_good(verified: Verify, headers: dict[str, str], body: bytes, secret: str = SECRET, now: datetime = NOW) -> bool:
    try:
        verify(Webhook(verify=verified, secret="token"), secret, headers, body, now)
    except BadSignature:
        return False
    return True


@given(st.text(st.characters(exclude_categories=["Cs"])), st.binary(min_size=1, max_size=64))
def test_what_the_standards_library_signs_is_signed(body: str, key: bytes) -> None:
    """Any body, any secret, with or without prefix and padding; the id that it covers comes back."""
    encoded = base64.b64encode(key).decode()
    for secret in (f"whsec_{encoded}", encoded, encoded.rstrip("=")):
        headers = sent(body.encode(), secret=secret)
        assert verify(Webhook(verify="standard", secret="token"), secret, headers, body.encode(), NOW) == "msg_1"


def test_the_published_example_of_the_standard() -> None:
    """The one that implementations in all languages are tested with."""
    at = datetime.fromtimestamp(1614265330, UTC)
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    assert is_good("standard", headers, b'{"test": 2432232314}', secret, at)


def test_the_published_example_of_github() -> None:
    """From its documentation of webhooks."""
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    secret = "It's a Secret to Everybody"
    assert is_good("github", {"X-Hub-Signature-256": signature}, b"Hello, World!", secret)
    assert not is_good("github", {"X-Hub-Signature-256": signature}, b"Hello, World?", secret)
    assert not is_good("github", {"X-Hub-Signature-256": signature[:-1] + "8"}, b"Hello, World!", secret)
    assert not is_good("github", {"X-Hub-Signature-256": signature.removeprefix("sha256=")}, b"Hello, World!", secret)
    assert not is_good("github", {"X-Hub-Signature": "sha1=0"}, b"Hello, World!", secret)


@pytest.mark.parametrize("header", ["X-Gitea-Signature", "X-Forgejo-Signature"])
def test_gitea_and_forgejo_send_bare_hex(header: str) -> None:
    """Of the HMAC of the body."""
    signature = hmac.digest(b"secret", BODY, "sha256").hex()
    assert is_good("gitea", {header: signature}, BODY, "secret")
    assert not is_good("gitea", {header: signature}, BODY + b" ", "secret")


def test_gitlab_signs_with_a_signing_token_and_else_sends_its_secret() -> None:
    """A secret that is a signing token demands signatures: a call with the secret itself is then refused."""
    assert is_good("gitlab", sent(BODY), BODY)
    assert not is_good("gitlab", {"X-Gitlab-Token": SECRET}, BODY)
    assert is_good("gitlab", {"X-Gitlab-Token": "secret"}, BODY, "secret")
    assert not is_good("gitlab", {"X-Gitlab-Token": "Secret"}, BODY, "secret")


@pytest.mark.parametrize("form", ["{hex}", "sha256={hex}", "{base64}"])
def test_anyone_may_sign_with_an_hmac(form: str) -> None:
    """In hex or base64, in the header that the pipeline names."""
    mac = hmac.digest(b"secret", BODY, "sha256")
    signature = form.format(hex=mac.hex(), base64=base64.b64encode(mac).decode())
    webhook = Webhook(verify="hmac", secret="token", header="X-Shop")
    assert verify(webhook, "secret", {"X-Shop": signature}, BODY, NOW) is None
    with pytest.raises(BadSignature, match="X-Shop is missing"):
        verify(webhook, "secret", {"X-Hub-Signature-256": signature}, BODY, NOW)


def test_one_good_signature_of_several_is_enough() -> None:
    """A sender that changes its secret signs with both for a while; unknown versions are passed over."""
    good = sent(BODY)["webhook-signature"]
    other = sent(BODY, secret=base64.b64encode(b"other").decode())["webhook-signature"]
    for signatures, wanted in ((f"v1a,xyz {other} {good}", True), (f"{other} v2,{good[3:]}", False), ("v1,", False)):
        assert is_good("standard", sent(BODY) | {"webhook-signature": signatures}, BODY) is wanted


@pytest.mark.parametrize(("late_s", "wanted"), [(0, True), (TOLERANCE_S, True), (TOLERANCE_S + 1, False)])
def test_a_signed_call_is_good_for_five_minutes(late_s: int, wanted: bool) -> None:
    """Too old and too new are both refused, however good the signature."""
    for sign in (1, -1):
        assert is_good("standard", sent(BODY, at=NOW + timedelta(seconds=sign * late_s)), BODY) is wanted


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize("value", ["", "1", "-1", "nan", "9" * 40, "v1,é", "\udcff", "v1"])
def test_what_the_standard_signs_cannot_be_changed(name: str, value: str) -> None:
    """Id, time, signature: whatever is put in the place of one, the call is refused."""
    assert not is_good("standard", sent(BODY) | {name: value}, BODY)


@given(st.sampled_from(["standard", "github", "gitlab", "gitea", "hmac"]), st.text(), st.binary())
def test_no_signature_is_none(verified: Verify, text: str, body: bytes) -> None:
    """Nothing that merely stands in the right header is taken for one, and nothing crashes."""
    names = ["X-Hub-Signature-256", "X-Gitlab-Token", "X-Gitea-Signature", *sent(BODY)]
    assert not is_good(verified, dict.fromkeys(names, text), body)
    assert not is_good(verified, {}, body)


def test_a_secret_that_cannot_be_the_senders_is_our_mistake() -> None:
    """The standard's are base64."""
    with pytest.raises(BadSecret, match="no base64"):
        verify(Webhook(verify="standard", secret="token"), "whsec_", sent(BODY), BODY, NOW)
