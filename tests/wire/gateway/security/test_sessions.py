"""Sessions and login codes on several gateways, and what they leave in a browser."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
import pytest_asyncio

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.clock import now
from fastflow_gateway.security.sessions import CODE_S, Sessions
from tests.support.gateway import TOKEN, Answer, Client, claim, running_gateway, say, store
from tests.support.records import a_run

SAME = {"Sec-Fetch-Site": "same-origin"}
PAGE = {"Accept": "text/html"}
STREAM_S = 60.0


class Two(NamedTuple):
    """Two gateways of one installation."""

    one: Client
    other: Client


@pytest_asyncio.fixture
async def gateways(bus: Bus, bus_url: str) -> AsyncIterator[Two]:
    async with (
        connect(bus_url, name="test-other") as second,
        running_gateway(bus) as one,
        running_gateway(second) as other,
    ):
        yield Two(one, other)


async def cookie_of(client: Client, **headers: str) -> dict[str, str]:
    """Sign in with the token; return the cookie."""
    answer = await client.post("/login", anonymous=True, data={"token": TOKEN}, headers=headers)
    client.http.cookie_jar.clear()
    return {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}


async def log_out(client: Client, cookie: dict[str, str]) -> Answer:
    page = await client.get("/", anonymous=True, headers=cookie)
    match = re.search(r'name="csrf_token" value="([\w-]+)"', page.text)
    assert match
    return await client.post("/logout", anonymous=True, data={"csrf_token": match[1]}, headers=cookie | SAME)


async def is_let_in(client: Client, cookie: dict[str, str]) -> bool:
    return (await client.get("/api/runs", anonymous=True, headers=cookie)).status == 200


async def test_a_stolen_cookie_is_refused_after_the_logout(bus: Bus, gateways: Two) -> None:
    """On the gateway of the logout, on another one, and on one that starts later. Other sessions go on."""
    stolen, kept = await cookie_of(gateways.one), await cookie_of(gateways.one)
    assert await is_let_in(gateways.other, stolen)
    assert (await log_out(gateways.one, stolen)).status == 303
    for gateway in gateways:
        while await is_let_in(gateway, stolen):  # until the bus has told it
            pass
        assert await is_let_in(gateway, kept)
    async with running_gateway(bus) as later:
        assert not await is_let_in(later, stolen)
        assert await is_let_in(later, kept)


@pytest.mark.parametrize("is_log", [False, True])
async def test_a_stream_that_is_open_at_the_logout_sends_nothing_more(bus: Bus, gateways: Two, is_log: bool) -> None:
    """It once went on until the browser, or the thief of the cookie, closed it. That of another session goes on."""
    run = await claim(bus, await store(bus, a_run()))
    path = f"/api/runs/{run.id}/logs/stream" if is_log else "/live"
    stolen, kept = await cookie_of(gateways.one), await cookie_of(gateways.one)
    async with (
        gateways.one.http.get(gateways.one.url + path, headers=stolen) as of_thief,
        gateways.one.http.get(gateways.one.url + path, headers=kept) as of_user,
        asyncio.timeout(STREAM_S),
    ):
        assert (of_thief.status, of_user.status) == (200, 200)
        await log_out(gateways.other, stolen)
        while await is_let_in(gateways.one, stolen):
            pass
        await of_thief.content.readuntil(b"\n\n")
        await say(bus, run, "a secret\n", end=0)
        await claim(bus, await store(bus, a_run()))
        rest = await of_thief.content.read()
        assert b"secret" not in rest
        await of_user.content.readuntil(b"secret" if is_log else b"changed")


async def test_a_login_address_works_once(gateways: Two) -> None:
    """Whichever gateway is asked first; HEAD, as programs that show previews send it, does not use it."""
    for first, second in (gateways, gateways[::-1]):
        code = (await first.post("/api/login-codes")).json["code"]
        assert (await second.ask("HEAD", f"/login?code={code}", anonymous=True)).status == 200
        signed_in = await second.get(f"/login?code={code}&next=/runs", anonymous=True)
        assert (signed_in.status, signed_in.headers["Location"]) == (303, "/runs")
        second.http.cookie_jar.clear()
        for gateway in gateways:
            again = await gateway.get(f"/login?code={code}", anonymous=True)
            assert (again.status, "Set-Cookie" in again.headers) == (401, False)
            assert "fastflow open" in again.text


@pytest.mark.parametrize("code", ["", "x", "1.2.3", "é", "9999999999.abc.sig"])
async def test_a_made_up_login_code_signs_nobody_in(gateways: Two, code: str) -> None:
    """Nor does a session's cookie or the token in its place."""
    cookie = (await cookie_of(gateways.one))["Cookie"].partition("=")[2]
    for wrong in (code, cookie, TOKEN):
        for name in ("code", "token"):
            answer = await gateways.one.get("/login", params={name: wrong}, anonymous=True)
            assert "Set-Cookie" not in answer.headers


async def test_a_login_code_lives_for_minutes_only() -> None:
    """And only for the installation that made it."""
    sessions = Sessions(TOKEN)
    code, expires_at = sessions.new_code(now())
    assert 0 < (expires_at - now()).total_seconds() <= CODE_S <= 15 * 60
    assert sessions.code_id(code, now()) is not None
    assert sessions.code_id(code, expires_at) is None
    assert Sessions("another token of mine").code_id(code, now()) is None
    assert sessions.session(code, now()) is None


async def test_a_session_makes_no_login_codes(gateways: Two) -> None:
    """It would outlive its own logout."""
    cookie = await cookie_of(gateways.one)
    page = await gateways.one.get("/", anonymous=True, headers=cookie)
    match = re.search(r'name="csrf_token" value="([\w-]+)"', page.text)
    assert match
    meant = cookie | SAME | {"X-CSRF-Token": match[1]}
    assert (await gateways.one.post("/api/login-codes", anonymous=True, headers=meant)).status == 403


@pytest.mark.parametrize(
    ("settings", "headers"),
    [
        ({"proxies": "127.0.0.1"}, {"X-Forwarded-Proto": "https"}),
        ({"public_url": "https://ff.example"}, {"Host": "ff.example"}),
    ],
)
async def test_over_tls_the_cookie_is_of_this_host_alone(
    bus: Bus, settings: dict[str, str], headers: dict[str, str]
) -> None:
    """``__Host-`` and Secure, and browsers are told to use TLS only; a cookie without the prefix is not looked at."""
    async with running_gateway(bus, **settings) as client:
        answer = await client.post("/login", anonymous=True, data={"token": TOKEN}, headers=headers)
        client.http.cookie_jar.clear()
        cookie = answer.headers["Set-Cookie"]
        assert cookie.startswith("__Host-ff_session_")
        for attribute in ("Secure", "HttpOnly", "Path=/", "SameSite=Lax"):
            assert attribute in cookie
        assert "Domain" not in cookie
        assert "max-age=" in answer.headers["Strict-Transport-Security"]
        sent = {"Cookie": cookie.partition(";")[0]}
        assert await is_let_in(client, sent | headers)
        assert not await is_let_in(client, {"Cookie": sent["Cookie"].removeprefix("__Host-")} | headers)
        over = await log_out_with(client, sent, headers)
        assert "__Host-ff_session_" in over.headers["Set-Cookie"]
        assert "Secure" in over.headers["Set-Cookie"]


async def log_out_with(client: Client, cookie: dict[str, str], headers: dict[str, str]) -> Answer:
    return await log_out(client, cookie | headers)


async def test_plain_http_has_neither(gateways: Two) -> None:
    """A browser would not keep a Secure cookie, and must not be told to use TLS where there is none."""
    answer = await gateways.one.post("/login", anonymous=True, data={"token": TOKEN})
    assert answer.headers["Set-Cookie"].startswith("ff_session_")
    assert "Secure" not in answer.headers["Set-Cookie"]
    assert "Strict-Transport-Security" not in answer.headers
