"""Ten thousand requests that no client would send: none is answered with 500, none hangs, and runs go on."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from random import Random
from typing import Any, Final
from urllib.parse import quote, urlencode

from fastflow_gateway.app import ROUTES
from fastflow_gateway.http.route import Route
from tests.fuzz import hostile
from tests.fuzz.under_test import SEED, Attacked
from tests.support.profile import lasting

REQUESTS: Final = lasting(300, long=10_000)
AT_ONCE: Final = 12
ANSWER_S: Final = 60.0
EXPECTED_5XX: Final = (501, 503, 504, 505)
"""Not supported, and not now: an answer with a sentence, not a crash."""
QUERY: Final = (
    "limit",
    "cursor",
    "status",
    "q",
    "tags",
    "tail",
    "start_date",
    "end_date",
    "pipeline_name",
    "days",
    "count",
)
HEADERS: Final = (
    "Accept",
    "Accept-Encoding",
    "Content-Type",
    "Content-Encoding",
    "Cookie",
    "Expect",
    "Host",
    "Idempotency-Key",
    "If-None-Match",
    "Last-Event-ID",
    "Origin",
    "Prefer",
    "Range",
    "Sec-Fetch-Site",
    "Upgrade",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "ce-id",
    "ce-type",
    "traceparent",
    "webhook-signature",
)
MEDIA: Final = (
    "application/json",
    "application/json; charset=utf-16",
    "application/cloudevents+json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "multipart/form-data",
    "text/plain; charset=nosuch",
    "application/vnd.fastflow.trigger+json",
    "application/vnd.fastflow.start+json",
)
BODY: Final = {
    "env_vars": {"A": "1"},
    "parameters": {"p": 1},
    "run_config_id": "x",
    "downstream_pipeline": "other",
    "on_success": True,
    "enabled": True,
    "value": "secret",
    "pipeline": "good",
    "name": "A",
    "code": "current",
    "specversion": "1.0",
    "id": "1",
    "source": "/x",
    "type": "t",
    "data": {"a": [1]},
}


async def test_no_request_is_answered_with_500(tmp_path: Path) -> None:
    """Hostile paths, queries, headers and bodies for every route, with the token, a session, or nothing."""
    with Attacked(tmp_path) as attacked:
        host, _, port = attacked.base.rpartition(":")
        cookie, csrf = await _signed_in(attacked, host, int(port))
        room, wrong = asyncio.Semaphore(AT_ONCE), list[str]()

        async def one(number: int) -> None:
            random = Random(SEED + number)
            is_whole = random.random() < 0.9
            raw = _request(random, attacked, cookie, csrf) if is_whole else _no_request(random)
            async with room:
                try:
                    status = await _status(host, int(port), raw, is_whole=is_whole)
                except TimeoutError:
                    wrong.append(f"request {number} got no answer within {ANSWER_S:.0f} s: {raw[:500]!r}")
                    return
            if is_whole and status == 0:
                wrong.append(f"request {number} got no answer: {raw[:500]!r}")
            if status >= 500 and status not in EXPECTED_5XX:
                wrong.append(f"request {number} was answered with {status}: {raw[:500]!r}")

        async with asyncio.TaskGroup() as group:
            for number in range(REQUESTS):
                group.create_task(one(number))
        assert not wrong, f"{len(wrong)} of {REQUESTS}:\n" + "\n".join(wrong[:10])
        await asyncio.to_thread(attacked.check)


async def _signed_in(attacked: Attacked, host: str, port: int) -> tuple[str, str]:
    """Sign in as a browser; return its cookie and the secret of its forms."""
    form = urlencode({"token": attacked.token})
    head, _ = await _exchange(
        host, port, _raw("POST", "/login", attacked.base, {"Content-Type": MEDIA[3]}, form.encode())
    )
    cookie = re.search(r"(?i)set-cookie: ([^;\r]+)", head)
    assert cookie, head
    _, page = await _exchange(host, port, _raw("GET", "/", attacked.base, {"Cookie": cookie[1]}, b""))
    csrf = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert csrf, page[:2000]
    return cookie[1], csrf[1]


def _request(random: Random, attacked: Attacked, cookie: str, csrf: str) -> bytes:
    route: Route = random.choice([route for route in ROUTES if route.path != "/logout"])
    path = re.sub(r"\{[^{}]*(\{[^}]*\})?[^{}]*\}", lambda _: _segment(random), route.path)
    headers: dict[str, str] = {}
    match random.randrange(8):
        case 0:
            headers["Authorization"] = hostile.header_value(random)
        case 1:
            pass
        case 2 | 3 | 4:
            headers["Authorization"] = f"Bearer {attacked.token}"
        case _:
            headers["Cookie"] = cookie
    if random.random() < 0.5:
        path += "?" + urlencode([(random.choice(QUERY), hostile.word(random)) for _ in range(random.randrange(1, 4))])
    for _ in range(random.choice((0, 0, 1, 2, 5))):
        headers[random.choice(HEADERS)] = hostile.header_value(random)
    method = (
        route.method if random.random() < 0.9 else random.choice(("HEAD", "OPTIONS", "PATCH", "TRACE", "DELETE", "X"))
    )
    body = b""
    if method not in ("GET", "HEAD"):
        headers.setdefault("Content-Type", random.choice(MEDIA))
        body = hostile.body(random, BODY)
        if not route.path.startswith("/api") and random.random() < 0.8:
            headers["Content-Type"] = MEDIA[3]
            fields = [(random.choice([*BODY, "key", "next"]), hostile.word(random)) for _ in range(random.randrange(5))]
            body = urlencode([("csrf_token", csrf), *fields], errors="replace").encode()
    return _raw(method, path, attacked.base, headers, body)


def _segment(random: Random) -> str:
    if random.random() < 0.4:
        return random.choice(("good", "other", "0123456789abcdef"))
    found = quote(hostile.word(random), safe="" if random.random() < 0.8 else "/", errors="replace")
    return found if found not in ("", ".", "..") else "%2e"


def _raw(method: str, target: str, host: str, headers: dict[str, str], body: bytes) -> bytes:
    sent = {"Host": host, "Content-Length": str(len(body)), **headers, "Connection": "close"}
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def _no_request(random: Random) -> bytes:
    """Bytes that are no HTTP, or HTTP that contradicts itself."""
    lines: list[bytes] = [
        random.randbytes(200),
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET " + b"/" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 5000 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"POST /login HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"POST /login HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999\r\n\r\nx",
        b"POST /login HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
        b"CONNECT example.org:443 HTTP/1.1\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + random.randbytes(100),
        b"GET http://169.254.169.254/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET /api/runs HTTP/1.1\r\nHost: a\r\n folded: x\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /live HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Key: x\r\n\r\n",
    ]
    return random.choice(lines)


async def _status(host: str, port: int, raw: bytes, *, is_whole: bool) -> int:
    """Send it and return the answer's status; 0: the connection was closed without one.

    A client that sent less than it said ends its side, or it would wait for the server to lose patience.
    """
    async with asyncio.timeout(ANSWER_S):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(raw)
            await writer.drain()
            if not is_whole:
                writer.write_eof()
            while (line := await reader.readline()).startswith(b"HTTP/1.1 100"):
                await reader.readline()
        except ConnectionError:
            return 0
        finally:
            writer.close()
    found = re.match(rb"HTTP/1\.[01] (\d{3})", line)
    return int(found[1]) if found else 0


async def _exchange(host: str, port: int, raw: bytes) -> tuple[str, str]:
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(raw)
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    return head, body


def test_the_generators_draw_what_json_can_hold() -> None:
    """A draw is the same for the same seed, so that a failure can be played again."""

    def draws(seed: int) -> list[Any]:
        random = Random(seed)
        return [json.dumps(hostile.mutated(random, BODY), sort_keys=True) for _ in range(50)]

    assert draws(7) == draws(7)
    assert len(set(draws(7))) > 40
