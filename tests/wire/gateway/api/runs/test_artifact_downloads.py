"""Downloads of artifacts by clients that only ask, hang up, do not read, or want a part; content that breaks off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote, urlsplit

import pytest

from fastflow_api import Client, errors
from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.objects import CHUNK_BYTES
from fastflow_contracts.bus.streams import object_stream
from fastflow_contracts.runs.artifacts.manifest import ArtifactManifest, StoredArtifact
from fastflow_contracts.runs.artifacts.store import ArtifactStore
from fastflow_contracts.runs.run import RunRecord
from tests.support.gateway import TOKEN, claim, finish, running_gateway, store
from tests.support.records import a_run
from tests.wire.gateway.api.runs.test_artifacts import a_run_with, parts

LARGE_BYTES = 40 * 1024**2
WAIT_S = 60.0


@asynccontextmanager
async def asking(url: str, path: str) -> AsyncIterator[asyncio.StreamReader]:
    """Ask for a file on a connection of its own, which reads little ahead."""
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port, limit=2**14)
    head = f"GET {path} HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    writer.write(head.encode())
    try:
        yield reader
    finally:
        writer.transport.abort()


def requests_under_way() -> int:
    """The gateway runs in this process, with a task for each connection."""
    return sum("RequestHandler.start" in repr(task.get_coro()) for task in asyncio.all_tasks())


async def test_a_head_request_says_what_a_download_would_be(bus: Bus) -> None:
    run = await a_run_with(bus, {"a.csv": b"a,b\n"})
    async with running_gateway(bus) as http:
        asked = await http.ask("HEAD", f"/api/runs/{run.id}/artifacts/a.csv")
        got = await http.get(f"/api/runs/{run.id}/artifacts/a.csv")
        missing = await http.ask("HEAD", f"/api/runs/{run.id}/artifacts/none")
    same = ("Content-Length", "Content-Type", "Content-Disposition", "Content-Security-Policy", "ETag")
    assert (asked.status, asked.text, missing.status) == (200, "", 404)
    assert {name: asked.headers[name] for name in same} == {name: got.headers[name] for name in same}


async def test_who_asks_for_a_part_gets_the_whole(bus: Bus) -> None:
    """Parts are not offered, and none is taken for the whole."""
    run = await a_run_with(bus, {"a.txt": b"0123456789"})
    async with running_gateway(bus) as http:
        answer = await http.get(f"/api/runs/{run.id}/artifacts/a.txt", headers={"Range": "bytes=2-4"})
    assert (answer.status, answer.text, "Content-Range" in answer.headers) == (200, "0123456789", False)


async def test_a_client_that_hangs_up_ends_its_download(bus: Bus) -> None:
    """Nothing goes on for it, and others get theirs."""
    run = await a_run_with(bus, {"large.bin": bytes(LARGE_BYTES), "a": b"1"})
    async with running_gateway(bus) as http:
        assert (await http.get("/healthz")).status == 200
        before = requests_under_way()
        for _ in range(5):
            async with asking(http.url, f"/api/runs/{run.id}/artifacts/large.bin") as reader:
                assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(1000)
        async with asyncio.timeout(WAIT_S):
            while requests_under_way() > before:
                await asyncio.sleep(0.01)
        assert (await http.get(f"/api/runs/{run.id}/artifacts/a")).text == "1"


async def test_a_client_that_does_not_read_loses_its_connection(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot hold a connection for ever, and what it got is less than the length says."""
    monkeypatch.setattr("fastflow_gateway.http.sse.SEND_S", 0.5)
    run = await a_run_with(bus, {"large.bin": bytes(LARGE_BYTES)})
    async with running_gateway(bus) as http:
        assert (await http.get("/healthz")).status == 200
        before = requests_under_way()
        async with asking(http.url, f"/api/runs/{run.id}/artifacts/large.bin") as reader:
            head = await reader.readuntil(b"\r\n\r\n")
            assert f"Content-Length: {LARGE_BYTES}".encode() in head
            async with asyncio.timeout(WAIT_S):
                while requests_under_way() > before:
                    await asyncio.sleep(0.01)
            got = 0
            try:
                while piece := await reader.read(2**20):
                    got += len(piece)
            except ConnectionResetError:
                pass
    assert got < LARGE_BYTES


async def test_content_that_breaks_off_is_not_taken_for_the_whole(bus: Bus) -> None:
    """Also if all before was sent: the connection ends early, and the client says so."""
    run = await a_run_with(bus, {"a.bin": bytes(index % 251 for index in range(40 * CHUNK_BYTES))})
    stream = object_stream(subjects.ARTIFACTS)
    info = await bus.stream(stream)
    await bus.js.delete_msg(stream, info.state.last_seq - 1)  # the last chunk: its note comes after it
    async with running_gateway(bus) as http, Client(http.url, TOKEN) as client:
        with pytest.raises(errors.Unreachable):
            [piece async for piece in client.artifact(run.id, "a.bin")]


@pytest.mark.parametrize("name", ["a\r\nSet-Cookie: a=b", "\n", "\x00", "../../etc/passwd", "a/../b", "x" * 3000])
async def test_a_name_that_no_runner_stores_adds_no_header_and_reaches_no_file(bus: Bus, name: str) -> None:
    """As a stolen credential may write it."""
    run = await _forged(bus, name)
    async with running_gateway(bus) as http, Client(http.url, TOKEN) as client:
        assert (await http.get(f"/runs/{run.id}")).status == 200
        assert [each.path for each in (await client.artifacts(run.id)).artifacts] == [name]
        answer = await http.get(f"/api/runs/{run.id}/artifacts/{quote(name, safe='')}")
    assert answer.status in (200, 400, 404)
    assert "Set-Cookie" not in answer.headers
    assert "root:" not in answer.text


async def _forged(bus: Bus, name: str) -> RunRecord:
    written = await ArtifactStore(bus).gather().put("a", parts(b"1"))
    bad = StoredArtifact(path=name, size_bytes=1, sha256=written.sha256)
    return await finish(bus, await claim(bus, await store(bus, a_run())), artifacts=ArtifactManifest(artifacts=(bad,)))
