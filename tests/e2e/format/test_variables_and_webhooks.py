"""Variables, encrypted variables and webhooks."""

from __future__ import annotations

import hmac
import json

import pytest

from tests.e2e.format.folders import FOLDERS
from tests.support.rules import Rules


def test_later_sources_of_variables_win(there: Rules) -> None:
    """Pipeline, schedule, their encrypted ones in the same order, variables of the trigger, its parameters.

    No trigger replaces a secret.
    """
    names = ["L3", "L4"]
    upper = {name: there.seal("three", "env_order", name) for name in names}
    lower = {name: there.seal("four", "env_order", name) for name in names[1:]}
    entry = json.loads((FOLDERS / "env_order" / "pipeline.json").read_text())["schedules"][0]
    there.rewrite("env_order", encrypted_env=upper, schedules=[entry | {"encrypted_env": lower}])
    given = {"env_vars": {"L5": "five", "L6": "five"}, "parameters": {"L6": "six"}}
    run = there.done("env_order", run_config_id="more", **given)
    assert there.text(run) == " ".join(word[::-1] for word in ("one", "two", "three", "four", "five", "six"))
    assert run["env_vars"] == {"L5": "***", "L6": "***"}
    path = "/api/pipelines/env_order/run?allow_undeclared=true"
    refused = there.ask("POST", path, {"env_vars": {"L4": "x"}, "run_config_id": "more"})
    assert (refused.status, "L4 is a secret" in refused.json["detail"]) == (422, True)
    assert set(there.get("/api/pipelines/env_order")["metadata"]["encrypted_env"].values()) == {"***"}


def test_a_token_of_another_pipeline_is_refused(there: Rules) -> None:
    """A token works only for its own pipeline: secret_error, and no second attempt."""
    there.rewrite("copied", encrypted_env={"L3": there.seal("three", "env_order", "L3")})
    run = there.done("copied")
    assert (run["status"], run["error_type"], len(run["attempts"])) == ("FAILED", "secret_error", 1)
    assert there.text(run).find("never") < 0


@pytest.mark.promise("starts from anywhere")
def test_each_key_of_a_webhook_starts_its_own_configuration(there: Rules) -> None:
    """The body is the event and may carry variables; a wrong key and a disabled one start nothing."""
    body = {"env_vars": {"COLOUR": "blue"}}
    path = "/api/webhooks/hooked"
    plain = there.ask("POST", f"{path}/key-of-the-pipeline", body, anonymous=True, Content_Type="application/json")
    nightly = there.ask("POST", f"{path}/key-of-the-nightly-one", b"x", anonymous=True, Content_Type="text/plain")
    assert (plain.status, nightly.status) == (200, 200)
    assert (plain.json["triggered_by"], plain.json["run_config_id"]) == ("webhook", None)
    assert nightly.json["run_config_id"] == "nightly"
    assert there.text(there.end(plain.json)) == f"blue {json.dumps(body)}"
    assert there.text(there.end(nightly.json)) == "None x"
    for key in ("key-of-the-one-that-is-off", "no-key"):
        assert there.ask("POST", f"{path}/{key}", {}, anonymous=True).status == 401
    assert there.ask("POST", "/api/webhooks/bare/no-key", {}, anonymous=True).status == 404


def test_a_signed_webhook_refuses_a_call_without_signature(there: Rules) -> None:
    """Signed as GitHub does; a repeated delivery is one run."""
    sealed = there.seal("shared with the sender", "signed", "webhook.secret")
    there.rewrite("signed", webhook={"verify": "github", "secret": sealed})
    path, body = "/api/webhooks/signed/key-of-the-signed-one", b'{"zen": "keep it simple"}'
    assert there.ask("POST", path, body, anonymous=True).status == 401
    headers = {
        "X_Hub_Signature_256": "sha256=" + hmac.digest(b"shared with the sender", body, "sha256").hex(),
        "X_GitHub_Delivery": "delivery-1",
    }
    answers = [there.ask("POST", path, body, anonymous=True, **headers) for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].json["id"] == answers[1].json["id"]
    assert there.text(there.end(answers[0].json)) == body.decode()
