"""Request bodies with a wrong encoding, late ones, and incomplete ones."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.ids import check_run_id
from fastflow_contracts.runs.store import RunStore
from tests.support.gateway import ANSWER_S, TOKEN, Client, running_gateway, running_scheduler
from tests.support.records import a_bundle, publish_pipeline

KEY = "a-webhook-key-of-some-length"
RUN = f"POST /api/pipelines/demo/run HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
EXPECT, CONTINUE = b"Expect: 100-continue\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"
PARTLY = RUN + b"Content-Length: 10\r\n\r\nabc"


@pytest_asyncio.fixture
async def client(bus: Bus) -> AsyncIterator[Client]:
    """A gateway with one pipeline ``demo`` that has a webhook, and a scheduler."""
    await publish_pipeline(bus, "demo", a_bundle(main_py="1"), webhook_key=KEY)
    async with running_scheduler(bus), running_gateway(bus) as client:
        yield client


async def sent(client: Client, *parts: bytes) -> str:
    """Send *parts*, each when the handler waits for it, and return the response.

    A part but the last must make the server say that it continues (``Expect``).
    """
    host, port = client.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for number, part in enumerate(parts):
            if number:
                assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), ANSWER_S) == CONTINUE
            writer.write(part)
            await writer.drain()
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), ANSWER_S)
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return (head + await reader.readexactly(length)).decode()
    finally:
        writer.close()


@pytest.mark.parametrize("path", [f"webhooks/demo/{KEY}", "pipelines/demo/run"])
@pytest.mark.parametrize(("coding", "body"), [("gzip", b"{}"), ("deflate", b"xxxx")])
async def test_a_body_with_the_wrong_encoding_is_refused(
    client: Client, caplog: pytest.LogCaptureFixture, path: str, coding: str, body: bytes
) -> None:
    """400 with a sentence, and no traceback in the log."""
    headers = {"Content-Encoding": coding, "Content-Type": "application/json"}
    async with client.http.post(
        f"{client.url}/api/{path}", data=body, headers=headers | {"Authorization": f"Bearer {TOKEN}"}, compress=False
    ) as response:
        assert response.status == 400
        assert "Content-Encoding" in (await response.json())["detail"]
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        ("application/x-www-form-urlencoded", b"token=\xff"),
        ("application/x-www-form-urlencoded; charset=nope", b"token=a"),
        ("multipart/form-data", b"token=a"),
        ("multipart/form-data; boundary=x", b"token=a"),
    ],
)
async def test_a_form_that_cannot_be_read_is_refused(client: Client, media_type: str, body: bytes) -> None:
    """400 with the reason."""
    answer = await client.post("/login", anonymous=True, data=body, headers={"Content-Type": media_type})
    assert answer.status == 400
    assert "form" in answer.json["detail"]


async def test_a_content_type_that_is_not_text_stops_no_webhook(bus: Bus, client: Client) -> None:
    """Its invalid bytes are replaced; the script still gets the event."""
    head = f"POST /api/webhooks/demo/{KEY} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n".encode()
    answer = await sent(client, head + b'Content-Type: text/plain; x="\xff"\r\n\r\nabc')
    assert answer.startswith("HTTP/1.1 200 ")
    (shown,) = (await client.get("/api/runs")).json["runs"]
    given = await RunStore(bus).input((await RunStore(bus).find(check_run_id(shown["id"]))).run)
    assert (given.event, given.event_type) == (b"abc", 'text/plain; x="?"')


@pytest.mark.parametrize(
    "parts",
    [(PARTLY,), (RUN + EXPECT + b"Transfer-Encoding: chunked\r\n\r\n", b"no chunk at all\r\n")],
    ids=["too little", "a broken chunk"],
)
async def test_a_body_that_never_comes_times_out(bus: Bus, parts: tuple[bytes, ...]) -> None:
    """408, and the connection is closed."""
    await publish_pipeline(bus, "demo", a_bundle(main_py="1"))
    async with running_gateway(bus, body_s=0.2) as client:
        answer = await sent(client, *parts)
    assert answer.startswith("HTTP/1.1 408 ")
    assert "Connection: close" in answer
    assert '{"detail":"the body did not arrive within 0.2 s' in answer


async def test_a_client_that_leaves_is_not_an_error(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in the log nor in the metrics."""
    host, port = client.url.removeprefix("http://").split(":")
    caplog.set_level(logging.DEBUG)
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(PARTLY)
    await writer.drain()
    writer.close()
    async with asyncio.timeout(ANSWER_S):
        while not any(getattr(record, "path", None) == "/api/pipelines/demo/run" for record in caplog.records):
            await asyncio.sleep(0.01)
    assert "Traceback" not in caplog.text
    assert {
        record.levelno for record in caplog.records if record.name.startswith("fastflow_gateway.http.middleware")
    } == {logging.DEBUG}
    assert 'requests_total{status="500"}' not in (await client.get("/metrics")).text
