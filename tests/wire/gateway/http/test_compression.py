"""Compressed answers, byte by byte: which are, for whom, and what their headers say."""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import NamedTuple

import pytest
import pytest_asyncio
from msgspec.structs import replace

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.clock import now
from fastflow_contracts.runs.run import RUN, Ended, Verdict
from tests.support.gateway import ANSWER_S, TOKEN, Client, running_gateway
from tests.support.ids import fresh_run_id
from tests.support.records import a_bundle, a_run, an_attempt, publish_pipeline

PIPELINES = 67
PAGE_BYTES_MAX = 35_000
"""The pipelines page on the wire."""
SIGNED_IN = f"Authorization: Bearer {TOKEN}"
GZIP = "Accept-Encoding: gzip"


class Raw(NamedTuple):
    """An answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes


@pytest_asyncio.fixture
async def client(bus: Bus) -> AsyncIterator[Client]:
    """A gateway with 67 pipelines, each with 20 runs, tags and a description."""
    code = a_bundle(main_py="print(1)\n")
    for number in range(PIPELINES):
        name = f"team_{number % 7}_report_{number:02}"
        text = f"Collects the numbers of region {number} and sends the report number {number * 37} to its owner."
        await publish_pipeline(bus, name, code, description=text, tags=(f"team-{number % 7}", "nightly"))
        for age in range(20):
            at = now() - timedelta(hours=age, seconds=number * 61 % 3600)
            verdict = Verdict.FAILED if (age * number) % 11 == 3 else Verdict.SUCCESS
            run = replace(
                a_run(name),
                created_at=at,
                state=Ended(verdict=verdict, at=at + timedelta(seconds=1 + age * number % 50)),
                attempts=(an_attempt(1),),
            )
            await bus.put(subjects.RUNS, subjects.run_key(run.ref), RUN.encode(run))
    async with running_gateway(bus) as made:
        yield made


async def ask(client: Client, path: str, *headers: str, method: str = "GET", version: str = "1.1") -> Raw:
    """Send one request, and read until the server closes the connection."""
    host, port = client.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    lines = (f"{method} {path} HTTP/{version}", "Host: x", SIGNED_IN, "Connection: close", *headers)
    writer.write("\r\n".join((*lines, "", "")).encode("utf-8", "surrogateescape"))
    async with asyncio.timeout(ANSWER_S):
        whole = await reader.read(-1)
    writer.close()
    head, _, body = whole.partition(b"\r\n\r\n")
    first, *fields = head.decode().split("\r\n")
    found = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
    assert len(found) == len(fields), "no header comes twice"
    return Raw(int(first.split()[1]), found, body)


async def test_the_page_with_67_pipelines_is_small_on_the_wire(client: Client) -> None:
    """And the same page as without compression."""
    packed = await ask(client, "/", GZIP, "Accept: text/html")
    plain = await ask(client, "/", "Accept: text/html")
    assert (packed.status, packed.headers["content-encoding"], plain.status) == (200, "gzip", 200)
    assert "content-encoding" not in plain.headers
    assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    assert packed.headers["content-length"] == str(len(packed.body))
    assert gzip.decompress(packed.body).count(b'<li class="pipeline') == PIPELINES
    assert len(packed.body) <= PAGE_BYTES_MAX < len(plain.body)


async def test_a_bar_of_the_strip_leads_to_its_run(client: Client) -> None:
    """Its link has the beginning of the id; one that is too short, or of no run, leads nowhere."""
    page = (await ask(client, "/", "Accept: text/html")).body.decode()
    links = set(re.findall(r'href="(/runs/[^"]{11})" tabindex', page))
    assert len(links) == PIPELINES * 20
    link = links.pop()
    answer = await ask(client, link, "Accept: text/html")
    assert (answer.status, answer.headers["location"][:17]) == (303, link)
    assert (await ask(client, answer.headers["location"], "Accept: text/html")).status == 200
    for nobody in (link[: len("/runs/") + 7], "/runs/zzzzzzzzzzz", f"/runs/{fresh_run_id()[:11]}"):
        assert (await ask(client, nobody, "Accept: text/html")).status == 404


@pytest.mark.parametrize(
    "path", ["/api/pipelines", "/api/runs?limit=500", "/runs", "/api/openapi.json", "/metrics", "/static/style.css"]
)
async def test_every_kind_of_text_is_compressed_and_head_says_the_same(client: Client, path: str) -> None:
    """HEAD has the headers of GET, with the length of the compressed body."""
    packed = await ask(client, path, GZIP)
    head = await ask(client, path, GZIP, method="HEAD")
    assert (packed.status, packed.headers["content-encoding"]) == (200, "gzip")
    assert gzip.decompress(packed.body)
    assert (head.status, head.body) == (200, b"")
    if path.startswith("/static"):
        assert {**head.headers, "date": ""} == {**packed.headers, "date": ""}
    else:
        assert head.headers.keys() == packed.headers.keys()


@pytest.mark.parametrize("path", ["/", "/static/style.css"])
@pytest.mark.parametrize(
    "header",
    [
        "X-Nothing: 1",
        "Accept-Encoding:",
        "Accept-Encoding: gzip;q=0",
        "Accept-Encoding: identity, gzip;q=0.1",
        "Accept-Encoding: *;q=0",
        "Accept-Encoding: br, zstd",
        "Accept-Encoding: gzip;q=nothing",
        "Accept-Encoding: gzip\udcff",
        "Accept-Encoding: " + "gzip;q=0," * 800,
    ],
)
async def test_who_does_not_ask_for_gzip_gets_the_plain_body(client: Client, path: str, header: str) -> None:
    """A broken header is no error, and no reason to compress."""
    answer = await ask(client, path, header, "Accept: text/html")
    assert answer.status == 200
    assert "content-encoding" not in answer.headers
    assert answer.headers["vary"] == "Accept-Encoding"
    assert b"Fast-Flow" in answer.body or b"color" in answer.body


async def test_small_bodies_stay_plain_unless_the_client_refuses_that(client: Client) -> None:
    """An error is small; a client without ``identity`` gets it packed."""
    plain = await ask(client, "/api/nothing", GZIP)
    assert (plain.status, "content-encoding" in plain.headers, plain.headers["vary"]) == (404, False, "Accept-Encoding")
    packed = await ask(client, "/api/nothing", "Accept-Encoding: gzip, identity;q=0")
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body


async def test_http_1_0_gets_plain_bodies(client: Client) -> None:
    """Its caches do not know ``Vary``."""
    for path in ("/", "/static/style.css"):
        answer = await ask(client, path, GZIP, "Accept: text/html", version="1.0")
        assert (answer.status, "content-encoding" in answer.headers) == (200, False)
        assert answer.headers["content-length"] == str(len(answer.body))


@pytest.mark.parametrize(
    ("site", "is_packed"), [("same-origin", True), ("none", True), ("cross-site", False), ("same-site", False)]
)
async def test_what_another_site_makes_a_browser_ask_for_stays_plain(
    client: Client, site: str, *, is_packed: bool
) -> None:
    """From the lengths of compressed pages that site could guess what is in them. Static files hold no secret."""
    asked = (GZIP, f"Sec-Fetch-Site: {site}", "Accept: text/html")
    page, style = await ask(client, "/?q=report", *asked), await ask(client, "/static/style.css", *asked)
    assert ("content-encoding" in page.headers, "content-encoding" in style.headers) == (is_packed, True)


async def test_each_coding_of_a_file_has_its_own_etag(client: Client) -> None:
    """A 304 answers the tag of the coding that would be sent, in a list, and as a proxy weakens it."""
    packed, plain = await ask(client, "/static/style.css", GZIP), await ask(client, "/static/style.css")
    packed_tag, plain_tag = packed.headers["etag"], plain.headers["etag"]
    assert packed_tag != plain_tag
    assert gzip.decompress(packed.body) == plain.body
    for tags in (packed_tag, f"W/{packed_tag}", f'"other", {packed_tag}', "*"):
        answer = await ask(client, "/static/style.css", GZIP, f"If-None-Match: {tags}")
        assert (answer.status, answer.body) == (304, b"")
        assert (answer.headers["etag"], answer.headers["vary"]) == (packed_tag, "Accept-Encoding")
        assert "content-encoding" not in answer.headers
    for tag in (plain_tag, "nonsense", '"unclosed'):
        answer = await ask(client, "/static/style.css", GZIP, f"If-None-Match: {tag}")
        assert (answer.status, answer.body) == (200, packed.body)


async def test_files_that_do_not_get_smaller_are_sent_as_they_are(client: Client) -> None:
    """A picture of some lines is too small to gain much; whatever is sent fits its headers."""
    for name in ("favicon.svg", "chevron.svg"):
        packed, plain = await ask(client, f"/static/{name}", GZIP), await ask(client, f"/static/{name}")
        assert len(packed.body) <= len(plain.body)
        is_packed = packed.headers.get("content-encoding") == "gzip"
        assert (gzip.decompress(packed.body) if is_packed else packed.body) == plain.body


async def test_an_answer_without_a_body_has_no_coding(client: Client) -> None:
    """A redirect stays as it is."""
    answer = await ask(client, "/pipelines/none/start", GZIP, "Accept: text/html", method="POST")
    assert answer.status in (303, 403, 404, 422)
    redirect = await ask(client, "/login?code=x", "Accept-Encoding: gzip, identity;q=0", method="HEAD")
    assert (redirect.status, redirect.body) == (200, b"")
