"""Guessing the token, on the login page and in the API, and asking for metrics without one."""

from __future__ import annotations

import pytest

from fastflow_contracts.bus.client import Bus
from fastflow_gateway.security.token_guard import BURST
from tests.support.gateway import TOKEN, Answer, Client, running_gateway

METRICS_TOKEN = "a-token-for-metrics-only"
BEHIND = {"proxies": "127.0.0.0/8"}


async def bearer(client: Client, token: str, *, address: str = "192.0.2.1", path: str = "/api/runs") -> Answer:
    headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": address}
    return await client.get(path, anonymous=True, headers=headers)


async def test_guessing_bearer_tokens_is_slowed_down(bus: Bus) -> None:
    """After ten wrong ones the address must wait, even with the right one, and on the login page too. Others go on."""
    async with running_gateway(bus, **BEHIND) as client:
        for _ in range(BURST):
            assert (await bearer(client, "guess")).status == 401
        for token in ("guess", TOKEN):
            refused = await bearer(client, token)
            assert refused.status == 429
            assert int(refused.headers["Retry-After"]) > 0
        form = {"data": {"token": TOKEN}, "headers": {"X-Forwarded-For": "192.0.2.1"}}
        assert (await client.post("/login", anonymous=True, **form)).status == 429
        assert (await bearer(client, TOKEN, address="192.0.2.2")).status == 200


async def test_guessing_on_the_login_page_is_slowed_down(bus: Bus) -> None:
    """After ten wrong tokens the client must wait, even with the right one, and in the API too."""
    async with running_gateway(bus) as client:
        for _ in range(BURST):
            assert (await client.post("/login", anonymous=True, data={"token": "guess"})).status == 401
        refused = await client.post("/login", anonymous=True, data={"token": TOKEN})
        assert refused.status == 429
        assert int(refused.headers["Retry-After"]) > 0
        assert (await client.get("/api/runs")).status == 429


async def test_one_wrong_client_shuts_out_nobody_behind_the_same_address(bus: Bus) -> None:
    """Where the right token came from lately, it goes on working; wrong ones wait."""
    async with running_gateway(bus, **BEHIND) as client:
        assert (await bearer(client, TOKEN)).status == 200
        for _ in range(BURST):
            assert (await bearer(client, "an-old-token")).status == 401
        assert (await bearer(client, "an-old-token")).status == 429
        assert (await bearer(client, TOKEN)).status == 200


@pytest.mark.parametrize(
    ("settings", "given", "status"),
    [
        ({}, "", 200),
        ({"host": "0.0.0.0"}, "", 401),
        ({"host": "0.0.0.0"}, TOKEN, 200),
        ({"host": "0.0.0.0", "metrics_token": METRICS_TOKEN}, METRICS_TOKEN, 200),
        ({"host": "0.0.0.0", "metrics_token": METRICS_TOKEN}, TOKEN, 200),
        ({"host": "0.0.0.0", "metrics_token": METRICS_TOKEN}, "guess", 401),
        ({"metrics_token": METRICS_TOKEN}, "", 401),
        ({"metrics_token": METRICS_TOKEN}, METRICS_TOKEN, 200),
        ({"metrics": False}, TOKEN, 404),
    ],
)
async def test_metrics_need_a_token_beyond_this_machine(
    bus: Bus, settings: dict[str, object], given: str, status: int
) -> None:
    """Their own or the gateway's; on this machine none, unless one is set for them."""
    async with running_gateway(bus, **settings) as client:
        local = Client(client.url.replace("0.0.0.0", "127.0.0.1"), client.http)
        headers = {"Authorization": f"Bearer {given}"} if given else {}
        answer = await local.get("/metrics", anonymous=True, headers=headers)
        assert answer.status == status
        if status == 401:
            assert "fastflow_runs" not in answer.text


async def test_metrics_behind_a_proxy_need_a_token(bus: Bus) -> None:
    """The proxy is on this machine, its clients are not."""
    async with running_gateway(bus) as client:
        forwarded = {"X-Forwarded-For": "192.0.2.1"}
        assert (await client.get("/metrics", anonymous=True, headers=forwarded)).status == 401
        assert (await client.get("/metrics", headers=forwarded)).status == 200


async def test_the_metrics_token_opens_nothing_else(bus: Bus) -> None:
    """It is in a scraper's configuration."""
    async with running_gateway(bus, metrics_token=METRICS_TOKEN) as client:
        assert (await bearer(client, METRICS_TOKEN)).status == 401
