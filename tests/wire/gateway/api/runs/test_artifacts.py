"""A run's artifacts over HTTP, with the client and on its page, on a real bus."""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from fastflow.local.unreadable import remove, unreadable_records
from fastflow_api import Client, errors
from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import Unavailable
from fastflow_contracts.runs.artifacts.manifest import ArtifactManifest, BadArtifact, StoredArtifact, check_path
from fastflow_contracts.runs.artifacts.store import ArtifactStore
from fastflow_contracts.runs.run import RunRecord
from fastflow_contracts.runs.store import RunStore
from fastflow_scheduler.maintenance.artifact_collector import ArtifactCollector
from tests.support.gateway import TOKEN, claim, finish, running_gateway, store
from tests.support.records import a_run

LARGE = bytes(index % 253 for index in range(700_000))


async def parts(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def a_run_with(bus: Bus, files: dict[str, bytes]) -> RunRecord:
    gathering = ArtifactStore(bus).gather()
    for path, data in files.items():
        await gathering.put(path, parts(data))
    manifest = gathering.manifest(["link stays behind: it is a link."])
    return await finish(bus, await claim(bus, await store(bus, a_run())), artifacts=manifest)


async def test_a_file_comes_out_as_it_went_in(bus: Bus) -> None:
    run = await a_run_with(bus, {"out/ä b.bin": LARGE, "empty.csv": b""})
    async with running_gateway(bus) as http, Client(http.url, TOKEN) as client:
        shown = await client.run(run.id)
        listed = await client.artifacts(run.id)
        whole = b"".join([piece async for piece in client.artifact(run.id, "out/ä b.bin")])
        empty = b"".join([piece async for piece in client.artifact(run.id, "empty.csv")])
        with pytest.raises(errors.NotFound, match="left no such file"):
            [piece async for piece in client.artifact(run.id, "out/none")]
    assert (shown.artifacts_count, shown.artifacts_bytes) == (2, len(LARGE))
    assert [(each.path, each.size_bytes) for each in listed.artifacts] == [
        ("empty.csv", 0),
        ("out/ä b.bin", len(LARGE)),
    ]
    assert listed.artifacts[1].sha256 == hashlib.sha256(LARGE).hexdigest()
    assert listed.problems == ("link stays behind: it is a link.",)
    assert (whole, empty) == (LARGE, b"")


async def test_a_browser_gets_a_download_without_rights(bus: Bus) -> None:
    run = await a_run_with(bus, {"x.html": b"<script>alert(1)</script>"})
    path = f"/api/runs/{run.id}/artifacts/x.html"
    async with running_gateway(bus) as http:
        answer = await http.get(path)
        again = await http.get(path, headers={"If-None-Match": answer.headers["ETag"]})
        denied = await http.get(path, anonymous=True)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Disposition"].startswith("attachment;")
    assert answer.headers["Content-Security-Policy"].startswith("sandbox;")
    assert (again.status, denied.status) == (304, 401)


async def test_a_run_without_artifacts_says_so(bus: Bus) -> None:
    nothing = await finish(bus, await claim(bus, await store(bus, a_run())))
    running = await claim(bus, await store(bus, a_run()))
    async with running_gateway(bus) as http:
        assert (await http.get(f"/api/runs/{nothing.id}/artifacts")).json == {"artifacts": [], "problems": []}
        assert "is not over" in (await http.get(f"/api/runs/{running.id}/artifacts")).json["detail"]


@pytest.mark.parametrize("stored", [b"not json", b"\xff", b'{"artifacts": [{"path": 1}]}', b""])
async def test_a_manifest_that_no_runner_wrote_spoils_no_answer(bus: Bus, stored: bytes) -> None:
    run = await a_run_with(bus, {"a": b"1"})
    await bus.put(subjects.RUNS, subjects.artifacts_key(run.ref), stored)
    async with running_gateway(bus) as http:
        answer = await http.get(f"/api/runs/{run.id}/artifacts")
        assert (await http.get(f"/runs/{run.id}")).status == 200
    assert (answer.status, "cannot be read" in answer.json["detail"]) == (404, True)


async def test_a_media_type_cannot_add_headers(bus: Bus) -> None:
    written = await ArtifactStore(bus).gather().put("a", parts(b"1"))
    bad = StoredArtifact(path="a", size_bytes=1, sha256=written.sha256, media_type="text/html\r\nSet-Cookie: a=b")
    run = await finish(bus, await claim(bus, await store(bus, a_run())), artifacts=ArtifactManifest(artifacts=(bad,)))
    async with running_gateway(bus) as http:
        answer = await http.get(f"/api/runs/{run.id}/artifacts/a")
    assert (answer.headers["Content-Type"], "Set-Cookie" in answer.headers) == ("application/octet-stream", False)


async def test_content_goes_with_its_run_and_with_age(bus: Bus) -> None:
    """Two runs share a file: it stays for the other one."""
    first, second = [await a_run_with(bus, {"same": b"same", "own": str(number).encode()}) for number in (1, 2)]
    tomorrow = ArtifactCollector(bus, keep=timedelta(days=30), clock=lambda: datetime.now(UTC) + timedelta(days=2))
    assert await tomorrow.collect() == 1  # what is left of the second upload of the same bytes
    assert await tomorrow.collect() == 0
    runs = RunStore(bus)
    await runs.remove(await runs.load(first.ref))
    assert await bus.get(subjects.RUNS, subjects.artifacts_key(first.ref)) is None
    assert await tomorrow.collect() == 1
    manifest = await ArtifactStore(bus).manifest(second)
    assert manifest is not None
    for each in manifest.artifacts:
        assert b"".join([piece async for piece in ArtifactStore(bus).open(each)]) in (b"same", b"2")
    old = ArtifactCollector(bus, keep=timedelta(days=1), clock=lambda: datetime.now(UTC) + timedelta(days=2))
    assert await old.collect() == 2


async def test_nothing_is_removed_while_a_manifest_cannot_be_read(bus: Bus) -> None:
    run = await a_run_with(bus, {"a": b"1"})
    await bus.put(subjects.RUNS, subjects.artifacts_key(run.ref), b"\xff")
    later = ArtifactCollector(bus, keep=timedelta(days=30), clock=lambda: datetime.now(UTC) + timedelta(days=2))
    with pytest.raises(Unavailable, match="nothing is removed until `fastflow bus unreadable`"):
        await later.collect()
    (record,) = await unreadable_records(bus)
    assert await remove(bus, [record]) == 1
    assert await later.collect() == 1


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "../x", "a/../b", "a//b", "./a", "a\nb", "a\x00", "\ud800", "x" * 2000]
)
def test_hostile_names_are_refused(path: str) -> None:
    with pytest.raises(BadArtifact):
        check_path(path)


GIF = b"GIF89a" + b"\0" * 20


async def test_a_page_shows_each_kind_and_never_runs_it(bus: Bus) -> None:
    evil = b"<script>alert(1)</script>"
    files = {
        "a.json": b'{"n": 1.50, "x": "<script>"}',
        "b.csv": b"name,x\n" + evil + b",=1+1\n",
        "c.html": evil,
        "d.svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        "e.gif": GIF,
        "f.png": evil,
        "g.bin": evil,
        "h.txt": b"\0binary",
        'i"><script>.txt': evil,
    }
    run = await a_run_with(bus, files)
    async with running_gateway(bus) as http:
        listed = (await http.get(f"/runs/{run.id}")).text
        pages = {path: await http.get(f"/runs/{run.id}/artifacts/{quote(path)}") for path in files}
        content = {path: await http.get(f"/runs/{run.id}/artifact-content/{quote(path)}") for path in files}
    assert "b.csv" in listed
    assert all("<script>alert" not in page.text and "><script>.txt" not in page.text for page in (*pages.values(),))
    assert "<script>.txt" not in listed
    assert "1.50" in pages["a.json"].text
    assert "<td>=1+1</td>" in pages["b.csv"].text
    assert 'sandbox src="' in pages["c.html"].text
    assert 'sandbox src="' in pages["d.svg"].text
    statuses = {path: answer.status for path, answer in content.items()}
    assert statuses == {path: 200 if path in ("c.html", "d.svg", "e.gif") else 404 for path in files}
    for path in ("c.html", "d.svg", "e.gif"):
        assert content[path].headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
        assert content[path].headers["X-Content-Type-Options"] == "nosniff"
    assert all("is not shown here" in pages[path].text for path in ("g.bin", "h.txt"))


async def test_of_a_large_table_only_the_beginning_is_read(bus: Bus) -> None:
    run = await a_run_with(bus, {"large.csv": b"a,b\n" + b"1,2\n" * 500_000})
    async with running_gateway(bus) as http:
        page = await http.get(f"/runs/{run.id}/artifacts/large.csv")
    assert (page.text.count("<tr>"), "Only the beginning is shown" in page.text) == (200, True)


NAMES = [
    "win64 Build.zip",
    "probe-土-x.csv",
    "Generated schema (C#).txt",
    "a&b=c?d#e.txt",
    "100%20.txt",
    "50%.txt",
    "<0x7fd1fb77a610>_TEST.txt",
    'say "hi"; filename=x.exe.txt',
    "Screenshot 9.41\u202fAM.txt",
    "a\u00a0b.txt",
    "back\\slash.txt",
    "a:b*c|d.txt",
    ".hidden/...txt",
    "e\u0301.txt",
    "\u00e9.txt",
    "x\u202etxt.exe.txt",
    "artifacts/artifacts",
]


async def test_a_file_with_any_name_is_reached_by_the_links_of_its_page(bus: Bus) -> None:
    run = await a_run_with(bus, {name: name.encode() for name in NAMES})
    async with running_gateway(bus) as http, Client(http.url, TOKEN) as client:
        listed = (await http.get(f"/runs/{run.id}")).text
        links = [html.unescape(link) for link in re.findall(rf'href="(/api/runs/{run.id}/artifacts/[^"]*)"', listed)]
        linked = {(await http.get(link)).text for link in links}
        pages = {(await http.get(link.removeprefix("/api"))).status for link in links}
        for name in NAMES:
            assert b"".join([piece async for piece in client.artifact(run.id, name)]) == name.encode()
            answer = await http.get(f"/api/runs/{run.id}/artifacts/{quote(name)}")
            assert answer.headers.getall("Content-Disposition")[0].endswith(quote(name.rsplit("/", 1)[-1], safe=""))
    assert linked == set(NAMES)
    assert pages == {200}


async def test_a_file_that_is_too_old_is_missed_with_a_reason(bus: Bus) -> None:
    """Its name stays with the run; neither the page nor a download takes nothing for its content."""
    run = await a_run_with(bus, {"a.csv": b"a,b\n", "b.html": b"<p>b", "c.bin": b"c"})
    later = ArtifactCollector(bus, keep=timedelta(days=1), clock=lambda: datetime.now(UTC) + timedelta(days=2))
    assert await later.collect() == 3
    async with running_gateway(bus) as http:
        assert (await http.get(f"/runs/{run.id}")).status == 200
        found = [
            await http.get(path)
            for path in (
                f"/runs/{run.id}/artifacts/a.csv",
                f"/runs/{run.id}/artifact-content/b.html",
                *(f"/api/runs/{run.id}/artifacts/{name}" for name in ("a.csv", "b.html", "c.bin")),
            )
        ]
    assert [(answer.status, "is not stored any more" in answer.json["detail"]) for answer in found] == [(404, True)] * 5
