"""What the API says of a notebook's cells, from events on a real bus without a kernel."""

from __future__ import annotations

from msgspec.structs import replace

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.pipelines.folder.bundle import File, pack
from fastflow_contracts.runs import cells
from fastflow_contracts.runs.run import RunRecord
from tests.support.gateway import claim, finish, running_gateway, store
from tests.support.notebooks import code, jupyter, markdown, written
from tests.support.records import a_run, publish_pipeline

TABLE = "<table><tr><td>1</td></tr></table>"


async def a_notebook_run(bus: Bus) -> RunRecord:
    """A run whose first cell printed and showed a table, whose second failed, and whose third was not reached."""
    bundle = pack({"main.ipynb": File(written(markdown("# Title"), code("print(1)"), "1 / 0", "2"))})
    await publish_pipeline(bus, "book", bundle, type="notebook")
    run = await claim(bus, await store(bus, a_run("book", kind="notebook", bundle=bundle.sha256)))
    events: tuple[cells.CellEvent, ...] = (
        cells.Opened(at=1.0, kernel="python3", cells=3),
        cells.Began(at=1.0, cell=0, attempt=1),
        cells.Wrote(at=1.0, cell=0, stream="stdout", text="1\n"),
        cells.Showed(at=1.0, cell=0, data={"text/html": TABLE}, is_result=True),
        cells.EndedCell(at=2.0, cell=0, status="SUCCESS", count=1),
        cells.Began(at=2.0, cell=1, attempt=1),
        cells.Raised(at=2.0, cell=1, name="ZeroDivisionError", value="division by zero", traceback=("1 / 0",)),
        cells.EndedCell(at=3.0, cell=1, status="FAILED", count=2),
    )
    chunk = cells.CHUNK.encode(cells.CellChunk(end=len(events), events=events))
    await bus.publish(subjects.cell(run.ref, 1), chunk)
    return await finish(bus, run, exit_code=1)


async def test_cells_are_listed_followed_and_downloaded_as_a_notebook(bus: Bus) -> None:
    """Each with its status, attempts and outputs; the same in the file that Jupyter opens."""
    run = await a_notebook_run(bus)
    async with running_gateway(bus) as client:
        listed = (await client.get(f"/api/runs/{run.id}/cells")).json["cells"]
        assert [(cell["index"], cell["status"]) for cell in listed] == [(0, "SUCCESS"), (1, "FAILED"), (2, None)]
        assert listed[1]["attempts"][0]["error"]["value"] == "division by zero"
        answer = await client.get(f"/api/runs/{run.id}/notebook")
        notebook = jupyter.reads(answer.text, as_version=4)
        jupyter.validate(notebook)
        assert [len(cell.get("outputs", ())) for cell in notebook.cells] == [0, 2, 1, 0]
        events = client.events(f"/api/runs/{run.id}/cells/stream", after="1:6")
        assert [event.data async for event in events if event.name == "cell"][-1]["status"] == "FAILED"
        page = await client.get(f"/runs/{run.id}")
        assert (page.status, "Title" in page.text) == (200, True)


async def test_html_output_of_a_cell_is_a_frame(bus: Bus) -> None:
    """With its own policy; an output without HTML is not found, and neither is one of a script."""
    run = await a_notebook_run(bus)
    script = await store(bus, a_run())
    async with running_gateway(bus) as client:
        frame = await client.get(f"/runs/{run.id}/output/1/3")
        assert TABLE in frame.text
        assert "sandbox" in frame.headers["Content-Security-Policy"]
        assert (await client.get(f"/runs/{run.id}/output/1/2")).status == 404
        assert (await client.get(f"/runs/{run.id}/output/99/0")).status == 404
        assert (await client.get(f"/api/runs/{script.id}/cells")).status == 404


async def test_a_notebook_that_is_gone_is_not_found(bus: Bus) -> None:
    """Its run is still known, but not its code."""
    run = await a_notebook_run(bus)
    lost = await store(bus, replace(a_run("book", kind="notebook"), state=run.state))
    async with running_gateway(bus) as client:
        for path in ("cells", "notebook"):
            answer = await client.get(f"/api/runs/{lost.id}/{path}")
            assert (answer.status, "cannot be read" in answer.json["detail"]) == (404, True)
