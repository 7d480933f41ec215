"""Signing in, the form of errors, and the headers of every response."""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.service.settings import BadSettings
from fastflow_gateway import app
from fastflow_gateway.readmodel import run_index
from fastflow_gateway.settings import GatewaySettings
from tests.support.gateway import ANSWER_S, TOKEN, Answer, Client, running_gateway, running_scheduler
from tests.support.records import a_bundle, publish_pipeline

SAME = {"Sec-Fetch-Site": "same-origin"}


@pytest_asyncio.fixture
async def client(bus: Bus) -> AsyncIterator[Client]:
    """A gateway with one pipeline ``demo``, and a scheduler."""
    await publish_pipeline(bus, "demo", a_bundle(main_py="1"))
    async with running_scheduler(bus), running_gateway(bus) as client:
        yield client


async def logged_in(client: Client) -> tuple[dict[str, str], str]:
    """Return a browser's cookie and the token of its forms."""
    answer = await client.post("/login", anonymous=True, data={"token": TOKEN})
    cookie = {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}
    client.http.cookie_jar.clear()
    page = await client.get("/", anonymous=True, headers=cookie)
    match = re.search(r'name="csrf_token" value="([\w-]+)"', page.text)
    assert match
    return cookie, match[1]


@pytest.mark.parametrize("authorization", [None, "Bearer wrong", "Basic abc", "Bearer", TOKEN])
async def test_the_api_needs_the_token(client: Client, authorization: str | None) -> None:
    """401 with a sentence, for reading and for writing, also for unknown addresses."""
    headers = {"Authorization": authorization} if authorization else {}
    for method, path in (("GET", "/api/runs"), ("POST", "/api/pipelines/demo/run"), ("GET", "/api/nothing")):
        answer = await client.ask(method, path, anonymous=True, headers=headers)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.json["detail"]


async def test_only_the_intended_routes_are_open(client: Client) -> None:
    """Every other route refuses requests with neither token nor session."""
    is_open = {
        "/healthz",
        "/readyz",
        "/metrics",
        "/api/webhooks/{name}/{key}",
        "/api/schema/pipeline.json",
        "/api/hooks/git",
    }
    is_open |= {"/health", "/api/health", "/ready", "/login", "/static/{file}"}
    for route in app.ROUTES:
        path = re.sub(r"{\w+(:\\d{[0-9,]+})?}", "1", route.path)
        refused = await client.ask(route.method, path, anonymous=True)
        assert ("WWW-Authenticate" in refused.headers) == (route.path not in is_open), route.path


async def test_a_browser_signs_in_by_address_or_form(client: Client) -> None:
    """Both set a cookie that no script can read, and redirect to an address without the token."""
    code = (await client.post("/api/login-codes")).json["code"]
    for answer in (
        await client.get(f"/login?code={code}", anonymous=True),
        await client.post("/login", anonymous=True, data={"token": TOKEN, "next": "/runs?status=FAILED"}, headers=SAME),
    ):
        assert answer.status == 303
        assert code not in answer.headers["Location"]
        cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert "Secure" not in cookie
    assert answer.headers["Location"] == "/runs?status=FAILED"


@pytest.mark.parametrize("target", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:x", ""])
async def test_a_login_never_redirects_to_another_site(client: Client, target: str) -> None:
    """The address must be a path of this site."""
    answer = await client.post("/login", anonymous=True, data={"token": TOKEN, "next": target})
    assert answer.headers["Location"] == "/"


async def test_a_session_reads_and_writes_from_our_own_pages(client: Client) -> None:
    """With the cookie, the page's token and the browser's headers, the API works as with the token."""
    cookie, csrf = await logged_in(client)
    assert (await client.get("/api/runs", anonymous=True, headers=cookie)).status == 200
    meant = cookie | SAME | {"X-CSRF-Token": csrf}
    assert (await client.post("/api/pipelines/demo/run", anonymous=True, headers=meant)).status == 200


async def test_a_foreign_page_cannot_use_the_session(client: Client) -> None:
    """Without the page's token, with another session's token, or from another site, a write is refused."""
    cookie, csrf = await logged_in(client)
    _, other = await logged_in(client)
    for headers in (
        SAME,
        {"X-CSRF-Token": csrf},
        {"X-CSRF-Token": csrf, "Sec-Fetch-Site": "cross-site"},
        {"X-CSRF-Token": csrf, "Sec-Fetch-Site": "same-site"},
        {"X-CSRF-Token": csrf, "Origin": "https://evil.example"},
        SAME | {"X-CSRF-Token": other},
    ):
        answer = await client.post("/api/pipelines/demo/run", anonymous=True, headers=cookie | headers)
        assert answer.status == 403
    same_origin = cookie | {"X-CSRF-Token": csrf, "Origin": client.url}
    assert (await client.post("/api/pipelines/demo/run", anonymous=True, headers=same_origin)).status == 200
    assert len((await client.get("/api/runs")).json["runs"]) == 1


@pytest.mark.parametrize("cookie", ["", "x", "..", "1.2.3", "9999999999.abc.", "é.ü.ö"])
async def test_a_forged_session_is_refused(client: Client, cookie: str) -> None:
    """Only what this installation signed is valid."""
    headers = {"Cookie": f"ff_session={cookie}"}
    assert (await client.get("/api/runs", anonymous=True, headers=headers)).status == 401


async def test_pages_without_a_session_redirect_to_the_login(client: Client) -> None:
    """And then back to the requested page."""
    answer = await client.get("/runs", anonymous=True, headers={"Accept": "text/html"})
    assert (answer.status, answer.headers["Location"]) == (303, "/login?next=/runs")


async def test_a_redirect_is_logged_and_counted(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """The actions of the dashboard's buttons are in the log and in the metrics, like every response."""
    cookie, csrf = await logged_in(client)
    before = re.findall(r'requests_total{status="303"} (\d+)', (await client.get("/metrics")).text)
    caplog.set_level("INFO")
    form = {"csrf_token": csrf, "key": "one"}
    answer = await client.post("/pipelines/demo/start", anonymous=True, data=form, headers=cookie | SAME)
    assert answer.status == 303
    requests = [record.__dict__ for record in caplog.records if record.message == "request"]
    assert ("POST", "/pipelines/demo/start", 303) in [
        (each["method"], each["path"], each["status"]) for each in requests
    ]
    after = re.findall(r'requests_total{status="303"} (\d+)', (await client.get("/metrics")).text)
    assert int(after[0]) == int(before[0]) + 1


async def test_errors_are_sentences(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """404, 405 and 500 have a detail too; an internal error shows an id and nothing else."""
    assert "openapi" in (await client.get("/api/nothing")).json["detail"]
    wrong_method = await client.ask("DELETE", "/api/runs")
    assert (wrong_method.status, wrong_method.headers["Allow"]) == (405, "GET,HEAD")
    assert "GET" in wrong_method.json["detail"]

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("the inside")

    monkeypatch.setattr(run_index.RunIndex, "page", broken)
    failed = await client.get("/api/runs")
    assert failed.status == 500
    assert re.search(r"error [0-9a-f]{12}\.", failed.json["detail"])
    assert "inside" not in failed.text
    too_large = await client.post("/api/pipelines/demo/run", data=io.BytesIO(b"x" * (app.BODY_BYTES_MAX + 1)))
    assert too_large.status == 413
    assert too_large.json["detail"]


async def test_an_expectation_that_cannot_be_met_is_an_error_like_any_other(client: Client) -> None:
    """417 with a sentence; a client that waits for "100 Continue" gets it."""
    refused = await client.post("/api/pipelines/demo/run", headers={"Expect": "wonders"}, data=b"{}")
    assert refused.status == 417
    assert "Expect" in refused.json["detail"]
    assert (await client.post("/api/pipelines/demo/run", data=b"{}", expect100=True)).status == 200


async def test_every_readable_route_answers_head(client: Client) -> None:
    """The same status and headers without a body; not for streams."""
    for path in ("/healthz", "/readyz", "/metrics", "/api/runs", "/api/pipelines/demo", "/api/openapi.json"):
        head, whole = await client.ask("HEAD", path), await client.get(path)
        assert (head.status, head.headers["Content-Type"], head.text) == (200, whole.headers["Content-Type"], "")
    assert (await client.ask("HEAD", "/api/pipelines/nobody")).status == 404
    assert (await client.ask("HEAD", "/api/runs", anonymous=True)).status == 401
    run = (await client.post("/api/pipelines/demo/run")).json["id"]
    for stream in ("logs", "logs/stream", "metrics/stream", "cells/stream"):
        assert (await client.ask("HEAD", f"/api/runs/{run}/{stream}")).status == 405


async def test_every_response_has_the_security_headers(client: Client) -> None:
    """Also errors and pages; none names the version of the server's software."""

    def check(answer: Answer) -> None:
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] in ("no-referrer", "same-origin")
        assert answer.headers["Server"] == "fastflow"

    for path in ("/api/runs", "/api/nothing", "/healthz", "/login", "/api/openapi.json"):
        check(await client.get(path))
    check(await client.get("/api/runs", anonymous=True))


async def test_a_gateway_without_a_token_does_not_start(bus: Bus) -> None:
    """The error names the setting."""
    with pytest.raises(BadSettings, match="FASTFLOW_ADMIN_TOKEN"):
        async with running_gateway(bus, admin_token="short"):
            pass
    with pytest.raises(BadSettings, match="FASTFLOW_WEBHOOK_BYTES_MAX"):
        async with running_gateway(bus, webhook_bytes_max=2**30):
            pass


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (b"GET /api/runs HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n" % (b"sent" * 5_000), "too long"),
        (b"GET /api/%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"sent" * 5_000), "too long"),
        (b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: sent\r\n\r\n", "headers"),
        (b"GET /api/runs HTTP/1.1\r\nHost: x\r\nX: sent\0\r\n\r\n", "headers"),
        (b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Encoding: br\r\nContent-Length: 4\r\n\r\nsent", "gzip"),
    ],
)
async def test_a_request_that_is_not_http_is_refused(client: Client, request_: bytes, says: str) -> None:
    """With a sentence as JSON, and nothing of our software or of the request."""
    host, port = client.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request_)
    head, _, body = (await asyncio.wait_for(reader.read(), ANSWER_S)).decode().partition("\r\n\r\n")
    writer.close()
    assert head.split()[1] == "400"
    assert "Server: fastflow" in head
    assert says in json.loads(body)["detail"]
    assert not any(word in head + body for word in ("sent", "aiohttp", "Python"))


def test_the_gateway_listens_to_this_machine_by_default() -> None:
    """Other machines reach it only if a setting says so."""
    assert GatewaySettings().host == "127.0.0.1"
