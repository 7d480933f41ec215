"""The artifacts of a run in a real browser: each kind is shown, none has rights, on a narrow and a wide screen."""

from __future__ import annotations

import base64
import zlib
from urllib.parse import quote

import pytest
from playwright.async_api import Page, expect

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.runs.artifacts.store import ArtifactStore
from fastflow_contracts.runs.run import RunRecord
from tests.support.dashboard import browser, dashboard
from tests.support.gateway import claim, finish, store
from tests.support.records import a_bundle, a_run, publish_pipeline
from tests.wire.gateway.api.runs.test_artifacts import parts

pytestmark = pytest.mark.browser

SCRIPT = """
document.body.setAttribute("data-ran", "yes");
fetch("/api/runs", {credentials: "include"}).then(() => document.body.setAttribute("data-ran", "api"));
try { parent.document.title = "taken " + document.cookie } catch {}
"""
HTML = f"""<!doctype html><title>Report</title><style>h1 {{ color: rgb(0, 128, 0) }}</style>
<body onload='document.body.dataset.ran = "onload"'><h1>Report</h1><p id=text>1,204 rows</p>
<script>{SCRIPT}</script>
<img src=x onerror='document.body.dataset.ran = "onerror"'><img src='/api/runs?stolen=image'>
<link rel=stylesheet href='/api/runs?stolen=style'><iframe src='/api/runs?stolen=frame'></iframe>
<form action='/api/runs?stolen=form' method=post><button>Send</button></form>
<a href='/api/runs?stolen=link' target=_top>Up</a>
<meta http-equiv=refresh content='0; url=javascript:parent.document.title="taken"'></body>
"""
SVG = f"""<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="300" height="120"
 onload="document.documentElement.setAttribute('data-ran', 'onload')"><rect width="300" height="120" fill="teal"/>
<image href="/api/runs?stolen=svg" width="9" height="9"/><script>{SCRIPT.replace("&", "&amp;")}</script>
<a xlink:href="javascript:parent.document.title='taken'"><text x="20" y="60" fill="white">Picture</text></a></svg>
"""


def png(width: int, height: int) -> bytes:
    """A picture of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    lines = (b"\0" + b"\x20\x60\xa0" * width) * height
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


GIF = base64.b64decode("R0lGODlhAQABAIAAAAUEBAAAACwAAAAAAQABAAACAkQBADs=")
FILES = {
    "plots/Screenshot 9.41\u202fAM.png": png(1800, 400),
    "plots/dot.gif": GIF,
    "report.html": HTML.encode(),
    "drawing.svg": SVG.encode(),
    "rows.csv": b"day,customer,note,rows\n" + b"2026-01-31,ACME & <b>sons</b>," + b"long " * 60 + b",1204\n" * 30,
    "data.json": b'{"rows": 1204, "price": 1.50, "of": ["<script>alert(1)</script>", {"deep": [[true]]}], "no": null}',
    "notes/log 100% #1?.txt": b"first line\n" + b"x" * 900 + b"\n\x1b[31mred\x1b[0m\n",
    "model.bin": bytes(range(256)),
    "empty.csv": b"",
    "deep/" + "folder-with-a-long-name/" * 12 + "file.txt": b"deep\n",
    "<img src=x onerror=alert(1)>.txt": b"name\n",
}


async def a_run_with(bus: Bus, files: dict[str, bytes]) -> RunRecord:
    await publish_pipeline(bus, "demo", a_bundle(main_py="print(1)\n"))
    gathering = ArtifactStore(bus).gather()
    for path, data in files.items():
        await gathering.put(path, parts(data))
    manifest = gathering.manifest(["'latest' is a link; only regular files are kept."])
    return await finish(bus, await claim(bus, await store(bus, a_run("demo"))), artifacts=manifest)


async def is_no_wider(page: Page) -> bool:
    return bool(await page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
@pytest.mark.parametrize("width", [390, 1440])
async def test_each_kind_is_listed_and_shown(bus_url: str, bus: Bus, width: int, *, scripts: bool) -> None:
    """Nothing of it is markup of the page, and nothing makes the page wider than the screen."""
    run = await a_run_with(bus, {path: data for path, data in FILES.items() if "report" not in path})
    async with dashboard(bus_url) as url, browser(url, scripts=scripts) as page:
        await page.set_viewport_size({"width": width, "height": 900})
        await page.goto(f"/runs/{run.id}")
        card = page.locator("#artifacts")
        await expect(card.locator("tbody tr")).to_have_count(len(FILES) - 1)
        await expect(card.get_by_text("only regular files are kept")).to_be_visible()
        assert await is_no_wider(page)
        for path in FILES:
            if path in ("report.html", "drawing.svg"):
                continue
            await page.goto(f"/runs/{run.id}/artifacts/{quote(path)}")
            await expect(page.get_by_role("link", name="Download")).to_be_visible()
            assert await is_no_wider(page), path
            if path == "data.json":
                inner = page.get_by_text("<script>alert(1)</script>")
                await expect(page.get_by_text('"price": 1.50')).to_be_visible()
                await expect(inner).to_be_hidden()
                await page.get_by_text('"of":').click()
                await expect(inner).to_be_visible()
            if path.endswith((".png", ".gif")):
                await expect(page.locator(".artifact-picture")).to_have_js_property("complete", value=True)
                assert await page.locator(".artifact-picture").evaluate("each => each.naturalWidth") > 0


@pytest.mark.parametrize("name", ["report.html", "drawing.svg"])
async def test_a_script_in_an_artifact_does_not_run(bus_url: str, bus: Bus, name: str) -> None:
    """Neither in its frame nor when its address is opened; and it asks the gateway for nothing."""
    run = await a_run_with(bus, {name: FILES[name]})
    asked: list[str] = []
    failed: list[tuple[str, str]] = []
    async with dashboard(bus_url) as url, browser(url, complains=False) as page:
        page.context.on("requestfinished", lambda request: asked.append(request.url))
        page.context.on("requestfailed", lambda request: failed.append((request.url, str(request.failure))))
        content = f"/runs/{run.id}/artifact-content/{name}"
        await page.goto(f"/runs/{run.id}/artifacts/{name}")
        frame = page.frame_locator(".artifact-frame")
        await expect(frame.locator("h1, text")).to_be_visible()
        await expect(frame.locator("[data-ran]")).to_have_count(0)
        assert await page.title() != "taken"
        if name == "report.html":  # its looks are its own
            await expect(frame.locator("h1")).to_have_css("color", "rgb(0, 128, 0)")
            await frame.get_by_role("button", name="Send").click()
            await frame.get_by_role("link", name="Up").click()
        await expect(page).to_have_url(f"{url}/runs/{run.id}/artifacts/{name}")

        await page.goto(content)
        await expect(page.locator("h1, text")).to_be_visible()
        await expect(page.locator("[data-ran]")).to_have_count(0)
        assert await page.evaluate("origin") == "null"
    assert any(f"/artifact-content/{name}" in each for each in asked)
    assert [each for each in asked if "/api/" in each] == []
    tried = {why for each, why in failed if "/api/" in each}
    assert tried == {"csp"}  # the browser refused it by the policy; nothing went out
