"""What is an event, which event it is, and which of its headers a run gets."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastflow_contracts.runs.event_headers import ENTRIES_MAX, VALUE_CHARACTERS_MAX, event_headers
from fastflow_contracts.runs.messages import RUN_BODY_TYPE, TRIGGER, TRIGGER_TYPE, Trigger
from fastflow_contracts.runs.triggers import BadTrigger, is_event_key, read_trigger, read_webhook

CLOUD_EVENT = {"specversion": "1.0", "source": "/s", "id": "7", "type": "t", "data": {"n": 1}}
BINARY = {"ce-specversion": "1.0", "ce-source": "/s", "ce-id": "7", "ce-type": "t"}
SECRETS = (
    *("Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "X-Hub-Signature-256", "X-Hub-Signature"),
    *("X-Gitlab-Token", "webhook-signature", "svix-signature", "Stripe-Signature", "X-Api-Key", "Idempotency-Key"),
    *("X-Slack-Signature", "X-Shopify-Hmac-Sha256", "X-Goog-Channel-Token", "X-Amz-Security-Token", "Ff-Reply"),
    *("ce-authorization", "ce-token", "ce-signature", "X-Secret-Event", "X-Auth-Topic", "X-Forwarded-For", "Host"),
)


@pytest.mark.parametrize("content_type", [None, "application/json", "application/cloudevents", "text/plain"])
def test_a_structured_cloud_event_needs_no_media_type(content_type: str | None) -> None:
    """Many clients publish one as plain JSON: it has what every CloudEvent has, and its own key."""
    payload, headers = json.dumps(CLOUD_EVENT).encode(), {"Content-Type": content_type} if content_type else {}
    declared = read_trigger(payload, {"Content-Type": "application/cloudevents+json; charset=utf-8"})
    found = read_trigger(payload, headers)
    assert found.key == declared.key == read_webhook(payload, headers).key == read_trigger(b"1", BINARY).key
    assert found.event == payload
    assert found.key is not None
    assert is_event_key(found.key)


@pytest.mark.parametrize("missing", ["specversion", "source", "id", "type"])
@pytest.mark.parametrize("value", [None, "", 7, ["x"]])
def test_what_only_looks_like_a_cloud_event_is_any_event(missing: str, value: object) -> None:
    """Nothing says that it is one, so nothing is wrong with it."""
    payload = json.dumps(CLOUD_EVENT | {missing: value}).encode()
    for trigger in (read_trigger(payload, {}), read_webhook(payload, {})):
        assert (trigger.key, trigger.event) == (None, payload)


@pytest.mark.parametrize(
    "headers", [{"Content-Type": "application/cloudevents+json"}, {"ce-specversion": "1.0", "ce-id": "7"}]
)
def test_a_declared_cloud_event_without_an_identity_is_refused(headers: dict[str, str]) -> None:
    """From the bus as over HTTP: its sender says that it is a CloudEvent, and it is not a valid one."""
    for read in (read_trigger, read_webhook):
        with pytest.raises(BadTrigger, match="source and an id"):
            read(b'{"id": "7"}', headers)


@pytest.mark.parametrize(
    "body",
    [
        {"parameters": [1, 2], "workflow": "x"},
        {"parameters": {"n": 5}, "action": "opened"},
        {"env_vars": "none", "id": 1},
        {"run_config_id": 7, "name": "build"},
        ["parameters"],
    ],
)
def test_a_foreign_body_is_an_event_with_any_names_of_fields(body: object) -> None:
    """GitHub, Azure and others have ``parameters`` of their own."""
    payload = json.dumps(body).encode()
    for trigger in (read_trigger(payload, {}), read_webhook(payload, {"Content-Type": "application/json"})):
        assert (trigger.event, trigger.env_vars, trigger.parameters) == (payload, {}, {})


def test_a_body_of_exactly_our_fields_is_a_run_body() -> None:
    """So is one of our media type, which may have no other fields."""
    payload = b'{"env_vars": {"A": "1"}, "parameters": {"B": "2"}}'
    for headers in ({}, {"Content-Type": RUN_BODY_TYPE}):
        webhook = read_webhook(payload, headers)
        assert (webhook.env_vars, webhook.parameters, webhook.event) == ({"A": "1"}, {"B": "2"}, payload)
    assert read_trigger(payload, {}).event is None
    for body in (b'{"env_vars": {"n": 5}}', b'{"env_vars": []}', b'{"parameters": [5]}'):
        with pytest.raises(BadTrigger):
            read_webhook(body, {})
    for body in (b'{"more": 1}', b"[]", b"x"):
        with pytest.raises(BadTrigger):
            read_webhook(body, {"Content-Type": RUN_BODY_TYPE})
        with pytest.raises(BadTrigger):
            read_trigger(body, {"Content-Type": RUN_BODY_TYPE})
    assert read_trigger(payload, {"Content-Type": RUN_BODY_TYPE}).env_vars == {"A": "1"}


@pytest.mark.parametrize("header", SECRETS)
def test_what_proves_who_the_sender_is_reaches_no_script(header: str) -> None:
    """Nor where it came from."""
    headers = {header: "hunter2", header.upper(): "hunter2", "X-GitHub-Event": "push"}
    for kept in (
        read_webhook(b"x", headers).event_headers,
        read_trigger(b"x", headers).event_headers,
        read_trigger(TRIGGER.encode(Trigger(event_headers=headers)), {"Content-Type": TRIGGER_TYPE}).event_headers,
    ):
        assert kept == {"x-github-event": "push"}


def test_which_event_it_was_is_kept() -> None:
    """With names in lower case, from any case."""
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "GitHub-Hookshot/1",
        "webhook-id": "m1",
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": "d1",
        "X-Gitlab-Event": "Push Hook",
        "X-Event-Key": "repo:push",
        "CE-Type": "t",
        "ce-partitionkey": "p",
        "X-Shopify-Topic": "orders/create",
        "X-Gitea-Event-Type": "push",
        "Linear-Event": "Issue",
        "x-amz-sns-message-type": "Notification",
        "traceparent": "00-a-b-01",
    }
    assert read_webhook(b"{}", headers).event_headers == {name.lower(): value for name, value in headers.items()}


def test_what_any_call_has_is_kept_only_with_an_event() -> None:
    """A start without one stays as small as it is."""
    headers = {"Content-Type": "application/json", "User-Agent": "curl/8"}
    assert event_headers(headers, has_event=False) == {}
    assert event_headers(headers | {"ce-type": "t"}, has_event=False).keys() == {
        "content-type",
        "user-agent",
        "ce-type",
    }


@given(st.dictionaries(st.text(), st.text()), st.booleans())
def test_kept_headers_are_bounded_text(headers: dict[str, str], has_event: bool) -> None:
    """For anything that a caller sends."""
    many = {f"ce-x{number}": "x" * 10_000 for number in range(100)}
    found = event_headers(headers | many | {"ce-bad": "\udcff"}, has_event=has_event)
    assert len(found) <= ENTRIES_MAX
    assert max(map(len, found.values())) <= VALUE_CHARACTERS_MAX
    assert json.dumps(found).encode()
    assert found["ce-bad"] == "?"
