"""Which webhook calls count as signed, checked against what the senders publish themselves."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook as Sender

from fastflow_contracts.pipelines.format.webhook import Verify, WebhookSpec
from fastflow_contracts.secrets.sealing import BadSecret
from fastflow_gateway.security.webhook_signatures import TOLERANCE_S, BadSignature, verify

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
        verify(WebhookSpec(verify=verified, secret="token"), secret, headers, body, now)
    except BadSignature:
        return False
    return True


@given(st.text(st.characters(exclude_categories=["Cs"])), st.binary(min_size=1, max_size=64))
def test_calls_of_the_standards_own_library_are_accepted(body: str, key: bytes) -> None:
    """Any body, any secret, with or without prefix and padding; the signed id is returned."""
    encoded = base64.b64encode(key).decode()
    for secret in (f"whsec_{encoded}", encoded, encoded.rstrip("=")):
        headers = sent(body.encode(), secret=secret)
        assert verify(WebhookSpec(verify="standard", secret="token"), secret, headers, body.encode(), NOW) == "msg_1"


def test_the_published_example_of_the_standard_is_accepted() -> None:
    """The one that the standard's libraries in all languages are tested with."""
    at = datetime.fromtimestamp(1614265330, UTC)
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    assert is_good("standard", headers, b'{"test": 2432232314}', secret, at)


def test_the_published_example_of_github_is_accepted() -> None:
    """From its documentation, "Validating webhook deliveries": the values to test an implementation with."""
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    secret = "It's a Secret to Everybody"
    assert is_good("github", {"X-Hub-Signature-256": signature}, b"Hello, World!", secret)
    assert not is_good("github", {"X-Hub-Signature-256": signature}, b"Hello, World?", secret)
    assert not is_good("github", {"X-Hub-Signature-256": signature[:-1] + "8"}, b"Hello, World!", secret)
    assert not is_good("github", {"X-Hub-Signature-256": signature.removeprefix("sha256=")}, b"Hello, World!", secret)
    assert not is_good("github", {"X-Hub-Signature": "sha1=0"}, b"Hello, World!", secret)


PRETTY = '{\n  "foo": "bar"\n}\n'
COLOURED = '{\n  "foo": "Foo\\n\\u001B[34mbar: ♥♥♥♥♥♥♥♥\\nthis-is-lost\\u001B[0m\\u001B[2K"\n}\n'
ESCAPED = '{\n  "foo": "\\\\u001b"\n}\n'


@pytest.mark.parametrize(
    ("secret", "body", "signature"),
    [
        ("mysecret", '{"foo":"bar"}', "4864d2759938a15468b5df9ade20bf161da9b4f737ea61794142f3484236bda3"),
        ("mysecret", PRETTY, "e3eccac34c43c7dc1cbb905488b1b81347fcc700a7b025697a9d07862256023f"),
        ("development", COLOURED, "9dacf9003316b09be07df56d86a2d0d6872e42a1e6c72c3bad9ff915a7c5603e"),
        ("development", ESCAPED, "87316067e2011fae39998b18c46a14d83b3e7c3ffdd88fb2ee5afb7d11288e60"),
    ],
    ids=["compact", "as sent", "not ASCII", "escaped"],
)
def test_the_examples_of_githubs_own_library_are_accepted(secret: str, body: str, signature: str) -> None:
    """@octokit/webhooks-methods, test/sign.test.ts and test/verify.test.ts. Another secret refuses them."""
    headers = {"X-Hub-Signature-256": f"sha256={signature}"}
    assert is_good("github", headers, body.encode(), secret)
    assert not is_good("github", headers, body.encode(), "foo")
    assert not is_good("github", {"X-Hub-Signature-256": "sha256=xxx" + signature[3:]}, body.encode(), secret)
    assert not is_good("github", {"X-Hub-Signature-256": "foo"}, body.encode(), secret)


@pytest.mark.parametrize("header", ["X-Gitea-Signature", "X-Forgejo-Signature"])
@pytest.mark.parametrize(
    ("secret", "body", "wanted"),
    [
        ("s3cr3t", b'{"foo": "bar", "baz": true}', True),
        ("s3cr3t", b"{}", False),
        ("secret", b'{"foo": "bar", "baz": true}', False),
    ],
    ids=["right", "another body", "another secret"],
)
def test_the_examples_of_giteas_own_library_are_accepted(header: str, secret: str, body: bytes, wanted: bool) -> None:
    """Gitea's and Forgejo's Go SDK, gitea/hook_validate_test.go; the signature is that of `openssl dgst -hmac`."""
    signature = "289e6b19c3e5862cc99e5b9fb733d2e7881638ba92e582dd1e2bf3a80b5618c5"
    assert is_good("gitea", {header: signature}, body, secret) is wanted
    assert not is_good("gitea", {header: ""}, body, secret)


def test_gitlab_signs_with_a_signing_token_or_sends_its_secret() -> None:
    """A secret that is a signing token demands signatures: a call with the secret itself is then refused.

    The token is the example of GitLab's API for webhooks (whsec_ and 32 bytes in base64). It signs as Standard Webhooks
    do and names their library for verifying; X-Gitlab-Token carries the older secret token as it is.
    """
    token = "whsec_dGVzdHRlc3R0ZXN0dGVzdHRlc3R0ZXN0dGVzdHRlc3Q="
    signed = sent(BODY, secret=token)
    assert is_good("gitlab", signed, BODY, token)
    assert is_good("gitlab", signed | {"X-Gitlab-Token": "mysecret"}, BODY, token)
    assert not is_good("gitlab", signed, BODY + b" ", token)
    assert not is_good("gitlab", sent(BODY), BODY, token)
    assert not is_good("gitlab", {"X-Gitlab-Token": token}, BODY, token)
    assert is_good("gitlab", {"X-Gitlab-Token": "mysecret"}, BODY, "mysecret")
    assert not is_good("gitlab", {"X-Gitlab-Token": "Mysecret"}, BODY, "mysecret")


@pytest.mark.parametrize("form", ["{}", "sha256={}", "SHA256={}", "sha256= {}", "sha256 = {}", "  Sha256={} "])
@pytest.mark.parametrize(
    "encoded", [bytes.hex, lambda mac: mac.hex().upper(), lambda mac: base64.b64encode(mac).decode()]
)
def test_an_hmac_of_any_sender_is_accepted(form: str, encoded: Callable[[bytes], str]) -> None:
    """In hex of either case or in base64, in the header that the pipeline names, as several senders write it."""
    mac = hmac.digest(b"secret", BODY, "sha256")
    signature = form.format(encoded(mac))
    webhook = WebhookSpec(verify="hmac", secret="token", header="X-Shop")
    assert verify(webhook, "secret", {"X-Shop": signature}, BODY, NOW) is None
    with pytest.raises(BadSignature, match="X-Shop is missing"):
        verify(webhook, "secret", {"X-Hub-Signature-256": signature}, BODY, NOW)


@pytest.mark.parametrize(("verified", "header"), [("github", "X-Hub-Signature-256"), ("gitea", "X-Gitea-Signature")])
def test_the_hex_of_any_sender_may_be_in_upper_case(verified: Verify, header: str) -> None:
    """Base64 may not be changed like that: it would be another signature."""
    mac = hmac.digest(b"secret", BODY, "sha256")
    assert is_good(verified, {header: f"SHA256={mac.hex().upper()}"}, BODY, "secret")
    assert not is_good(verified, {header: mac.hex()[:-1]}, BODY, "secret")
    assert not is_good("hmac", {header: base64.b64encode(mac).decode().swapcase()}, BODY, "secret")


def test_one_valid_signature_of_several_is_enough() -> None:
    """A sender that changes its secret signs with both for a while; unknown versions are ignored."""
    good = sent(BODY)["webhook-signature"]
    other = sent(BODY, secret=base64.b64encode(b"other").decode())["webhook-signature"]
    for signatures, wanted in ((f"v1a,xyz {other} {good}", True), (f"{other} v2,{good[3:]}", False), ("v1,", False)):
        assert is_good("standard", sent(BODY) | {"webhook-signature": signatures}, BODY) is wanted


@pytest.mark.parametrize(("late_s", "wanted"), [(0, True), (TOLERANCE_S, True), (TOLERANCE_S + 1, False)])
def test_a_signed_call_is_valid_for_five_minutes(late_s: int, wanted: bool) -> None:
    """Older and newer ones are refused even with a valid signature."""
    for sign in (1, -1):
        assert is_good("standard", sent(BODY, at=NOW + timedelta(seconds=sign * late_s)), BODY) is wanted


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize("value", ["", "1", "-1", "nan", "9" * 40, "v1,é", "\udcff", "v1"])
def test_no_signed_part_can_be_changed(name: str, value: str) -> None:
    """A call with another id, time or signature is refused."""
    assert not is_good("standard", sent(BODY) | {name: value}, BODY)


@given(st.sampled_from(["standard", "github", "gitlab", "gitea", "hmac"]), st.text(), st.binary())
def test_a_header_without_a_signature_is_refused(verified: Verify, text: str, body: bytes) -> None:
    """No other value of the header causes an error."""
    names = ["X-Hub-Signature-256", "X-Gitlab-Token", "X-Gitea-Signature", *sent(BODY)]
    assert not is_good(verified, dict.fromkeys(names, text), body)
    assert not is_good(verified, {}, body)


def test_an_invalid_secret_is_not_a_bad_signature() -> None:
    """The caller is not to blame: the standard's secrets are base64."""
    with pytest.raises(BadSecret, match="not base64"):
        verify(WebhookSpec(verify="standard", secret="token"), "whsec_", sent(BODY), BODY, NOW)
