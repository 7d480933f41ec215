"""How browsers and proxies write where a request comes from; sessions of several installations on one host."""

from __future__ import annotations

import re

import pytest

from fastflow_contracts.bus.client import Bus
from tests.support.gateway import TOKEN, Answer, Client, running_gateway
from tests.support.records import a_bundle, publish_pipeline

METHODS = ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS")


async def log_in(client: Client, **headers: str) -> Answer:
    client.http.cookie_jar.clear()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.post("/login", anonymous=True, data={"token": TOKEN}, headers=names)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "ff.example:80", "Origin": "http://ff.example"},
        {"Host": "ff.example", "Origin": "http://ff.example:80"},
        {"Host": "FF.example:443", "Origin": "https://ff.EXAMPLE"},
        {"Host": "[::1]:8000", "Origin": "http://[::1]:8000"},
        {"Host": "gateway:8000", "Origin": "https://ff.example", "X_Forwarded_Host": "ff.example"},
        {"Host": "gateway:8000", "Origin": "https://ff.example", "X_Forwarded_Host": "ff.example:443, proxy.lan"},
        {"Host": "gateway:8000", "Origin": "https://ff.example", "Sec_Fetch_Site": "same-origin"},
        {"Host": "gateway:8000"},
    ],
)
async def test_a_login_works_however_its_host_is_written(bus: Bus, headers: dict[str, str]) -> None:
    """With the default port or without, in any case, and behind a proxy that says which host it was asked for."""
    async with running_gateway(bus) as client:
        assert (await log_in(client, **headers)).status == 303


async def test_a_login_behind_a_proxy_that_passes_its_own_host_says_what_to_do(bus: Bus) -> None:
    """It names both hosts, the header and the setting; with the setting it works."""
    asked = {"Host": "gateway:8000", "Origin": "https://ff.example"}
    async with running_gateway(bus) as client:
        refused = await log_in(client, **asked)
        assert refused.status == 403
        for word in ("ff.example", "gateway:8000", "Host", "FASTFLOW_PUBLIC_URL"):
            assert word in refused.json["detail"]
    async with running_gateway(bus, public_url="https://ff.example/") as client:
        assert (await log_in(client, **asked)).status == 303
        evil = await log_in(client, **(asked | {"Origin": "https://ff.example.evil"}))
        assert evil.status == 403


async def test_two_installations_on_one_host_keep_their_sessions(bus: Bus) -> None:
    """Browsers keep cookies by host, for all ports: each installation names its own."""
    async with running_gateway(bus) as one, running_gateway(bus, admin_token=f"{TOKEN}-of-another") as other:
        cookies = [(await log_in(one)).headers["Set-Cookie"].partition(";")[0]]
        answer = await other.post("/login", anonymous=True, data={"token": f"{TOKEN}-of-another"})
        cookies.append(answer.headers["Set-Cookie"].partition(";")[0])
        both = {"Cookie": "; ".join(cookies)}
        assert len({cookie.partition("=")[0] for cookie in cookies}) == 2
        for client in (one, other):
            client.http.cookie_jar.clear()
            assert (await client.get("/api/runs", anonymous=True, headers=both)).status == 200


@pytest.mark.parametrize("method", METHODS)
async def test_a_webhook_takes_nothing_but_post(bus: Bus, method: str) -> None:
    """405 says so to anyone, without a look at the key; other addresses do not tell which methods there are."""
    await publish_pipeline(bus, "demo", a_bundle(main_py="1"), webhook_key="a-key")
    async with running_gateway(bus) as client:
        for path in ("/api/webhooks/demo/a-key", "/api/webhooks/demo/wrong", "/api/webhooks/nobody/wrong"):
            answer = await client.ask(method, path, anonymous=True)
            assert (answer.status, answer.headers["Allow"]) == (405, "POST")
        assert (await client.ask("DELETE", "/api/runs", anonymous=True)).status == 401
        assert (await client.ask("PUT", "/login", anonymous=True)).status == 405


async def test_an_address_of_a_webhook_is_shown_only_when_asked_for(bus: Bus) -> None:
    """The page has no key; a form of it, with the session, shows the whole address without any script."""
    await publish_pipeline(bus, "demo", a_bundle(main_py="1"), webhook_key="a-key/of+its own")
    async with running_gateway(bus) as client:
        cookie = {"Cookie": (await log_in(client)).headers["Set-Cookie"].partition(";")[0]}
        client.http.cookie_jar.clear()
        plain = await client.get("/pipelines/demo", anonymous=True, headers=cookie)
        assert plain.status == 200
        assert "a-key" not in plain.text
        assert 'action="/pipelines/demo/webhooks"' in plain.text
        (csrf,) = set(re.findall(r'name="csrf_token" value="([^"]+)"', plain.text))
        form = {"data": {"csrf_token": csrf}, "anonymous": True}
        for headers in (cookie, {"Origin": client.url}, cookie | {"Origin": "http://evil.example"}):
            refused = await client.post("/pipelines/demo/webhooks", headers=headers, **form)
            assert refused.status in (401, 403)
            assert "a-key" not in refused.text
        shown = await client.post("/pipelines/demo/webhooks", headers=cookie | {"Origin": client.url}, **form)
        address = f"{client.url}/api/webhooks/demo/a-key%2Fof%2Bits%20own"
        assert f"<code>{address}</code>" in shown.text
        started = await client.post(address.removeprefix(client.url), anonymous=True)
        assert started.status == 202
