"""The page of a notebook's run in a real browser, from a real run; and the same over the API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.runs.run import RunStatus
from tests.chaos.world import docker
from tests.support.dashboard import browser
from tests.support.gateway import TOKEN, Client, running_gateway
from tests.support.notebooks import code, jupyter, markdown, publish_notebook
from tests.support.records import a_bundle, publish_pipeline
from tests.support.system import System, system

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
JPEG = (
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAP" + 86 * "/" + "wAALCAABAAEBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAAA//EABQQAQAAAAAA"
    "AAAAAAAAAAAAAAD/2gAIAQEAAD8AN//Z"
)
GIF = "R0lGODdhAQABAIEAAAAAAAAAAAAAAAAAACwAAAAAAQABAAAIBAABBAQAOw=="
PREPARED_MS = 60_000
GO = "import os, time\nwhile not os.path.exists(os.environ['GO']):\n    time.sleep(0.02)\n"
SHOWS = f"""
import base64
from IPython.display import HTML, SVG, Image, display
display(HTML("<table><tr><td>in a table</td></tr></table>"))
display(Image(base64.b64decode("{PIXEL}")))
display(Image(base64.b64decode("{JPEG}"), format="jpeg"))
display(Image(base64.b64decode("{GIF}"), format="gif"))
display(SVG('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'))
"the value"
"""
FLAKY = "n = globals().get('n', 0) + 1\nif n < 2:\n    raise ValueError('first time')\nprint('second time')"
PACKAGES_S = 300
CONVERT = """
import json, subprocess, sys
convert = [sys.executable, "-m", "nbconvert", "--log-level=ERROR", "executed.ipynb"]
subprocess.run([*convert, "--to=html", "--output=shown"], check=True)
shown = open("shown.html").read()
wanted = {"table": "<td>41</td>", "picture": "data:image/png;base64,", "parameters": "Parameters of this run"}
print(", ".join(f"{name} {text in shown}" for name, text in wanted.items()))
subprocess.run([*convert, "--to=notebook", "--execute", "--output=made"], check=True)
print(json.dumps(json.load(open("made.ipynb"))))
"""
ATTACK = r"""
from IPython.display import HTML, SVG, display
print("<img src=x onerror=alert(1)>")
display(HTML('''<p id="p"></p><script>
const found = [];
for (const [name, reach] of [["parent", () => parent.document.title], ["cookie", () => document.cookie],
    ["storage", () => localStorage.length], ["top", () => { top.document.body.innerHTML = "gone"; }]]) {
  try { reach(); found.push(name); } catch { /* as it should be */ }
}
document.getElementById("p").textContent = `reached: ${found.join() || "nothing"}`;
parent.postMessage({height: 1e9}, "*");
parent.postMessage("<b>", "*");
</script>'''))
display(SVG('<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script>alert(1)</script></svg>'))
display({"image/png": "PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg=="}, raw=True)
raise ValueError("<script>alert(1)</script>")
"""


BOTH = pytest.mark.parametrize(
    "place", ["process", pytest.param("docker", marks=pytest.mark.docker)], indirect=True, ids=["process", "docker"]
)


class Place:
    """An installation with one kind of sandbox, and its client."""

    def __init__(self, fast: System, api: Client, sandbox: str, folder: Path) -> None:
        self.fast = fast
        self.api = api
        self._sandbox = sandbox
        self.signal = folder / "go" if sandbox == "process" else Path("/tmp/go")

    async def go(self, run_id: str) -> None:
        """Create the file that a cell of the run waits for."""
        if self._sandbox == "process":
            self.signal.touch()
        else:
            container = (await docker("ps", "--quiet", "--filter", f"name={run_id}")).strip()
            await docker("exec", container, "touch", str(self.signal))


@pytest_asyncio.fixture(params=["process"])
async def place(
    request: pytest.FixtureRequest, bus_url: str, bus: Bus, tmp_path: Path, kept_data: Path
) -> AsyncIterator[Place]:
    async with system(bus_url, kept_data, sandbox=request.param) as fast, running_gateway(bus) as api:
        yield Place(fast, api, request.param, tmp_path)


async def opened(place: Place, page: Page, run_id: str) -> None:
    """Wait until the gateway knows the run, then open its page."""
    async with asyncio.timeout(20):
        while (await place.api.get(f"/api/runs/{run_id}")).status != 200:
            await asyncio.sleep(0.05)
    await page.goto(f"/runs/{run_id}")


@pytest.mark.browser
@BOTH
async def test_cells_light_up_while_they_run(place: Place) -> None:
    """Text, highlighted source, live output, a count; then pictures, tables, values, folded attempts."""
    await publish_notebook(
        place.fast.bus,
        "book",
        markdown("# A *title*\n\n<script>alert(1)</script><img src=x onerror=alert(1)>"),
        code("n = 0", "parameters"),
        f"print('before')\n{GO}print('after')",
        code(FLAKY, retries=1, delay_seconds=0),
        SHOWS,
        "1 / 0",
        "print('never')",
        default_env={"GO": str(place.signal)},
    )
    ref = await place.fast.start("book", parameters={"m": "5"})
    async with browser(place.api.url) as page:
        await opened(place, page, ref.run_id)
        await expect(page.locator(".cell.text h1")).to_have_text("A title")
        await expect(page.locator("[data-cell='2'] .cell-source .hl-k").first).to_be_visible()
        waits = page.locator("[data-cell='1']")
        await expect(waits).to_have_attribute("data-status", "RUNNING", timeout=PREPARED_MS)
        await expect(waits.locator(".stdout")).to_have_text("before")
        await expect(waits.locator("[data-cell-count]")).to_have_text("[*]")
        await expect(page.locator(".cell.injected .cell-source")).to_contain_text("m = '5'")
        await expect(page.locator("[data-cell='0']")).to_have_attribute("data-status", "SUCCESS")
        await expect(page.locator("[data-cell='5']")).to_have_attribute("data-status", "")
        await place.go(ref.run_id)
        await expect(waits).to_have_attribute("data-status", "SUCCESS")
        await expect(waits.locator(".stdout")).to_have_text("before\nafter\n")
        flaky = page.locator("[data-cell='2']")
        await expect(flaky.locator(".previous summary")).to_have_text("Attempt 1 failed: ValueError: first time")
        await expect(flaky.locator(".previous .error")).to_be_hidden()
        await flaky.locator(".previous summary").click()
        await expect(flaky.locator(".previous .error")).to_contain_text("ValueError: first time")
        await expect(flaky.locator(".stdout")).to_have_text("second time\n")
        shows = page.locator("[data-cell='3']")
        await expect(shows.locator("iframe").content_frame.locator("td")).to_have_text("in a table")
        await expect(shows.locator("img")).to_have_count(4)
        for picture in await shows.locator("img").all():
            await picture.scroll_into_view_if_needed()
            await expect(picture).to_have_js_property("complete", True)
            assert await picture.evaluate("(picture) => picture.naturalWidth") > 0
        await expect(shows.locator(".value")).to_have_text("'the value'")
        await expect(page.locator("[data-cell='4']")).to_have_attribute("data-status", "FAILED")
        await expect(page.locator("[data-cell='4'] .error")).to_contain_text("ZeroDivisionError: division by zero")
        await expect(page.locator("[data-cells-count]")).to_have_text("4 of 6 cells done")
        await expect(page.locator("#status")).to_contain_text("Failed")
        await expect(page.locator(".row.cell-heading").last).to_have_text("── Cell 5 of 6: 1 / 0 ──")
        await page.reload()
        await expect(page.locator("[data-cells-count]")).to_have_text("4 of 6 cells done")
        await expect(page.locator("[data-cell='3'] iframe").content_frame.locator("td")).to_have_text("in a table")


@pytest.mark.browser
async def test_outputs_of_a_notebook_are_harmless(place: Place) -> None:
    """Scripts of its HTML run in a frame of their own origin, its pictures are pictures, its text is text."""
    await publish_notebook(place.fast.bus, "evil", ATTACK)
    run = await place.fast.run("evil")
    async with browser(place.api.url) as page:
        await opened(place, page, run.id)
        cell = page.locator("[data-cell='0']")
        await expect(cell.locator(".error")).to_contain_text("<script>alert(1)</script>")
        await expect(cell.locator(".stdout")).to_have_text("<img src=x onerror=alert(1)>\n")
        frame = cell.locator("iframe")
        await expect(frame.content_frame.locator("#p")).to_have_text("reached: nothing")
        await expect(frame).to_have_attribute("sandbox", "allow-scripts")
        assert await frame.evaluate("(frame) => frame.offsetHeight") <= 900
        await expect(cell.locator(".note")).to_have_text("This output is not valid image/png.")
        # Opened directly, the frame's address is just as isolated.
        alone = await place.api.get(str(await frame.get_attribute("src")))
        policy = alone.headers["Content-Security-Policy"]
        assert policy.startswith("sandbox allow-scripts; default-src 'none';")
        assert "allow-same-origin" not in policy


@BOTH
async def test_cells_and_the_executed_notebook_over_the_api(place: Place) -> None:
    """Every attempt with its outputs and errors; a notebook that Jupyter accepts; events as they happen."""
    await publish_notebook(
        place.fast.bus,
        "book",
        markdown("# Title"),
        code("n = 0", "parameters"),
        code(FLAKY, retries=1),
        SHOWS,
        "1 / 0",
        "2",
    )
    run = await place.fast.run("book", parameters={"m": "5"})
    assert run.status is RunStatus.FAILED
    answer = await place.api.get(f"/api/runs/{run.id}/cells")
    cells = answer.json["cells"]
    assert [(cell["index"], cell["status"]) for cell in cells] == [
        (0, "SUCCESS"),
        (None, "SUCCESS"),
        (1, "SUCCESS"),
        (2, "SUCCESS"),
        (3, "FAILED"),
        (4, None),
    ]
    assert [attempt["error"] and attempt["error"]["value"] for attempt in cells[2]["attempts"]] == ["first time", None]
    outputs = cells[3]["attempts"][0]["outputs"]
    assert [min(output["data"]) for output in outputs] == [
        "text/html",
        "image/png",
        "image/jpeg",
        "image/gif",
        "image/svg+xml",
        "text/plain",
    ]
    assert outputs[1]["data"]["image/png"].strip() == PIXEL

    answer = await place.api.get(f"/api/runs/{run.id}/notebook")
    assert answer.headers["Content-Disposition"].endswith('.ipynb"')
    notebook = jupyter.reads(answer.text, as_version=4)
    jupyter.validate(notebook)
    assert [min(output.data) for output in notebook.cells[4].outputs] == [min(output["data"]) for output in outputs]
    assert [cell.get("execution_count") for cell in notebook.cells] == [None, 1, 2, 4, 5, 6, None]
    assert notebook.cells[5].outputs[0].ename == "ZeroDivisionError"

    log = (await place.api.get(f"/api/runs/{run.id}/logs")).text
    assert [line for line in log.splitlines() if line.startswith("── ")] == [
        "── Cell 1 of 5: n = 0 ──",
        "── Parameters of this run ──",
        "── Cell 2 of 5: n = globals().get('n', 0) + 1 ──",
        "── Cell 2 of 5, attempt 2 of 2: n = globals().get('n', 0) + 1 ──",
        "── Cell 3 of 5: import base64 ──",
        "── Cell 4 of 5: 1 / 0 ──",
    ]

    seen = [event async for event in place.api.events(f"/api/runs/{run.id}/cells/stream")]
    assert (seen[0].data["event"], seen[-1].name, seen[-1].data) == ("opened", "end", {"status": "FAILED"})
    half = seen[len(seen) // 2]
    rest = [event async for event in place.api.events(f"/api/runs/{run.id}/cells/stream", after=half.id)]
    assert rest == seen[len(seen) // 2 + 1 :]


async def test_jupyter_tools_read_executed_notebooks_and_write_new_ones(place: Place) -> None:
    """nbconvert shows the executed notebook with outputs and executes it; the notebook that it saves runs here."""
    shows = (
        "import base64\nfrom IPython.display import HTML, Image, display\n"
        f"display(HTML(f'<td>{{n}}</td>'), Image(base64.b64decode('{PIXEL}')))\nn"
    )
    await publish_notebook(place.fast.bus, "first", markdown("# Title"), code("n = 1", "parameters"), shows)
    first = await place.fast.run("first", parameters={"n": "41"})
    saved = (await place.api.get(f"/api/runs/{first.id}/notebook")).text
    bundle = a_bundle(main_py=CONVERT, executed_ipynb=saved, requirements_txt="nbconvert\nipykernel\n")
    await publish_pipeline(place.fast.bus, "tools", bundle)
    tools = await place.fast.end(await place.fast.start("tools"), within_s=PACKAGES_S)
    assert tools.status is RunStatus.SUCCESS, await place.fast.lines(tools)
    shown, made = (await place.fast.text(tools)).splitlines()
    assert shown == "table True, picture True, parameters True"
    await publish_notebook(place.fast.bus, "again", raw=made.encode())
    again = await place.fast.run("again", parameters={"n": "42"})
    assert again.status is RunStatus.SUCCESS
    cells = (await place.api.get(f"/api/runs/{again.id}/cells")).json["cells"]
    assert [(cell["index"], cell["status"]) for cell in cells] == [(0, "SUCCESS"), (None, "SUCCESS"), (1, "SUCCESS")]
    assert "<td>42</td>" in cells[2]["attempts"][0]["outputs"][0]["data"]["text/html"]


async def test_a_script_has_no_cells(place: Place) -> None:
    """404, with a sentence."""
    await place.fast.pipeline("script", "print(1)")
    run = await place.fast.run("script")
    for path in ("cells", "cells/stream", "notebook"):
        answer = await place.api.get(f"/api/runs/{run.id}/{path}")
        assert (answer.status, "ran a script, which has no cells" in answer.json["detail"]) == (404, True)


def test_the_gateways_of_both_supports_share_a_token() -> None:
    """The browser signs in at the gateway that serves the API."""
    from tests.support import dashboard

    assert dashboard.TOKEN == TOKEN
