"""Starting runs with the key of a webhook, through the gateway, with a real scheduler."""

from __future__ import annotations

import logging

import pytest

from fastflow_contracts.bus.client import Bus
from tests.support.gateway import (
    WEBHOOK_KEY,
    Client,
    stored_run,
)
from tests.support.logged import logged
from tests.support.records import a_bundle, publish_pipeline


async def test_a_webhook_starts_the_run_configuration_whose_key_it_has(bus: Bus, client: Client) -> None:
    """The key in the path is enough; the body is the event and may have variables."""
    body = b'{"env_vars": {"A": "1"}, "parameters": {"B": "2"}}'
    headers = {"Content-Type": "application/json"}
    answer = await client.post(f"/api/webhooks/demo/{WEBHOOK_KEY}-prod", data=body, headers=headers, anonymous=True)
    assert answer.status == 200
    run, given = await stored_run(bus, answer.json["id"])
    assert (run.order.triggered_by, run.order.run_config_id) == ("webhook", "prod")
    assert (given.event, given.event_type) == (body, "application/json")
    assert given.overrides == {"A": "1", "B": "2"}
    plain = await client.post(f"/api/webhooks/demo/{WEBHOOK_KEY}", data=b"\x00\xffraw", anonymous=True)
    run, given = await stored_run(bus, plain.json["id"])
    assert (run.order.run_config_id, given.event) == (None, b"\x00\xffraw")
    empty = await client.post(f"/api/webhooks/demo/{WEBHOOK_KEY}", anonymous=True)
    assert (await stored_run(bus, empty.json["id"]))[1].event is None


@pytest.mark.parametrize("header", ["Idempotency-Key", "webhook-id", "X-GitHub-Delivery"])
async def test_a_webhook_delivered_twice_is_one_run(client: Client, header: str) -> None:
    """A repeat with any of the usual delivery ids returns the same run."""
    headers = {header: "delivery-1"}
    ids = [(await client.post(f"/api/webhooks/demo/{WEBHOOK_KEY}", headers=headers)).json["id"] for _ in range(2)]
    assert ids[0] == ids[1]


async def test_webhooks_refuse_in_order(bus: Bus, client: Client) -> None:
    """404 unknown, disabled or without a key; 401 wrong key; 413 too large; 400 invalid JSON or variables."""
    await publish_pipeline(bus, "off", a_bundle(main_py="1"), enabled=False, webhook_key=WEBHOOK_KEY)
    await publish_pipeline(bus, "keyless", a_bundle(main_py="1"))
    json_type = {"Content-Type": "application/json"}
    for path, status, request in (
        (f"nobody/{WEBHOOK_KEY}", 404, {}),
        (f"off/{WEBHOOK_KEY}", 404, {}),
        (f"keyless/{WEBHOOK_KEY}", 404, {}),
        ("demo/wrong", 401, {}),
        ("demo/wrong", 401, {"data": b"x" * 2_000}),
        (f"demo/{WEBHOOK_KEY}", 413, {"data": b"x" * 1_001}),
        (f"demo/{WEBHOOK_KEY}", 400, {"data": b"{", "headers": json_type}),
        (f"demo/{WEBHOOK_KEY}", 400, {"data": b'{"env_vars": {"A": 1}}', "headers": json_type}),
    ):
        answer = await client.post(f"/api/webhooks/{path}", anonymous=True, **request)
        assert answer.status == status, path
        assert answer.json["detail"]


async def test_guessing_keys_is_slowed_down(client: Client) -> None:
    """After ten wrong keys the client must wait, even with the right one."""
    for _ in range(10):
        assert (await client.post("/api/webhooks/demo/guess", anonymous=True)).status == 401
    refused = await client.post(f"/api/webhooks/demo/{WEBHOOK_KEY}", anonymous=True)
    assert refused.status == 429
    assert int(refused.headers["Retry-After"]) > 0


async def test_keys_and_tokens_are_never_logged(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a webhook's key nor a login's code is in a log line, even in a mistyped request."""
    with caplog.at_level(logging.DEBUG):
        await client.post(f"/api/webhooks/demo/{WEBHOOK_KEY}", anonymous=True)
        await client.post(f"/api/webhooks/demo/{WEBHOOK_KEY}/more", anonymous=True)
        await client.get(f"/api/webhooks/demo/{WEBHOOK_KEY}", anonymous=True)
        await client.post(f"//api//webhooks//demo/{WEBHOOK_KEY}", anonymous=True)
        await client.get(f"/login?code={WEBHOOK_KEY}", anonymous=True)
        for nowhere in (
            "/webhooks/demo",
            "/demo",
            "/API/Webhooks/demo",
            "/api/webhook/demo",
            "//demo//",
            "/base/api/webhooks/demo",
        ):
            assert (await client.post(f"{nowhere}/{WEBHOOK_KEY}", anonymous=True)).status in (401, 404)
    assert "/api/webhooks/demo/***" in logged(caplog)
    assert WEBHOOK_KEY not in logged(caplog)
