"""Compressed answers: when the client asks for them, and servers that send bad ones."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from fastflow_api import Client, Unreachable, transport
from tests.process.api.test_transport import OK, a_server, an_answer, answering, head_of

PACKED = b"Content-Encoding: gzip"


async def test_packed_answers_are_asked_for_over_a_network_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """On one machine they would cost time and save none. Who sets the header decides."""
    heads: list[str] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await head_of(reader)).lower())
        writer.write(an_answer(gzip.compress(OK), PACKED) if "accept-encoding: gzip" in heads[-1] else an_answer())

    async with a_server(proxy) as port:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        for url, headers, is_asked in (
            ("http://fastflow.example", {}, True),
            ("http://fastflow.example", {"accept-encoding": "identity"}, False),
            (f"http://127.0.0.1:{port}", {}, False),
        ):
            async with Client(url, "t", headers=headers) as client:
                assert (await client.health()).status == "ok"
            assert ("accept-encoding: gzip" in heads[-1]) is is_asked


async def test_a_connection_is_kept_after_a_packed_answer() -> None:
    """And errors are unpacked too, however the server spells the coding."""
    refused = gzip.compress(b'{"detail": "no such run."}')
    packed = an_answer(gzip.compress(OK), PACKED)
    empty = an_answer(b"", PACKED, status=b"404 Not Found")
    async with answering(
        packed, an_answer(refused, b"content-encoding:  X-GZIP", status=b"404 Not Found"), empty, packed
    ) as (client, asked):
        assert (await client.health()).status == "ok"
        for sentence in (r"no such run\.", "404"):
            with pytest.raises(Exception, match=sentence):
                await client.run("r")
        assert (await client.health()).status == "ok"
        assert len(asked) == 4


@pytest.mark.parametrize(
    ("body", "coding", "sentence"),
    [
        (b"not packed at all", PACKED, "not valid gzip"),
        (gzip.compress(OK)[:-9], PACKED, "broke off"),
        (gzip.compress(OK)[:-8] + bytes(8), PACKED, "not valid gzip"),
        (gzip.compress(OK) + b"and more", PACKED, "not valid gzip"),
        (OK, b"Content-Encoding: br", "'br', which nobody asked for"),
        (gzip.compress(gzip.compress(OK)), b"Content-Encoding: gzip, gzip", "nobody asked for"),
    ],
    ids=["plain", "cut", "wrong checksum", "too long", "br", "twice"],
)
async def test_a_badly_packed_answer_is_a_sentence(body: bytes, coding: bytes, sentence: str) -> None:
    """It says what is wrong."""
    async with answering(an_answer(body, coding)) as (client, _):
        with pytest.raises(Unreachable, match=sentence):
            await client.health()


async def test_a_small_answer_that_unpacks_to_a_huge_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It never is in memory as a whole."""
    monkeypatch.setattr(transport, "UNPACKED_BYTES_MAX", 8 * 1024**2)
    bomb = gzip.compress(bytes(256 * 1024**2))
    async with answering(an_answer(bomb, PACKED)) as (client, _):
        with pytest.raises(Unreachable, match="unpacks to more than 8 MiB"):
            await client.health()


async def test_a_packed_stream_comes_in_bounded_pieces() -> None:
    """However much one received byte unpacks to."""
    lines = b'{"ts":"2026-01-01T00:00:00Z","stream":"stdout","attempt":1,"line":"x"}\n' * 40_000
    async with answering(an_answer(gzip.compress(lines), PACKED)) as (client, _):
        pieces = [piece async for piece in client._connection.pieces("/any")]
        assert b"".join(pieces) == lines
        assert max(map(len, pieces)) <= transport.READ_BYTES
