"""Compressed streams of events: for whom, and that nothing waits."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

import fastflow_api
from fastflow_contracts.bus.client import Bus
from tests.support.gateway import ANSWER_S, TOKEN, Client, claim, finish, running_gateway, say, store
from tests.support.ids import fresh_run_id
from tests.support.records import a_run

GZIP = "Accept-Encoding: gzip"
FROM_AFAR = "X-Forwarded-For: 203.0.113.9"


class Follower:
    """A raw follower: unpacks what arrives, if it is packed."""

    def __init__(self, reader: asyncio.StreamReader, head: str) -> None:
        self._reader = reader
        self.head = head.lower()
        self._packed = zlib.decompressobj(31) if "content-encoding: gzip" in self.head else None
        self.received = 0
        self.text = ""

    async def until(self, wanted: str) -> None:
        """Read until *wanted* has arrived."""
        async with asyncio.timeout(ANSWER_S):
            while wanted not in self.text:
                await self._chunk()

    async def end(self) -> None:
        """Read to the end, which must be a proper one."""
        async with asyncio.timeout(ANSWER_S):
            while await self._chunk():
                pass
        assert self._packed is None or self._packed.eof

    async def _chunk(self) -> int:
        size = int(await self._reader.readline(), 16)
        data = await self._reader.readexactly(size)
        await self._reader.readline()
        self.received += size
        self.text += (self._packed.decompress(data) if self._packed else data).decode()
        return size


@asynccontextmanager
async def following(client: Client, path: str, *headers: str) -> AsyncIterator[Follower]:
    """Open a stream."""
    host, port = client.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    lines = (f"GET {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {TOKEN}", *headers)
    writer.write("\r\n".join((*lines, "", "")).encode())
    try:
        async with asyncio.timeout(ANSWER_S):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert " 200 " in head
        yield Follower(reader, head)
    finally:
        writer.close()


async def test_each_line_of_a_packed_stream_arrives_before_the_next_is_written(bus: Bus) -> None:
    """And the stream ends as gzip must."""
    async with running_gateway(bus) as client:
        run = await claim(bus, await store(bus, a_run()))
        async with following(client, f"/api/runs/{run.id}/logs/stream", GZIP, FROM_AFAR) as follower:
            assert "content-encoding: gzip" in follower.head
            assert "vary: accept-encoding" in follower.head
            await follower.until("retry: ")
            last = 0
            for number in range(20):
                last = await say(bus, run, f"line {number} of some\n")
                await follower.until(f"line {number} of some")
            await finish(bus, run, log_sequence=last)
            await follower.end()
            assert follower.text.count("event: log") == 20
            assert follower.received < len(follower.text) / 2


async def test_a_long_log_is_a_fraction_of_its_size_on_the_wire(bus: Bus) -> None:
    """Packed and plain followers of the same run get the same text."""
    async with running_gateway(bus) as client:
        run, last = await claim(bus, await store(bus, a_run())), 0
        for number in range(8):
            last = await say(bus, run, "".join(f"2026-01-01 INFO record {number} {n}\n" for n in range(2_000)))
        await finish(bus, run, log_sequence=last)
        path = f"/api/runs/{run.id}/logs/stream"
        async with following(client, path, GZIP, FROM_AFAR) as packed, following(client, path) as plain:
            await packed.end()
            await plain.end()
        assert packed.text == plain.text
        assert plain.text.count("event: log") == 16_000
        assert packed.received < plain.received / 8


async def test_a_whole_log_is_packed_while_it_is_read(bus: Bus) -> None:
    """As text and as lines; an error before its beginning still has its status."""
    async with running_gateway(bus) as client:
        run = await claim(bus, await store(bus, a_run()))
        for number in range(4):
            await say(bus, run, "".join(f"record {number} {n}\n" for n in range(1_000)))
        for path in (f"/api/runs/{run.id}/logs", f"/api/runs/{run.id}/logs/lines"):
            async with following(client, path, GZIP, FROM_AFAR) as packed, following(client, path) as plain:
                await packed.end()
                await plain.end()
            assert ("content-encoding" in packed.head, "content-encoding" in plain.head) == (True, False)
            assert packed.text == plain.text
            assert plain.text.count("record 3 ") == 1_000
            assert packed.received < plain.received / 3
        headers = {"Accept-Encoding": "gzip", "X-Forwarded-For": "203.0.113.9"}
        assert (await client.get(f"/api/runs/{fresh_run_id()}/logs", headers=headers)).status == 404
        silent = await store(bus, a_run())
        async with following(client, f"/api/runs/{silent.id}/logs", GZIP, FROM_AFAR) as nothing:
            await nothing.end()
            assert nothing.text == ""


async def test_the_client_follows_a_packed_stream(bus: Bus) -> None:
    """Line by line, to its end."""
    async with running_gateway(bus) as client:
        run = await claim(bus, await store(bus, a_run()))
        headers = {"Accept-Encoding": "gzip", "X-Forwarded-For": "203.0.113.9"}
        async with (
            fastflow_api.Client(client.url, TOKEN, headers=headers) as api,
            asyncio.timeout(ANSWER_S),
            aclosing(api.follow_log(run.id)) as lines,
        ):
            for number in range(3):
                last = await say(bus, run, f"line {number}\n")
                assert (await anext(lines)).line == f"line {number}"
            await finish(bus, run, log_sequence=last)
            assert [line async for line in lines] == []


@pytest.mark.parametrize(
    "headers",
    [
        (GZIP,),
        (FROM_AFAR,),
        (FROM_AFAR, "Accept-Encoding: gzip;q=0"),
        (FROM_AFAR, GZIP, "Sec-Fetch-Site: cross-site"),
    ],
    ids=["on this machine", "does not ask", "refuses", "from another site"],
)
async def test_other_streams_stay_plain(bus: Bus, headers: tuple[str, ...]) -> None:
    """On one machine packing costs more than it saves."""
    async with running_gateway(bus) as client:
        run = await claim(bus, await store(bus, a_run()))
        async with following(client, f"/api/runs/{run.id}/logs/stream", *headers) as follower:
            assert "content-encoding" not in follower.head
            await say(bus, run, "hello\n")
            await follower.until("hello")


async def test_the_stream_of_changes_is_never_packed(bus: Bus) -> None:
    """Its events are the same few bytes."""
    async with running_gateway(bus) as client, following(client, "/live", GZIP, FROM_AFAR) as follower:
        assert "content-encoding" not in follower.head
        await follower.until("event: changed")
